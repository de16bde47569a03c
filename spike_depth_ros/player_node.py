"""`player_node`: plays a bag into a live graph, on machines with `ros2 bag` and without.

What is published are the bytes of the recording, under the recorded names and types: nothing is decoded, so that
whatever is installed here as a message type can be played. `/clock` carries the recording's time, for nodes on
`use_sim_time`; where the recording has a clock of its own that is played, as its stamps go by that.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.parameter import Parameter as RosParameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool

from spike_depth_core.bags import BagReader, MessageError, Topic, types
from spike_depth_core.bags.storage import EARLIEST_NS
from spike_depth_ros import qos
from spike_depth_ros.parameters import LiveParameters
from spike_depth_ros.playback_clock import PlaybackClock
from spike_depth_ros.player_parameters import PLAYER_NODE
from spike_depth_ros.process import run_node
from spike_depth_ros.time import to_stamp

CLOCK = "/clock"
EXCLUDED = "the parameter 'exclude' leaves it out"
DISCOVERY_S = 0.5
REMIND_S = 10.0  # of what is waited for
_MOST_LATCHED = 1000  # messages of a topic that are kept for late comers
_ACKNOWLEDGED_S = 5.0


class PlayerNode(Node):
    """See docs/ros.md for parameters and the service.

    Args:
        on_end: is called when the recording has ended, on another thread.

    Attributes:
        played: messages published, by topic.
        skipped: topics that are not played, and why.
        failure: why playing ended before the recording did; empty when it did not.

    Raises:
        ValueError: naming the bag or the topics and what is wrong with them.
    """

    def __init__(self, on_end: Callable[[], None] = lambda: None, **options: Any):
        super().__init__("player_node", **options)
        self._on_end = on_end
        self.failure = ""
        self.clock = PlaybackClock()
        self.parameters = LiveParameters(self, PLAYER_NODE, lambda values: None, self._apply, lambda: False)
        values = self.parameters.values
        if not values["bag"]:
            raise ValueError("parameter 'bag' must name a recording")
        self._bag = BagReader(values["bag"])
        if self._bag.start_ns is None:
            raise ValueError(f"{self._bag.path} has no messages")
        self._start_ns = self._bag.start_ns + round(values["start"] * 1e9)
        if values["start"] and self._start_ns > (self._bag.end_ns or self._start_ns):
            raise ValueError(f"parameter 'start' is {values['start']} s; the bag has {self._bag.duration_s:.1f} s")
        self.played: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self._behind_ns = 0
        self._subscriber = self.resolve_service_name(values["subscriber"]) if values["subscriber"] else ""
        self._stopping = threading.Event()
        self._outputs = self._advertise([name for name in values["topics"] if name])
        recorded = CLOCK in self._outputs
        self._time = None if recorded else self.create_publisher(Clock, CLOCK, qos.image_publisher())
        self.create_service(SetBool, "~/pause", self._pause)
        self.clock.set(self._start_ns, values["rate"], values["paused"])
        self._thread = threading.Thread(target=self._run, name="play", daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        self._stopping.set()
        self.clock.close()
        self._thread.join()
        super().destroy_node()

    def _advertise(self, asked: list[str]) -> dict[str, Publisher]:
        """Publishers of the topics asked for, or of all; those that cannot be played are named."""
        unknown = [name for name in asked if name not in self._bag.topics]
        if unknown:
            raise ValueError(
                f"{self._bag.path} has no {', '.join(unknown)}; it has {', '.join(self._bag.topics) or 'no topics'}"
            )
        found = {}
        for topic in self._bag.topics.values():
            if asked and topic.name not in asked:
                continue
            publisher = EXCLUDED if not asked and self._is_excluded(topic.name) else self._publisher(topic)
            if isinstance(publisher, str):
                self.skipped[topic.name] = publisher
                self.get_logger().warning(f"{topic.name} is not played: {publisher}")
            else:
                found[topic.name] = publisher
        if not found:
            raise ValueError(f"nothing of {self._bag.path} can be played: {self.skipped}")
        return found

    def _is_excluded(self, topic: str) -> bool:
        """Whether a topic is one of those that are left out, or below one."""

        def below(name: str) -> bool:
            return bool(name) and f"{topic}/".startswith(f"{name}/")

        names = self.parameters.values["exclude"]
        own = self._subscriber if "~" in names else ""
        return any(map(below, names)) or (below(own) and not below(f"{own}/input"))

    def _publisher(self, topic: Topic) -> Publisher | str:
        """A publisher of a topic, or why there cannot be one."""
        package, _, name = topic.kind.partition("/msg/")
        try:
            kind = getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError, ValueError):
            return f"{topic.kind} is not installed"
        profile = qos.spikes_publisher() if topic.kind == types.SPIKE_PACKET else qos.image_publisher()
        if topic.latched:
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
            said = _MOST_LATCHED if topic.count is None else topic.count  # by many publishers, maybe, each its own
            profile.depth = min(max(profile.depth, said), _MOST_LATCHED)
        publisher = self.create_publisher(kind, topic.name, profile, qos_overriding_options=qos.overridable())
        # Bytes of another version of a type would be taken for what they are not.
        if topic.digest:
            here = {
                str(info.topic_type_hash)
                for info in self.get_publishers_info_by_topic(publisher.topic_name)
                if info.node_name == self.get_name() and info.topic_type == topic.kind
            }
            if here - {topic.digest, "INVALID"}:
                self.destroy_publisher(publisher)
                return f"the {topic.kind} that is installed is of another version"
        return publisher

    def _apply(self, values: dict[str, Any]) -> None:
        self.clock.set(rate=values["rate"], paused=values["paused"])

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        (result,) = self.set_parameters([RosParameter("paused", value=request.data)])
        seconds = (self.clock.now_ns() - self._bag.start_ns) / 1e9
        response.success = result.successful
        response.message = result.reason or f"{'paused' if request.data else 'playing'} at {seconds:.3f} s"
        return response

    # On a thread of its own

    def _ended(self) -> bool:
        return self._stopping.is_set() or not rclpy.ok(context=self.context)

    def _run(self) -> None:
        try:
            self._wait_for_subscriber()
            while not self._ended():
                self._play()
                if not self.parameters.values["loop"] or self._ended():
                    break
                self.clock.set(self._start_ns)
            if not self._ended():
                self._tell_end()
                self._on_end()
        except Exception as error:
            if not self._ended():
                self.failure = f"the recording cannot be played on: {type(error).__name__}: {error}"
                self.get_logger().fatal(self.failure)
                self._on_end()

    def _tell_end(self) -> None:
        for publisher in self._outputs.values():
            publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))
        total = sum(self.played.values())
        self.get_logger().info(f"ended: {total:,} messages, at most {self._behind_ns / 1e6:.1f} ms late")
        for damage in self._bag.damage:
            self.get_logger().warning(str(damage))

    def _wait_for_subscriber(self) -> None:
        if self.parameters.values["wait_for_subscriber"]:
            self.clock.set(self._start_ns)
            awaited = [publisher for name, publisher in self._outputs.items() if name != CLOCK]
            due_s = time.monotonic()
            while not any(self._is_awaited(p) for p in awaited) and not self._ended():
                if time.monotonic() >= due_s:
                    self.get_logger().info(self._awaited(awaited))
                    due_s = time.monotonic() + REMIND_S
                self._publish_time(self._start_ns)
                self._stopping.wait(0.05)
        # Each side finds the other on its own: what is sent before a subscriber knows of it would be lost.
        self._stopping.wait(DISCOVERY_S)
        self.clock.set(self._start_ns)

    def _is_awaited(self, publisher: Publisher) -> bool:
        """Whether the subscriber that is waited for listens to a topic."""
        if not self._subscriber:
            return publisher.get_subscription_count() > 0
        listening = self.get_subscriptions_info_by_topic(publisher.topic_name)
        return any(f"{i.node_namespace.rstrip('/')}/{i.node_name}" == self._subscriber for i in listening)

    def _awaited(self, publishers: Sequence[Publisher]) -> str:
        """What is waited for, and what there is instead."""
        topics = ", ".join(publisher.topic_name for publisher in publishers)
        text = f"waiting for {self._subscriber or 'somebody'} to subscribe to one of: {topics}"
        if not self._subscriber:
            return text
        namespace, _, name = self._subscriber.rpartition("/")
        try:
            heard = self.get_subscriber_names_and_types_by_node(name, namespace or "/")
        except NodeNameNonExistentError:
            return f"{text}; it is not there"
        return f"{text}; it listens to: {', '.join(topic for topic, _ in heard) or 'nothing'}"

    def _play(self) -> None:
        """Play to the end, once."""
        names = set(self._outputs)
        latched = {name for name in names if self._bag.topics[name].latched}
        if latched and self._start_ns > self._bag.start_ns:
            # What was said once, before the part that is played, holds on.
            for message in self._bag.messages(latched, EARLIEST_NS, self._start_ns, raw=True):
                self._publish(message.topic, message)
        tick_s = 1.0 / self.parameters.values["clock_rate"]
        told_s = 0.0
        for message in self._bag.messages(names, self._start_ns, raw=True):
            while not self.clock.wait_until(message.time_ns, tick_s):
                if self._ended():
                    return
                self._publish_time(self.clock.now_ns())
            now_ns = self.clock.now_ns()
            if time.monotonic() - told_s >= tick_s:  # a message that waits for nothing is no tick
                self._publish_time(now_ns)
                told_s = time.monotonic()
            self._publish(message.topic, message)
            self._behind_ns = max(self._behind_ns, now_ns - message.time_ns)
        self._publish_time(self.clock.now_ns())

    def _publish(self, topic: str, message: Any) -> None:
        try:
            data = bytes(message.cdr())
        except MessageError as error:
            self.get_logger().warning(f"{topic}: a message is left out: {error}")
            return
        self._outputs[topic].publish(data)
        self.played[topic] += 1

    def _publish_time(self, time_ns: int) -> None:
        if self._time is not None:
            self._time.publish(Clock(clock=to_stamp(time_ns)))


def main(arguments: list[str] | None = None) -> int:
    """Run the node until the recording has ended or a signal comes; returns the exit status."""
    made: list[PlayerNode] = []

    def make() -> PlayerNode:
        made.append(PlayerNode(on_end=rclpy.try_shutdown))
        return made[0]

    return run_node(make, arguments) or int(any(node.failure for node in made))


if __name__ == "__main__":
    sys.exit(main())
