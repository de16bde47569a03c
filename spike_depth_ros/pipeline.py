"""What the depth node does while it is active: from the sensors' messages to the estimate and its publication.

Receiving and estimating are two threads. The executor's thread turns messages into views and hands them to the
synchronizer, which takes no time; a thread of its own asks for the latest moment, has its depth estimated and
publishes it. A slow network thus costs depth images, never packets.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import rclpy
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.inference.moments import sample_from_moment
from spike_depth_core.samples import SENSORS, DepthSample
from spike_depth_core.streams import JitterMeter, Moment, Percentiles, Policy, RateMeter, Synchronizer
from spike_depth_core.streams.synchronizer import AUTO
from spike_depth_ros.alignment_watch import AlignmentWatch
from spike_depth_ros.batches import Batches
from spike_depth_ros.depth_parameters import CAMERAS, Settings
from spike_depth_ros.inputs import SensorInputs
from spike_depth_ros.outputs import Outputs, Result
from spike_depth_ros.parallax import Parallax
from spike_depth_ros.reporter import Reporter


class Estimator(Protocol):
    """What is asked of `DepthEstimator`."""

    @property
    def sensors(self) -> tuple[str, ...]: ...

    @property
    def spike_planes(self) -> int: ...

    def estimate(
        self, sample: DepthSample, reference: str, sensors: tuple[str, ...], before: Sequence[DepthSample] = ()
    ) -> DepthEstimate: ...


class Tally:
    """What came of the moments, for the diagnostics. Written by the estimating thread, read by the other."""

    def __init__(self) -> None:
        self.moments = self.published = self.measured = self.unheard = self.failures = self.clock_jumps = 0
        self.estimating = False
        self.skipped: Counter[str] = Counter()  # by reason
        self.failure = ""  # the last one, until it has been reported
        self.last: DepthEstimate | None = None
        self.last_ns = 0  # the steady clock's time of its publication
        self.mean_uncertainty = float("nan")
        self.rate = RateMeter(time.monotonic_ns)
        self.stamps, self.times = JitterMeter(), JitterMeter()
        # Where the time goes from the last plane used to the publication, in milliseconds.
        self.steps = {name: Percentiles() for name in ("latency", "pairing", "estimate", "publish")}

    def clear_times(self) -> None:
        """Forget times that were measured against a clock that has since been set."""
        for percentiles in self.steps.values():
            percentiles.clear()
        self.stamps.begin_anew()
        self.times.begin_anew()


class Pipeline:
    """Exists from activation to deactivation.

    Args:
        node: to subscribe with.
        estimator: from a sample to depth.
        rig: of the vehicle.
        outputs: publishes.
        settings: may be replaced by `apply`.
        values: the parameters, of which those that are fixed while the node is active are read.
        reporter: is told what is wrong.
        transform: 4x4 `target_from_source` of two frames, where that is known.
    """

    def __init__(
        self,
        node: LifecycleNode,
        estimator: Estimator,
        rig: SensorRig,
        outputs: Outputs,
        settings: Settings,
        values: Mapping[str, Any],
        reporter: Reporter,
        transform: Callable[[str, str], np.ndarray | None],
    ):
        self.rig = rig
        self.tally = Tally()
        self.settings = settings
        self._node, self._estimator, self._outputs, self._reporter = node, estimator, outputs, reporter
        self.sync = Synchronizer(
            estimator.spike_planes,
            (),
            settings.timing,
            time.monotonic_ns,
            capacity=values["spike_history"],
            jump_ns=round(values["jump"] * 1e9),
            stamps=lambda: node.get_clock().now().nanoseconds,
        )
        self.policy = Policy(
            SENSORS,
            time.monotonic_ns,
            round(values["patience"] * 1e9),
            None if values["reference"] == AUTO else values["reference"],
        )
        compressed = {camera: values[f"{camera}.compressed"] for camera in CAMERAS}
        self._batches = Batches(node, values["gather"], self.sync.together) if values["gather"] else None
        self.inputs = SensorInputs(node, self.sync, rig, reporter, compressed, self._batches)
        wanted = values["parallax"]
        watch, timeout_s = self.inputs.watch, values["odometry_timeout"]
        self.parallax = Parallax(node, reporter, transform, watch, timeout_s, self._batches) if wanted else None
        self._epoch = 0
        self._worker = threading.Thread(target=self._work, name="estimate", daemon=True)
        threshold = JumpThreshold(
            min_forward=Duration(nanoseconds=self.sync.jump_ns),
            min_backward=Duration(nanoseconds=-1),
            on_clock_change=True,
        )
        self.alignment = AlignmentWatch()
        self._jumps = node.get_clock().create_jump_callback(threshold, post_callback=self._on_clock_jump)
        self._worker.start()
        try:
            self.apply(settings)
        except Exception:  # there is nobody yet who could
            self.close()
            raise

    def apply(self, settings: Settings) -> None:
        """Take over settings."""
        self.settings = settings
        self.sync.timing = settings.timing
        self.policy.required = settings.required
        self.inputs.set_sensors(settings.sensors)
        self.alignment.check_every(settings.alignment_period)

    def use(self, estimator: Estimator) -> None:
        """Estimate with another network, of the same sensors and planes, from the next moment on."""
        self._estimator = estimator

    def missing(self, used: Collection[str]) -> tuple[str, ...]:
        """The sensors that the network could use and has lost; those used are none of them."""
        return tuple(sensor for sensor in self.inputs.missing(used) if sensor in self._estimator.sensors)

    def place_sensors(self, rig: SensorRig) -> None:
        """Believe another rig from now on."""
        if any(not np.allclose(rig.reference_from(s), self.rig.reference_from(s), atol=1e-4) for s in rig.cameras):
            self.rig = rig
            self.alignment.forget()

    def close(self) -> None:
        """End for good: wait for the estimate under way, which asks for what is missing and where it is, and
        unsubscribe."""
        self._jumps.unregister()
        self.sync.close()
        self._worker.join()
        if self._batches is not None:
            self._batches.close()
        self.inputs.close()
        if self.parallax is not None:
            self.parallax.close()
        self.alignment.close()

    def _on_clock_jump(self, jump: TimeJump) -> None:
        # What is paired follows the stamps, which tell of jumps themselves. Only times against the clock are void.
        self.tally.clock_jumps += 1
        self.tally.clear_times()
        self.inputs.transport_ms.clear()
        self._reporter.warn(f"the clock has jumped by {jump.delta.nanoseconds / 1e9:.1f} s", key="clock jump")

    # On a thread of its own

    def _work(self) -> None:
        while rclpy.ok(context=self._node.context) and not self.sync.closed:
            moment = self.sync.wait(1.0)
            if moment is None:
                continue
            self.tally.moments += 1
            self.tally.estimating = True
            try:
                self._estimate(moment)
            except Exception as error:
                # One bad moment must not end the node; what it was is in the log and the diagnostics.
                if not rclpy.ok(context=self._node.context):
                    return
                self.tally.failures += 1
                self.tally.failure = f"{type(error).__name__}: {error}"
                self._reporter.error(f"no depth for this moment: {self.tally.failure}", key=type(error).__name__)
            finally:
                self.tally.estimating = False

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds

    def _estimate(self, moment: Moment) -> None:
        tally, settings, rig, estimator = self.tally, self.settings, self.rig, self._estimator
        if moment.epoch != self._epoch:
            self._epoch = moment.epoch
            tally.clear_times()
            self._reporter.warn("time has jumped: all streams start anew", key=f"epoch {moment.epoch}")
        heard = self._outputs.heard()
        if not heard:
            tally.unheard += 1
            return
        usable = tuple(sensor for sensor in moment.sensors if sensor in estimator.sensors)
        for sensor in set(moment.sensors) - set(usable):
            known = ", ".join(estimator.sensors)
            self._reporter.warn(f"{sensor} is received but not used: the network knows {known}")
        verdict = self.policy.judge(usable, self.inputs.is_expected)
        if verdict.reference is None:
            tally.skipped[verdict.reason] += 1
            return
        sample = sample_from_moment(moment, rig, self.inputs.known_cameras(), verdict.reference)
        before: list[DepthSample] = []
        if self.parallax is not None:
            sample, before = self.parallax.before(sample, self.inputs.frame_ids)
        begin, pairing_ms = time.monotonic_ns(), (self._now_ns() - moment.time_ns) / 1e6
        estimate = estimator.estimate(sample, verdict.reference, usable, before)
        growth = settings.degraded_growth ** len(self.missing(usable))
        estimate = dataclasses.replace(estimate, uncertainty=estimate.uncertainty * np.float32(growth))
        estimated = time.monotonic_ns()
        frame_id, spikes_frame_id = self.inputs.frame_of(estimate.reference), self.inputs.frame_of("spikes")
        result = Result(moment, settings.limits(estimate), sample.rig, frame_id, spikes_frame_id)
        self._outputs.publish(result, settings, heard)
        done = time.monotonic_ns()
        latency_ms = (self._now_ns() - moment.time_ns) / 1e6
        steps = (latency_ms, pairing_ms, (estimated - begin) / 1e6, (done - estimated) / 1e6)
        for percentiles, value in zip(tally.steps.values(), steps, strict=True):
            percentiles.add(value)
        tally.rate.add()
        tally.stamps.add(estimate.time_ns)
        tally.times.add(done)
        tally.mean_uncertainty = float(np.mean(estimate.uncertainty))
        tally.last, tally.last_ns = estimate, done
        tally.measured += estimate.measured > 0
        tally.published += 1
        self.alignment.offer(sample, estimate)
