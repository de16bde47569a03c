"""Messages taken several at a time.

A turn of rclpy's executor asks the middleware about every entity of the node, two or three times a message, which costs
more than taking in a packet of spikes. So messages may gather, and are then taken in one turn. (rclpy's EventsExecutor
has no such turns, but is experimental in Jazzy: ros2/rclpy#1563 and #1644 tell of memory that it should not touch.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription

MOST = 64
"""Messages of one subscription in a turn: others must get theirs."""


def waiting(subscription: Subscription, most: int = MOST) -> Iterator[Any]:
    """Take the messages that wait in the queue of a subscription, the oldest first; on the executor's thread."""
    with subscription.handle:
        for _ in range(most):
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is None:
                return
            yield taken[0]


class _Gathering(CallbackGroup):
    """The executor leaves what is in this group alone: subscriptions, and their events, which share a condition of the
    middleware with the messages and would wake it for every one of them."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass


class Batches:
    """Takes the messages of subscriptions at a steady rate, whatever theirs is.

    What was subscribed to last is taken first: of sensors the intrinsics before the pictures that need them, and the
    spikes after all frames of the time that they must have reached.

    Args:
        node: whose subscriptions they are. Their queues must hold what comes in a period.
        period_s: between batches.

    Attributes:
        group: of a subscription that is to be among them; its callback is called as ever.
    """

    def __init__(self, node: Node, period_s: float):
        self.group = _Gathering()
        self._node = node
        self._timer = node.create_timer(period_s, self._take, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _take(self) -> None:
        for subscription in reversed(tuple(self._node.subscriptions)):
            if subscription.callback_group is self.group:
                for message in waiting(subscription):
                    subscription.callback(message)

    def close(self) -> None:
        """Take no more."""
        self._node.destroy_timer(self._timer)
