"""Finds out why nothing arrives: no publisher, another type, a quality of service that does not match, or silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.duration import Duration, Infinite
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from spike_depth_ros import qos


@dataclass(slots=True)
class _Input:
    topic: str
    type_name: str
    profile: QoSProfile
    since_ns: int  # when somebody was first seen to publish
    published: bool = False
    arrived_ns: int | None = None


def _type_name(kind: type) -> str:
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def _owner(info: TopicEndpointInfo) -> str:
    if "UNKNOWN" in info.node_name:  # its topics are discovered before its name is
        return "somebody"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def _comparable(profile: QoSProfile) -> QoSProfile:
    """A profile in which no deadline and no lease are always said in the same way: discovery has them as infinite, a
    profile made here as zero, and rclpy takes one for stricter than the other."""
    durations = {}
    for name in ("deadline", "lifespan", "liveliness_lease_duration"):
        duration = getattr(profile, name)
        durations[name] = Duration() if duration >= Infinite else duration
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=profile.reliability,
        durability=profile.durability,
        liveliness=profile.liveliness,
        **durations,
    )


class TopicWatch:
    """Watches subscriptions and publishers of a node.

    Args:
        node: whose they are.
        clock: steady time in nanoseconds.
    """

    def __init__(self, node: Node, clock: Callable[[], int] = time.monotonic_ns):
        self._node = node
        self._clock = clock
        self._inputs: dict[str, _Input] = {}

    def add(self, name: str, subscription: Subscription) -> None:
        """Begin to watch a subscription under a name."""
        kind, profile = _type_name(subscription.msg_type), subscription.qos_profile
        self._inputs[name] = _Input(subscription.topic_name, kind, profile, self._clock())

    def remove(self, name: str) -> None:
        self._inputs.pop(name, None)

    def arrived(self, name: str) -> None:
        """Note a message. Called for every one of them."""
        watched = self._inputs.get(name)
        if watched is not None:  # one last message may be on its way when the subscription is given up
            watched.arrived_ns = self._clock()

    def age_ns(self, name: str) -> int | None:
        """Time since the last message, or None when there has been none."""
        arrived_ns = self._inputs[name].arrived_ns
        return None if arrived_ns is None else self._clock() - arrived_ns

    def topic(self, name: str) -> str:
        """The topic, as it is remapped."""
        return self._inputs[name].topic

    def is_published(self, name: str) -> bool:
        """Whether somebody publishes what is subscribed to."""
        watched = self._inputs.get(name)
        return watched is not None and self._node.count_publishers(watched.topic) > 0

    def trouble(self, name: str, silence_ns: int) -> str | None:
        """Why nothing arrives from a topic that somebody publishes, in one line; None when all is well, or nobody does.

        Args:
            name: of the subscription.
            silence_ns: how long nothing may arrive without there being trouble.
        """
        watched = self._inputs[name]
        infos = self._node.get_publishers_info_by_topic(watched.topic)
        now = self._clock()
        if not infos:
            watched.published = False
            return None
        if not watched.published:  # it may have come at any time since this was asked last
            watched.published, watched.since_ns = True, now
        asked = f"the subscription asks for {qos.in_words(watched.profile)}"
        for info in infos:
            offered = f"{_owner(info)} offers {qos.in_words(info.qos_profile)}"
            if info.topic_type != watched.type_name:
                found = f"{_owner(info)} publishes {info.topic_type}, expected {watched.type_name}"
                return f"{watched.topic} cannot be received: {found}"
            match, reason = qos_check_compatible(_comparable(info.qos_profile), _comparable(watched.profile))
            if match == QoSCompatibility.ERROR:
                return f"{watched.topic} cannot be received: {offered}, {asked}: {reason.strip()}"
        if watched.arrived_ns is not None and watched.profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
            return None  # said once, for all who come
        quiet_ns = now - max(watched.since_ns, watched.arrived_ns or 0)
        if quiet_ns <= silence_ns:
            return None
        return f"{watched.topic} has been silent for {quiet_ns / 1e9:.1f} s: {offered}, {asked}"

    def unheard(self, publisher: Publisher) -> str | None:
        """Who subscribes to a publisher and cannot be reached, and why, in one line; None when there is nobody."""
        topic, profile = publisher.topic_name, publisher.qos_profile
        type_name = _type_name(publisher.msg_type)
        for info in self._node.get_subscriptions_info_by_topic(topic):
            if info.topic_type != type_name:
                return f"{topic} does not reach {_owner(info)}: it expects {info.topic_type}, this is {type_name}"
            match, reason = qos_check_compatible(_comparable(profile), _comparable(info.qos_profile))
            if match == QoSCompatibility.ERROR:
                return (
                    f"{topic} does not reach {_owner(info)}: it asks for {qos.in_words(info.qos_profile)}, "
                    f"{qos.in_words(profile)} is offered: {reason.strip()}"
                )
        return None
