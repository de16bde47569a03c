"""Gives the depth node the weights that are in service, by its parameter, and hears which it runs."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.task import Future

from spike_depth_ros import qos

ANSWER_S = 30.0  # after which it is asked again
HEARD_S = 30.0  # what it said longer ago is not what it runs: it may be no more
_SERVICE = "set_parameters"


@dataclass(frozen=True)
class Running:
    """What a depth node says that it runs.

    Attributes:
        sha256: of its weights.
        changes: how often they have been changed since it was configured.
    """

    sha256: str
    changes: int


class Deployment:
    """Level-triggered: `tick` compares what is wanted with what runs, and asks where they differ.

    Where somebody sets the depth node to other weights by hand, that stays, whatever is wanted later: it is asked again
    only when it has been set back to what is wanted, or started anew.

    Args:
        node: to talk with.
        target: name of the depth node.

    Attributes:
        running: what it last said; None before, and where it has not said so lately.
        note: why it does not run what is wanted; empty when it does.
    """

    def __init__(self, node: Node, target: str):
        self._client = node.create_client(SetParameters, f"{target}/{_SERVICE}")
        self.target = node.resolve_service_name(f"{target}/{_SERVICE}").removesuffix(f"/{_SERVICE}")
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.diagnostics())
        self._running: Running | None = None
        self._heard_s = 0.0
        self.note = ""
        self._asked: Future | None = None  # whose answer is awaited
        self._asked_s = 0.0
        self._taken = ""  # the last one that was accepted
        self._given: set[str] = set()  # accepted since it last ran what was wanted
        self._settled: Running | None = None  # when it last did
        self._refused: tuple[str, Running] | None = None

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if not status.name.endswith(": model"):
                continue
            values = {pair.key: pair.value for pair in status.values}
            if values.get("node") == self.target:
                sha256, self._heard_s = values.get("sha256"), time.monotonic()
                self._running = Running(sha256, int(values.get("changes", 0))) if sha256 else None

    @property
    def running(self) -> Running | None:
        return self._running if time.monotonic() - self._heard_s < HEARD_S else None

    def tick(self, sha256: str, path: str, known: Collection[str]) -> None:
        """See to it that the depth node runs these weights.

        Args:
            sha256, path: of what is wanted.
            known: hashes that may be replaced: of this adaptation.
        """
        running = self.running
        if running is None:
            self.note = f"{self.target} does not say what it runs"
            return
        if self._settled is not None and running.changes < self._settled.changes:  # it was started anew
            self._settled, self._taken = None, ""
        recent = time.monotonic() - self._asked_s < ANSWER_S
        if running.sha256 == sha256:
            self.note, self._settled, self._given = "", running, {sha256}
        elif running.sha256 not in known:
            self.note = f"{self.target} runs {running.sha256[:16]}, which is not of this adaptation: it is left alone"
        elif self._set_by_hand(running):
            self.note = (
                f"{self.target} was set to {running.sha256[:16]} by hand: it is left alone until it is set to "
                f"{sha256[:16]} or started anew"
            )
        elif self._refused == (sha256, running) or (self._asked is not None and recent):
            return
        elif self._taken == sha256 and recent:
            self.note = f"{self.target} has accepted {sha256[:16]}, and does not run it yet"
        elif not self._client.service_is_ready():
            self.note = f"{self.target}/{_SERVICE} is not there"
        else:
            self._ask(sha256, path, running)

    def _set_by_hand(self, running: Running) -> bool:
        settled = self._settled
        return settled is not None and running.changes > settled.changes and running.sha256 not in self._given

    def _ask(self, sha256: str, path: str, running: Running) -> None:
        if self._asked is not None:  # it ended before it answered
            self._client.remove_pending_request(self._asked)
        parameter = RosParameter("checkpoint", value=path).to_parameter_msg()
        future = self._client.call_async(SetParameters.Request(parameters=[parameter]))

        def answered(done: Future) -> None:
            self._asked = None
            if done.exception() is not None:
                self.note = f"{self.target} did not answer: {done.exception()}"
                return
            result = done.result().results[0]
            if result.successful:
                self._taken, self._refused = sha256, None
                self._given.add(sha256)
            else:
                self._refused, self.note = (sha256, running), f"{self.target} refuses: {result.reason}"

        self._asked, self._asked_s = future, time.monotonic()
        future.add_done_callback(answered)
