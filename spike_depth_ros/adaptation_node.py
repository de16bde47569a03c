"""`adaptation_node`: online distillation from live topics, in a process of its own. It hears what the depth node hears,
learns within its budget, and gives the depth node what the guard has accepted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.task import Future
from spike_depth.msg import AdaptationStatus
from std_srvs.srv import SetBool, Trigger

from spike_depth_core.adaptation import AdaptationSession, Budget, Snapshots
from spike_depth_core.adaptation.originals import originals
from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference.estimator import checked_device
from spike_depth_core.resources import config_path, default_checkpoint
from spike_depth_core.samples import DepthSample
from spike_depth_ros import qos, topics
from spike_depth_ros.adaptation_parameters import ADAPTATION_NODE, options
from spike_depth_ros.adaptation_status import AdaptationReport
from spike_depth_ros.deployment import Deployment
from spike_depth_ros.diagnostics import full_name
from spike_depth_ros.learner import Learner
from spike_depth_ros.parameters import LiveParameters
from spike_depth_ros.process import run_node
from spike_depth_ros.reception import Reception
from spike_depth_ros.reporter import Reporter, cause
from spike_depth_ros.time import to_stamp

ANSWER_S = 60.0  # a step or a review may be under way


def examples(values: Mapping[str, Any]) -> Iterator[DepthSample]:
    """Examples of the original training, as the parameters say."""
    return originals(values["original"], values["originals"])


class AdaptationNode(Node):
    """See docs/ros.md for topics, services and parameters, and docs/online.md for when to use it.

    Args:
        original: yields examples of the original training for the parameters' values.
    """

    def __init__(self, original: Callable[[Mapping[str, Any]], Iterator[DepthSample]] = examples, **arguments: Any):
        super().__init__(topics.ADAPTATION_NODE, **arguments)
        self._reporter = Reporter(self.get_logger())
        self._reception: Reception | None = None
        self.parameters = LiveParameters(self, ADAPTATION_NODE, options, self._apply, lambda: False)
        values = self.parameters.values
        self._device = checked_device(values["device"])
        self._rig = SensorRig.load(values["rig"] or config_path("rigs/vehicle.yaml"))
        torch.set_num_threads(values["threads"])
        folder = Path(values["snapshots"] or self._default_folder())
        self.snapshots = Snapshots(folder.absolute(), values["keep"])  # the depth node may run in another folder
        self._budget = Budget(values["budget"] / 1e3, time.monotonic)
        # On a GPU the time is the GPU's, which runs while this thread waits for it.
        spent = time.perf_counter if self._device.type == "cuda" else lambda: values["threads"] * time.thread_time()
        self.learner = Learner(
            self._session,
            lambda: original(values),
            self._sample,
            self._budget,
            spent,
            values["steps"],
            values["niceness"],
            values["interval"],
        )
        self.deployment = Deployment(self, values["target"]) if values["target"] else None
        self._report = AdaptationReport(full_name(self))
        self._status = self.create_publisher(AdaptationStatus, "~/status", qos.diagnostics())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.diagnostics())
        self.create_service(SetBool, "~/enable", self._on_enable)
        # Who waits for the learner must not keep the rest of the node waiting.
        waiting = ReentrantCallbackGroup()
        self._answered = self.create_guard_condition(lambda: None)  # wakes the executor, which looks at who waits
        for name, command in (
            ("snapshot", AdaptationSession.snapshot),
            ("roll_back", AdaptationSession.roll_back),
            ("reset", AdaptationSession.reset),
        ):
            self.create_service(Trigger, f"~/{name}", self._command(name, command), callback_group=waiting)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # about this process, as the depth node's diagnostics
        self.create_timer(1.0 / values["status_rate"], self._tell, clock=self._steady)
        self._switch(values["enabled"])

    def _default_folder(self) -> Path:
        home = os.environ.get("ROS_HOME") or Path.home() / ".ros"
        return Path(home) / "spike_depth" / "adaptation" / self.get_fully_qualified_name().strip("/")

    def destroy_node(self) -> None:
        if self._reception is not None:
            self._reception.close()
            self._reception = None
        self.learner.close()
        super().destroy_node()

    # On the learner's thread

    def _session(self) -> AdaptationSession:
        values = self.parameters.values
        checkpoint = values["checkpoint"] or default_checkpoint()
        return AdaptationSession(
            Path(checkpoint).absolute(), self.snapshots, options(values), str(self._device), values["resume"]
        )

    def _sample(self, timeout_s: float) -> DepthSample | None:
        reception = self._reception
        if reception is None:
            return None
        try:
            return reception.sample(timeout_s)
        except Exception as error:  # one bad moment
            self._reporter.warn(f"not a moment to learn from: {cause(error)}", key=type(error).__name__)
            return None

    # On the executor's

    def _apply(self, values: Mapping[str, Any]) -> None:
        self._budget.share = values["budget"] / 1e3
        self.learner.wake()
        self.learner.steps = values["steps"]
        self._switch(values["enabled"])

    def _switch(self, enabled: bool) -> None:
        if enabled == (self._reception is not None):
            return
        if enabled:
            self._reception = Reception(self, self._rig, self.parameters.values, self._reporter)
        else:
            self._reception.close()
            self._reception = None
        self.learner.enable(enabled)
        self.get_logger().info("learning from the stream" if enabled else "not learning")

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data and self._reception is not None:
            self.learner.enable(True)  # what had failed is tried again
        result = self.set_parameters([RosParameter("enabled", value=request.data)])[0]
        response.success, response.message = result.successful, result.reason
        return response

    def _command(
        self, name: str, command: Callable[[AdaptationSession], str]
    ) -> Callable[..., Awaitable[Trigger.Response]]:
        async def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            answer, enough = self.learner.ask(command), Future()
            timer = self.create_timer(ANSWER_S, lambda: enough.set_result(None), clock=self._steady)

            def answered(_: Any) -> None:  # on the learner's thread
                enough.set_result(None)
                self._answered.trigger()

            answer.add_done_callback(answered)
            await enough
            self.destroy_timer(timer)
            if not answer.done():
                response.message = f"not done after {ANSWER_S:.0f} s; it will be"
            elif error := answer.exception():
                response.message = cause(error)
            else:
                response.success, response.message = True, f"in service: {answer.result()}"
            self.get_logger().info(f"{name}: {response.message}")
            return response

        return serve

    def _tell(self) -> None:
        progress = self.learner.progress
        if self._reception is not None:
            self._reception.place_sensors()
        if self.deployment is not None and progress.values:
            values = progress.values
            self.deployment.tick(values["service_sha256"], values["service"], progress.known)
        stamp = to_stamp(self.get_clock().now().nanoseconds)
        self._status.publish(self._report.message(progress, self.deployment, stamp))
        statuses = [
            self._report.adaptation(progress, self.deployment),
            self._report.inputs(self._reception),
        ]
        array = DiagnosticArray(status=statuses)
        array.header.stamp = stamp
        self._diagnostics.publish(array)


def main(arguments: list[str] | None = None, make: Callable[[], Node] = AdaptationNode) -> int:
    """Run the node until it is stopped by a signal; returns the exit status."""
    return run_node(make, arguments)


if __name__ == "__main__":
    sys.exit(main())
