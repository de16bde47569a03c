"""The six statuses of the depth node: inputs, inference, latency, jitter, model, alignment."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference.alignment import Misalignment, difference
from spike_depth_core.streams import JitterMeter
from spike_depth_ros.diagnostics import ERROR, OK, WARN, Findings, flatten, status
from spike_depth_ros.odometry import ODOMETRY
from spike_depth_ros.outputs import Outputs
from spike_depth_ros.parallax import Parallax
from spike_depth_ros.pipeline import Pipeline
from spike_depth_ros.reporter import Reporter
from spike_depth_ros.transforms import SensorTransforms

NAMES = ("inputs", "inference", "latency", "jitter", "model", "alignment")

# Reasons of the ledger that are in the nature of the thing: an estimate looks at some inputs, the latest, not at all.
HARMLESS = {"unused", "repeated", "removed"}
# Streams of which one is further ahead of the others are not of one clock.
SKEW_NS = 1_000_000_000
# Older than this, or from the future, and the clocks of sensors and node do not agree.
OLD_MS = 1000.0
FUTURE_MS = -50.0
# Of the places of the sensors: more than this, and the rig file is not of this vehicle.
TURNED_DEG, MOVED_M = 1.0, 0.05
# A share of the last steps that are off by half and more, above which a stream is uneven.
UNEVEN = 0.1


class DepthDiagnostics:
    """Says how an active pipeline is doing, compared with the report before.

    Args:
        name: of the node, with its namespace.
        hardware_id: what the diagnostics name as the hardware.
        reporter: is told what topics do not match.
    """

    def __init__(self, name: str, hardware_id: str, reporter: Reporter):
        self._name, self._hardware, self._reporter = name, hardware_id, reporter
        self.begin()

    def begin(self) -> None:
        """Forget the reports of an earlier activation."""
        self._before: dict[str, dict[str, Any]] = {}
        self._skipped_before: dict[str, int] = {}
        self._placed_before = (0, 0)
        self._moments_before = 0
        self._fruitless_ns: int | None = None  # since when sensors have delivered and made no moment
        self._begin_ns = time.monotonic_ns()

    def status(self, kind: str, level: bytes, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
        """One of the six."""
        return status(f"{self._name}: {kind}", level, message, values, self._hardware)

    def idle(self, state: str, model: Mapping[str, Any], failure: str) -> list[DiagnosticStatus]:
        """All statuses of a node that is not active, and why it could not be configured."""
        texts = dict.fromkeys(NAMES, state)
        levels = dict.fromkeys(NAMES, OK)
        if failure:
            levels["model"], texts["model"] = ERROR, failure
        return [self.status(kind, levels[kind], texts[kind], model if kind == "model" else {}) for kind in NAMES]

    def model(self, values: Mapping[str, Any], refusal: str) -> DiagnosticStatus:
        """What is loaded; WARN where another checkpoint was asked for and could not be used."""
        if refusal:
            return self.status("model", WARN, refusal, values)
        return self.status("model", OK, "loading another" if values.get("loading") else "loaded", values)

    def inputs(self, pipeline: Pipeline) -> DiagnosticStatus:
        """Each sensor: rate, age, what became of its messages; level ERROR when none, or a required one, delivers."""
        inputs, settings = pipeline.inputs, pipeline.settings
        values: dict[str, Any] = {}
        findings = Findings()
        delivering = []
        for sensor, counts in pipeline.sync.counts().items():
            if sensor not in inputs.sensors:
                continue
            flat = flatten(counts)
            before = self._before.get(sensor, {})
            new = {key: value - before.get(key, 0) for key, value in flat.items()}
            self._before[sensor] = flat
            age_ns = inputs.age_ns(sensor)
            skew_ns = pipeline.sync.skew_ns(sensor)
            delivers = _delivers(pipeline, sensor)
            if delivers:
                delivering.append(sensor)
            silent = self._silence(pipeline, sensor, delivers, findings)
            values |= {
                f"{sensor}/topic": inputs.watch.topic(sensor),
                f"{sensor}/state": silent or "receiving",
                f"{sensor}/rate_hz": inputs.rates[sensor].rate_hz(),
                f"{sensor}/age_ms": math.nan if age_ns is None else age_ns / 1e6,
                f"{sensor}/skew_ms": skew_ns / 1e6,
            }
            values |= {f"{sensor}/{key}": value for key, value in flat.items()}
            if sensor == "spikes":
                values["spikes/planes"] = inputs.planes.total
                values["spikes/planes_per_second"] = inputs.planes.rate_hz()
            self._faults(sensor, new, findings)
            if abs(skew_ns) > SKEW_NS:
                where = "ahead of" if skew_ns > 0 else "behind"
                text = f"stamps of {sensor} are {abs(skew_ns) / 1e9:.1f} s {where} the others: are the clocks one?"
                findings.add(WARN, text)
                self._reporter.warn(text, key=f"skew {sensor}")
        if not delivering and time.monotonic_ns() - self._begin_ns > settings.silence * 1e9:
            findings.add(ERROR, "no sensor delivers")
        return self.status("inputs", findings.level, findings.message("receiving"), values)

    def _silence(self, pipeline: Pipeline, sensor: str, delivers: bool, findings: Findings) -> str:
        """Why a sensor does not deliver, in a word; empty when it does."""
        inputs, settings = pipeline.inputs, pipeline.settings
        silence_ns = round(settings.silence * 1e9)
        required = sensor in settings.required
        topic = inputs.watch.topic(sensor)
        troubles = [inputs.watch.trouble(name, silence_ns) for name in (sensor, f"{sensor} camera_info")]
        if sensor in inputs.cameras:  # a calibration that is published once and kept is none that went silent
            troubles = troubles[:1]
        for trouble in troubles:
            if trouble:
                findings.add(ERROR if required else WARN, trouble)
                self._reporter.warn(trouble, key=f"{sensor} {trouble.partition(' for ')[0]}")
        if delivers:
            self._reporter.forget(f"{sensor} is away")
            return ""
        began = time.monotonic_ns() - self._begin_ns > silence_ns
        arrived_ns = inputs.watch.age_ns(sensor)
        if arrived_ns is not None and arrived_ns <= silence_ns:
            if began:
                text = f"{sensor}: nothing usable comes on {topic}"
                findings.add(ERROR if required else WARN, text)
            return "unusable" if began else "waiting"
        if any(troubles):
            return "silent"
        seen = arrived_ns is not None
        if not inputs.is_expected(sensor) and (began or seen):
            if required or seen:
                level = ERROR if required else WARN
                text = f"{sensor} is away: nobody publishes {topic}"
                findings.add(level, text)
                self._reporter.warn(text, key=f"{sensor} is away")
            return "away" if seen else "not connected"
        return "waiting"

    @staticmethod
    def _faults(sensor: str, new: Mapping[str, int], findings: Findings) -> None:
        if new["lost"]:
            findings.add(WARN, f"{sensor}: {new['lost']} lost")
        if new["breaks"] > new["lost"]:  # else it is the losses that break the run
            findings.add(WARN, f"{sensor}: {new['breaks']} do not go on where the one before ended, by seq or stamp")
        if new["resets"]:
            findings.add(WARN, f"{sensor}: time jumped")
        for key, count in new.items():
            reason = key.removeprefix("dropped/")
            if reason != key and reason not in HARMLESS and count > 0:
                findings.add(WARN, f"{sensor}: {count} dropped ({reason})")
        repeated = new.get("dropped/repeated", 0)
        if 2 * repeated > new["received"] + 1:  # every other is as of a topic with two publishers
            text = f"{sensor}: {repeated} of {new['received']} bear a stamp that has been: does it stand still?"
            findings.add(WARN, text)

    def inference(self, pipeline: Pipeline, outputs: Outputs) -> DiagnosticStatus:
        """What came of the moments: published, skipped and why, with which sensors; ERROR when an estimate failed."""
        tally, settings = pipeline.tally, pipeline.settings
        findings = Findings()
        failure, tally.failure = tally.failure, ""
        if failure:
            findings.add(ERROR, failure)
        last, rate_hz = tally.last, tally.rate.rate_hz()
        skipped = dict(tally.skipped)  # the estimating thread goes on
        for reason, count in skipped.items():
            if count > self._skipped_before.get(reason, 0):
                sensor = reason.removeprefix("no_")
                required = sensor in settings.required
                # Of one that is merely slower than the trigger there is depth; what is in between is only counted.
                if not (required and rate_hz and pipeline.inputs.contributes(sensor)):
                    findings.add(ERROR if required else WARN, f"no depth: {reason.replace('_', ' ')}")
            self._skipped_before[reason] = count
        if self._is_fruitless(pipeline):
            findings.add(ERROR, "no depth: what comes makes no moment")
        missing = pipeline.missing(last.sensors) if last is not None else ()
        if missing and rate_hz:
            findings.add(WARN, f"degraded: without {', '.join(missing)}")
        for publisher in outputs.publishers:
            unheard = pipeline.inputs.watch.unheard(publisher)
            if unheard:
                findings.add(WARN, unheard)
                self._reporter.warn(unheard)
        heard = outputs.heard()
        values = {
            "published": tally.published,
            "rate_hz": rate_hz,
            "unheard": tally.unheard,
            "failures": tally.failures,
            **{f"skipped/{reason}": count for reason, count in skipped.items()},
            "reference": pipeline.policy.reference or "",
            "sensors": ",".join(last.sensors) if last else "",
            "missing": ",".join(missing),
            "uncertainty_mean": tally.mean_uncertainty,
        }
        if pipeline.parallax is not None:
            values |= self._parallax(pipeline, pipeline.parallax, findings)
        well = "estimating" if rate_hz else "waiting for input" if heard else "idle: nobody listens"
        return self.status("inference", findings.level, findings.message(well), values)

    def _is_fruitless(self, pipeline: Pipeline) -> bool:
        """Whether for `silence` seconds sensors have delivered, and made no moment that could be estimated."""
        tally, settings, now = pipeline.tally, pipeline.settings, time.monotonic_ns()
        delivers = any(_delivers(pipeline, sensor) for sensor in pipeline.inputs.sensors)
        before, self._moments_before = self._moments_before, tally.moments
        if tally.estimating or tally.moments != before or not delivers:
            self._fruitless_ns = None
            return False
        self._fruitless_ns = self._fruitless_ns or now
        return now - self._fruitless_ns > settings.silence * 1e9 + settings.timing.interval_ns

    def _parallax(self, pipeline: Pipeline, parallax: Parallax, findings: Findings) -> dict[str, Any]:
        """How many depth images it has corrected; WARN where of most since the last report the place was not known."""
        tally = pipeline.tally
        before, self._placed_before = self._placed_before, (tally.published, parallax.unplaced)
        published, unplaced = (new - old for new, old in zip(self._placed_before, before, strict=True))
        if published and 2 * unplaced > published:
            odometry, silence_ns = parallax.odometry, round(pipeline.settings.silence * 1e9)
            why = pipeline.inputs.watch.trouble(ODOMETRY, silence_ns)
            if why is None and not odometry.heard:
                why = f"no pose on {odometry.topic}"
            elif why is None and odometry.unrelated:
                why = f"tf does not say how {odometry.child_frame!r} of {odometry.topic} lies to any sensor"
            elif why is None:
                why = f"poses on {odometry.topic} are late, or too far apart, for {unplaced} of {published} moments"
            findings.add(WARN, f"no parallax: {why}")
            self._reporter.warn(f"no parallax: {why}", key="no parallax")
        return {"measured": tally.measured, "unplaced": parallax.unplaced}

    def latency(self, pipeline: Pipeline) -> DiagnosticStatus:
        """From the last plane used to the publication, and where the time goes."""
        steps = {"transport": pipeline.inputs.transport_ms} | pipeline.tally.steps
        values = {f"{name}_ms_p{percent}": steps[name](percent) for name in sorted(steps) for percent in (50, 99)}
        findings = Findings()
        median = values["latency_ms_p50"]
        if median > OLD_MS:
            findings.add(
                WARN, f"depth is {median / 1e3:.1f} s old when it is published: are the sensors' clocks the node's?"
            )
        elif median < FUTURE_MS:
            findings.add(WARN, f"stamps are {-median:.0f} ms in the future: are the sensors' clocks the node's?")
        values["clock_jumps"] = pipeline.tally.clock_jumps
        return self.status("latency", findings.level, findings.message("measured by the node's clock"), values)

    def jitter(self, pipeline: Pipeline) -> DiagnosticStatus:
        """How evenly depth comes, by stamp and by clock, and each sensor. The keys are those of Isaac ROS."""
        tally, findings = pipeline.tally, Findings()
        values: dict[str, Any] = {}
        for kind, meter in (("msg", tally.stamps), ("node", tally.times)):
            mean_ns, largest_ns = meter.deviation_ns()
            values[f"frame_rate_{kind}"] = 1e9 / meter.usual_ns() if meter.usual_ns() else 0.0
            values[f"mean_abs_jitter_{kind}"] = mean_ns / 1e3
            values[f"max_abs_jitter_{kind}"] = largest_ns / 1e3
            values[f"num_jitter_outliers_{kind}"] = meter.outliers
        values["num_non_increasing_msg"] = tally.stamps.not_increasing
        values["total_dropped_frames"] = sum(tally.skipped.values()) + tally.failures
        for sensor, meter in pipeline.inputs.jitter.items():
            if sensor in pipeline.inputs.sensors:
                values |= self._of_sensor(sensor, meter)
                off, steps = meter.recent()
                if _delivers(pipeline, sensor) and off > max(1, UNEVEN * steps):
                    findings.add(WARN, f"{sensor} comes unevenly: {off} of {steps} steps off by half and more")
        return self.status("jitter", findings.level, findings.message("even"), values)

    @staticmethod
    def _of_sensor(sensor: str, meter: JitterMeter) -> dict[str, Any]:
        mean_ns, largest_ns = meter.deviation_ns()
        return {
            f"{sensor}/period_ms": meter.usual_ns() / 1e6,
            f"{sensor}/mean_abs_jitter": mean_ns / 1e3,
            f"{sensor}/max_abs_jitter": largest_ns / 1e3,
            f"{sensor}/num_jitter_outliers": meter.outliers,
            f"{sensor}/num_non_increasing": meter.not_increasing,
        }

    def alignment(self, pipeline: Pipeline, rig: SensorRig, transforms: SensorTransforms | None) -> DiagnosticStatus:
        """Where the places of the sensors are from, and whether what they see agrees; WARN where it does not."""
        findings, values = Findings(), {}
        for sensor in pipeline.inputs.sensors:
            source = "rig" if transforms is None else transforms.source.get(sensor, "rig")
            values[f"{sensor}/pose"] = source
            if source == "tf":
                turned, moved = difference(rig.reference_from(sensor), pipeline.rig.reference_from(sensor))
                values |= {f"{sensor}/tf_from_rig_deg": turned, f"{sensor}/tf_from_rig_m": moved}
                if turned > TURNED_DEG or moved > MOVED_M:
                    text = f"tf has {sensor} {turned:.1f} degrees and {moved:.2f} m from where the rig file has it"
                    findings.add(WARN, text)
                    self._reporter.warn(text, key=f"tf {sensor}")
        found = {sensor: f for sensor, f in pipeline.alignment.found.items() if _delivers(pipeline, sensor)}
        for sensor, misalignment in found.items():
            values |= self._misalignment(sensor, misalignment, findings)
        if pipeline.alignment.failure:
            findings.add(WARN, f"the check failed: {pipeline.alignment.failure}")
        unchecked = "not checked yet" if pipeline.settings.alignment_period else "not checked"
        well = "as seen by the sensors" if found else unchecked
        return self.status("alignment", findings.level, findings.message(well), values)

    def _misalignment(self, sensor: str, found: Misalignment, findings: Findings) -> dict[str, Any]:
        values: dict[str, Any] = {f"{sensor}/blocks": found.blocks}
        for names, value, deviation in (
            (("pitch_deg", "yaw_deg", "roll_deg"), found.rotation_deg, found.rotation_deviation_deg),
            (("x_m", "y_m", "z_m"), found.translation_m, found.translation_deviation_m),
        ):
            for axis, name in enumerate(names):
                values[f"{sensor}/{name}"] = float(value[axis])
                values[f"{sensor}/{name}_deviation"] = float(deviation[axis])
        wrong = found.wrong()
        if wrong:
            text = f"{sensor} is not where the rig has it: {', '.join(wrong)}"
            findings.add(WARN, text)
            self._reporter.warn(text, key=f"misaligned {sensor}")
        else:
            self._reporter.forget(f"misaligned {sensor}")
        return values


def _delivers(pipeline: Pipeline, sensor: str) -> bool:
    """Whether something usable has come of a sensor within `silence`."""
    age_ns = pipeline.inputs.age_ns(sensor)
    return age_ns is not None and age_ns <= pipeline.settings.silence * 1e9
