"""Quality of service, by name.

Publishers are reliable, which every subscription can be matched with; subscriptions to sensors are best effort, which
every publisher can be matched with, and whose loss is seen (by `seq`) rather than paid for with latency. All of them
can be overridden by parameters: `qos_overrides.<topic>.<publisher|subscription>.<policy>`.

Each is made anew for whom it is asked: rclpy writes a topic's overrides into the profile that it is given.
"""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

_CHOICES = {
    "history": ("keep_last", "keep_all", "system_default"),
    "reliability": ("reliable", "best_effort", "system_default", "best_available"),
    "durability": ("transient_local", "volatile", "system_default", "best_available"),
}
_DEPTH = 2**31 - 1  # the most that DDS can say


def check_overrides(node: Node) -> None:
    """Refuse what a publisher or a subscription would trip over when it is made, perhaps long after the start.

    Raises:
        ValueError: naming the parameter, what was expected and what found.
    """
    for name, parameter in node._parameter_overrides.items():  # also of what is not declared yet
        value, policy = parameter.value, name.rpartition(".")[2]
        if not name.startswith("qos_overrides."):
            continue
        choices = _CHOICES.get(policy)
        if choices and str(value).lower() not in choices:
            raise ValueError(f"parameter {name!r} must be one of {', '.join(map(repr, choices))}, found {value!r}")
        if policy == "depth" and (type(value) is not int or not 0 <= value <= _DEPTH):
            raise ValueError(f"parameter {name!r} must be an integer from 0 to {_DEPTH}, found {value!r}")


def _qos(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=DurabilityPolicy.VOLATILE,
    )


def spikes_subscription() -> QoSProfile:
    """256 packets of 64 planes at 20,000 planes/s are 0.8 s: what a node may be kept from its queue without loss. They
    are held only while they wait."""
    return _qos(256, ReliabilityPolicy.BEST_EFFORT)


def spikes_publisher() -> QoSProfile:
    return _qos(128, ReliabilityPolicy.RELIABLE)


def image_subscription() -> QoSProfile:
    return _qos(10, ReliabilityPolicy.BEST_EFFORT)


def image_publisher() -> QoSProfile:
    return _qos(10, ReliabilityPolicy.RELIABLE)


def odometry_subscription() -> QoSProfile:
    """Half a second of the fastest inertial odometry."""
    return _qos(100, ReliabilityPolicy.BEST_EFFORT)


def diagnostics() -> QoSProfile:
    return _qos(10, ReliabilityPolicy.RELIABLE)


def overridable(*more: QoSPolicyKind) -> QoSOverridingOptions:
    """Lets the user override history, depth, reliability and what is named by parameters."""
    return QoSOverridingOptions((*QoSOverridingOptions.with_default_policies().policy_kinds, *more))


def in_words(profile: QoSProfile) -> str:
    """What decides whether two ends are matched, and how much waits between them."""
    history = f"keep last {profile.depth}" if profile.history == HistoryPolicy.KEEP_LAST else "keep all"
    if profile.history == HistoryPolicy.UNKNOWN:  # discovery does not tell it
        history = ""
    parts = [profile.reliability.name.lower().replace("_", " "), profile.durability.name.lower().replace("_", " ")]
    return ", ".join([*parts, *([history] if history else [])])
