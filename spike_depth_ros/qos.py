"""Quality of service, by name.

Publishers are reliable, which every subscription can be matched with; subscriptions to sensors are best effort, which
every publisher can be matched with, and whose loss is seen (by `seq`) rather than paid for with latency. All of them
can be overridden by parameters: `qos_overrides.<topic>.<publisher|subscription>.<policy>`.
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def _qos(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=DurabilityPolicy.VOLATILE,
    )


# 256 packets of 64 planes at 20,000 planes/s are 0.8 s: what a node may be kept from its queue without loss. They are
# held only while they wait.
SPIKES_SUBSCRIPTION = _qos(256, ReliabilityPolicy.BEST_EFFORT)
SPIKES_PUBLISHER = _qos(128, ReliabilityPolicy.RELIABLE)
IMAGE_SUBSCRIPTION = _qos(10, ReliabilityPolicy.BEST_EFFORT)
IMAGE_PUBLISHER = _qos(10, ReliabilityPolicy.RELIABLE)
DIAGNOSTICS = _qos(10, ReliabilityPolicy.RELIABLE)


def overridable() -> QoSOverridingOptions:
    """Lets the user override history, depth and reliability by parameters."""
    return QoSOverridingOptions.with_default_policies()
