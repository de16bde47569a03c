"""`depth_node`: spikes and frames in, metric depth and its uncertainty out. A managed (lifecycle) node."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.inference.moments import blank_image
from spike_depth_core.networks.checkpoint import verify_checkpoint
from spike_depth_core.resources import config_path, default_checkpoint
from spike_depth_core.samples import DepthSample
from spike_depth_ros import qos, topics
from spike_depth_ros.checkpoint_swap import CheckpointSwap
from spike_depth_ros.depth_diagnostics import DepthDiagnostics
from spike_depth_ros.depth_parameters import DEPTH_NODE, Settings, settings
from spike_depth_ros.diagnostics import full_name
from spike_depth_ros.outputs import Outputs
from spike_depth_ros.parameters import LiveParameters
from spike_depth_ros.pipeline import Estimator, Pipeline
from spike_depth_ros.process import run_node
from spike_depth_ros.reporter import Reporter, cause
from spike_depth_ros.time import to_stamp
from spike_depth_ros.transforms import SensorTransforms

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
UNCONFIGURED = "unconfigured"


def load_estimator(values: Mapping[str, Any]) -> Estimator:
    """The network that the parameters name.

    Raises:
        ValueError: naming the checkpoint, the device, the backend or the picture's size and what is wrong with it.
    """
    torch.set_num_threads(values["threads"])
    return DepthEstimator.load(
        values["checkpoint"] or None, values["device"], values["backend"], values["pixels"] or None
    )


class DepthNode(LifecycleNode):
    """See docs/ros.md for topics, parameters and diagnostics, and for what each transition does.

    Args:
        load: makes the estimator of the parameters' values; called at each configuration, and, on a thread of its own,
            where the checkpoint changes in between.
    """

    def __init__(self, load: Callable[[Mapping[str, Any]], Estimator] = load_estimator, **options: Any):
        super().__init__(topics.DEPTH_NODE, **options)
        self._transition = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self._load = load
        self._estimator: Estimator | None = None
        self._rig: SensorRig | None = None
        self._transforms: SensorTransforms | None = None
        self._pipeline: Pipeline | None = None
        self._failure = self._refusal = ""
        self._checkpoint = ""  # as the parameter named it that is in use
        self._changes = 0  # of the checkpoint since the configuration
        self._reporter = Reporter(self.get_logger())
        self._outputs = Outputs(self)
        self.parameters = LiveParameters(self, DEPTH_NODE, self._check, self._apply, lambda: self.state == UNCONFIGURED)
        # Weights are exchanged on the executor's thread, where transitions are made too.
        loaded = self.create_guard_condition(self._take_over)
        self._swap = CheckpointSwap(lambda values: self._warm(self._load(values)), loaded.trigger)
        values = self.parameters.values
        self._diagnostics = DepthDiagnostics(full_name(self), values["hardware_id"], self._reporter)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", qos.diagnostics())
        # Diagnostics are about this process, so they follow its own clock even where time is simulated.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0 / values["diagnostics_rate"], self._diagnose, clock=clock)
        if values["autostart"]:
            for transition in (self.trigger_configure, self.trigger_activate):
                if transition() != SUCCESS:
                    failure = self._failure
                    self.destroy_node()
                    raise ValueError(failure)

    @property
    def state(self) -> str:
        """The lifecycle's state: unconfigured, inactive, active, finalized, or a transition."""
        return self._state_machine.current_state[1]

    @property
    def _settings(self) -> Settings:
        return settings(self.parameters.values)

    # Transitions

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        """As rclpy has it, which lets the error out where a transition does not begin in the present state: that would
        end the node."""
        state = self.state
        try:
            return self._transition(request, response)
        except rclpy_implementation.RCLError:
            name = request.transition.label or request.transition.id
            self.get_logger().error(f"there is no transition {name} from the state {state}")
            response.success = False
            return response

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the rig and the model, and advertise."""
        values = self.parameters.values
        self._failure = ""
        try:
            self._rig = SensorRig.load(values["rig"] or config_path("rigs/vehicle.yaml"))
            self._estimator = self._warm(self._load(values))
            self._checkpoint, self._changes, self._refusal = values["checkpoint"], 0, ""
            self._outputs.offer(self._settings, active=False)
            return super().on_configure(state)
        except Exception as error:
            self._free()
            return self._failed("configured", error)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and begin to estimate."""
        values = self.parameters.values
        self._failure = ""
        try:
            super().on_activate(state)  # the publishers first: the first estimate must find them
            self._diagnostics.begin()
            if values["use_tf"] or values["parallax"]:  # which asks how odometry and sensors lie to one another
                self._transforms = SensorTransforms(self, places=values["use_tf"])
            self._pipeline = Pipeline(
                self, self._estimator, self._rig, self._outputs, self._settings, values, self._reporter, self._relation
            )
            return SUCCESS
        except Exception as error:
            self._stop()
            super().on_deactivate(state)
            return self._failed("activated", error)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and let go of what the sensors sent."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Withdraw the topics, and free the model."""
        self._failure = ""
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from whatever state."""
        self._stop()
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to the beginning."""
        self._stop()
        self._free()
        return SUCCESS

    def _failed(self, what: str, error: Exception) -> TransitionCallbackReturn:
        """Whatever it is: the node stays up, and says so. rclpy would keep it to itself."""
        self._failure = cause(error)
        self.get_logger().error(f"cannot be {what}: {self._failure}")
        return FAILURE

    def _stop(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None
        if self._transforms is not None:
            self._transforms.close()
            self._transforms = None

    def _free(self) -> None:
        self._swap.cancel()
        self._outputs.close()
        self._estimator = self._rig = None
        gc.collect()  # the memory is wanted now, not when the collector next thinks of it
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def destroy_node(self) -> None:
        self._stop()
        self._swap.close()
        super().destroy_node()

    def _warm(self, estimator: Estimator) -> Estimator:
        """Estimate once on nothing: what is compiled or allocated at the first use must not delay the first depth."""
        rig = self._rig
        if rig is None:
            raise ValueError("the node has been cleaned up")
        cameras = {s: rig.cameras[s] for s in self._settings.sensors if s in rig.cameras}
        usable = tuple(sensor for sensor in cameras if sensor in estimator.sensors)
        if not usable:
            raise ValueError(
                f"the network uses {', '.join(estimator.sensors)}, but the parameter 'sensors' names "
                f"{', '.join(self._settings.sensors)} and the rig has {', '.join(rig.cameras)}"
            )
        images = {sensor: blank_image(sensor, camera) for sensor, camera in cameras.items()}
        sample = DepthSample(SensorRig(cameras, {}, usable[0], rig.height), **images)
        if not np.isfinite(estimator.estimate(sample, usable[0], usable).depth).any():
            raise ValueError("the network gives no depth that is finite")
        return estimator

    # Another checkpoint while the node runs

    def _take_over(self) -> None:
        """Estimate with what has been loaded, from the next moment on; or stay, and say why."""
        loaded = self._swap.take()
        if loaded is None or self._estimator is None:
            return
        if loaded.estimator is None:
            self._refusal = f"{loaded.checkpoint} is refused: {loaded.failure}"
            self.get_logger().error(self._refusal)
            self.set_parameters([RosParameter("checkpoint", value=self._checkpoint)])
            return
        self._estimator, self._checkpoint = loaded.estimator, loaded.checkpoint
        self._changes += 1
        if self._pipeline is not None:
            self._pipeline.use(loaded.estimator)
        self.get_logger().info(f"depth is now of {loaded.checkpoint or default_checkpoint()}")

    # Parameters

    def _check(self, values: Mapping[str, Any]) -> None:
        """Raises ValueError for values that cannot be; a checkpoint for what can be found without building it."""
        settings(values)
        if self._estimator is not None and values["checkpoint"] != self._checkpoint:
            known = isinstance(self._estimator, DepthEstimator)
            architecture = self._estimator.info.architecture if known else None
            verify_checkpoint(values["checkpoint"] or default_checkpoint(), architecture)

    def _apply(self, values: Mapping[str, Any]) -> None:
        """Take over parameters that have changed while the node runs."""
        if self._estimator is not None:
            if values["checkpoint"] == self._checkpoint:
                self._swap.cancel()
            elif values["checkpoint"] != self._swap.loading:
                self._refusal = ""
                self._swap.begin(values)
            self._outputs.offer(self._settings, active=self._pipeline is not None)
        if self._pipeline is not None:
            self._pipeline.apply(self._settings)

    # Diagnostics

    def _model(self) -> dict[str, Any]:
        """What is loaded."""
        values = {"state": self.state, "node": self.get_fully_qualified_name()}
        if self._estimator is None:
            return values
        loading = self._swap.loading
        values |= {
            "checkpoint": str(self._checkpoint or default_checkpoint()),
            "changes": self._changes,
            "loading": "" if loading is None else loading or str(default_checkpoint()),
            "sensors": ",".join(self._estimator.sensors),
            "spike_planes": self._estimator.spike_planes,
        }
        if isinstance(self._estimator, DepthEstimator):
            info = self._estimator.info
            near, far = info.depth_range
            values |= {
                "sha256": info.sha256,
                "device": str(self._estimator.device),
                "backend": self._estimator.backend,
                "pixels": self._estimator.pixels,
                "depth_min_m": near,
                "depth_max_m": far,
            }
        return values

    def _diagnose(self) -> None:
        pipeline = self._pipeline
        if pipeline is None:
            statuses = self._diagnostics.idle(self.state, self._model(), self._failure)
        else:
            self._place_sensors(pipeline)
            statuses = [
                self._diagnostics.inputs(pipeline),
                self._diagnostics.inference(pipeline, self._outputs),
                self._diagnostics.latency(pipeline),
                self._diagnostics.jitter(pipeline),
                self._diagnostics.model(self._model(), self._refusal),
                self._diagnostics.alignment(pipeline, self._rig, self._transforms),
            ]
        array = DiagnosticArray(status=statuses)
        array.header.stamp = to_stamp(self.get_clock().now().nanoseconds)
        self._diagnostics_publisher.publish(array)

    def _relation(self, target: str, source: str) -> np.ndarray | None:
        transforms = self._transforms
        return None if transforms is None else transforms.lookup(target, source)

    def _place_sensors(self, pipeline: Pipeline) -> None:
        """Take over what tf has learned of the places of the sensors."""
        if self._transforms is not None and self._transforms.available:
            pipeline.place_sensors(self._transforms.refined(self._rig, pipeline.inputs.frame_ids))


def main(arguments: list[str] | None = None, make: Callable[[], Node] = DepthNode) -> int:
    """Run the node until it is stopped by a signal; returns the exit status."""
    return run_node(make, arguments)


if __name__ == "__main__":
    sys.exit(main())
