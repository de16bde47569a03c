"""Messages taken several at a time.

A turn of rclpy's executor asks the middleware about every entity of the node, two or three times a message, which costs
more than taking in a packet of spikes. So messages may gather, and are then taken in one turn. (rclpy's EventsExecutor
has no such turns, but is experimental in Jazzy: ros2/rclpy#1563 and #1644 tell of memory that it should not touch.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription


def waiting(subscription: Subscription) -> Iterator[Any]:
    """Take the messages that wait in the queue of a subscription, the oldest first; on the executor's thread."""
    with subscription.handle:
        for _ in range(max(subscription.qos_profile.depth, 1)):  # not for ever, where they come as fast as they go
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
        together: is held while a batch is taken.
        wanted: whether anybody wants what they say now; else they stay in their queues, and the oldest are lost there.
        resumed: called before the first batch after a time in which nobody did.

    Attributes:
        group: of a subscription that is to be among them; its callback is called as ever.
    """

    def __init__(
        self,
        node: Node,
        period_s: float,
        together: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
        wanted: Callable[[], bool] = lambda: True,
        resumed: Callable[[], None] = lambda: None,
    ):
        self.group = _Gathering()
        self._node, self._together, self._wanted, self._resumed = node, together, wanted, resumed
        self._rested = False
        self._timer = node.create_timer(period_s, self._take, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _take(self) -> None:
        if not self._wanted():
            self._rested = True
            return
        if self._rested:
            self._rested = False
            self._resumed()
        with self._together():
            for subscription in reversed(tuple(self._node.subscriptions)):
                if subscription.callback_group is self.group:
                    for message in waiting(subscription):
                        subscription.callback(message)

    def close(self) -> None:
        """Take no more."""
        self._node.destroy_timer(self._timer)
