"""A bag through the node's own pipeline, offline: moments, depth, and what the truth in the bag says of it.

The synchronizer, the policy and the estimator are the objects that `depth_node` uses; the clock is the bag's. So a
replay has every moment, and the same bag gives the same depth, to the bit on the CPU.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spike_depth_core.bags import BagReader, MessageError
from spike_depth_core.bags.odometry import OdometryTopic
from spike_depth_core.bags.playback import Playback, PlayedMoment
from spike_depth_core.bags.reader import BagMessage
from spike_depth_core.bags.sensors import SensorTopics
from spike_depth_core.bags.storage import EARLIEST_NS, LATEST_NS
from spike_depth_core.bags.truth import TOLERANCE_NS, TruthTopic
from spike_depth_core.evaluation.evaluate import Evaluation
from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimate, DepthEstimator
from spike_depth_core.inference.moments import pose_of_reference, sample_from_moment
from spike_depth_core.inference.neighbours import Neighbours
from spike_depth_core.samples import SENSORS, DepthSample
from spike_depth_core.streams import Policy, Timing


@dataclass(frozen=True)
class ReplayedFrame:
    """One depth image of a replay.

    Attributes:
        sample: the moment.
        estimate: its depth.
        frame_id: of the depth.
        complete_ns: the bag's time at which the moment was complete.
        inference_ms: what the estimate took here.
        truth: float32 [H, W] in the same frame, or None.
        abs_rel: of the depth against the truth, or None.
    """

    sample: DepthSample
    estimate: DepthEstimate
    frame_id: str
    complete_ns: int
    inference_ms: float
    truth: np.ndarray | None = None
    abs_rel: float | None = None

    @property
    def waited_ms(self) -> float:
        """From the moment to when the bag had all of it."""
        return (self.complete_ns - self.estimate.time_ns) / 1e6


@dataclass
class Timeline:
    """What happened when, one entry a depth image.

    Attributes:
        times_ns: of the moments.
        waited_ms, inference_ms: see `ReplayedFrame`.
        abs_rel: NaN where there was no truth.
        measured: share of the picture where parallax has had a say.
        lost: by sensor, inputs lost or dropped until then.
    """

    times_ns: list[int] = field(default_factory=list)
    waited_ms: list[float] = field(default_factory=list)
    inference_ms: list[float] = field(default_factory=list)
    abs_rel: list[float] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)
    lost: dict[str, list[int]] = field(default_factory=dict)

    @property
    def times_s(self) -> np.ndarray:
        """Since the first."""
        return (np.array(self.times_ns, np.int64) - (self.times_ns[0] if self.times_ns else 0)) / 1e9


class Replay:
    """Depth of a bag; `frames()` does the work.

    Args:
        bag: the bag.
        estimator: as the node's.
        topics: which are the sensors.
        rig: where they are.
        truth: topic of the true depth, images or points; None without.
        evaluation: gathers scores where there is a truth.
        rate_hz: the most depth images in a second of the bag; 0 for as many as there are moments.
        sensors: which the estimator may use; all it knows when None.
        reference: in whose frame depth is; the first that delivers when None, as in the node.
        truth_tolerance_ns: the most that a truth may be from the moment that it is compared with.
        condition: for the tables by condition.
        odometry: topic of the vehicle's poses, which the samples are given; None without.
        parallax: whether the moments before correct the depth by the odometry, as in the node; depth waits for it.

    Attributes:
        timeline: of what has been replayed.
        skipped: moments without depth, by reason.
        unscored: depth images that were not compared, by reason.
        unplaced: depth images of whose moment odometry does not tell the place, by reason.
        digest: SHA-256 of all times and depths, in order.
    """

    def __init__(
        self,
        bag: BagReader,
        estimator: DepthEstimator,
        topics: SensorTopics,
        rig: SensorRig,
        *,
        truth: str | None = None,
        evaluation: Evaluation | None = None,
        rate_hz: float = 0.0,
        sensors: tuple[str, ...] | None = None,
        reference: str | None = None,
        truth_tolerance_ns: int = TOLERANCE_NS,
        condition: str = "",
        odometry: str | None = None,
        parallax: bool = False,
    ):
        self.bag, self.estimator, self.topics = bag, estimator, topics
        self.evaluation = evaluation if evaluation is not None else Evaluation()
        self.timeline = Timeline()
        self.skipped: Counter[str] = Counter()
        self.unscored: Counter[str] = Counter()
        self.unplaced: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        known = estimator.sensors if sensors is None else sensors
        used = {s: t for s, t in topics.images.items() if s in known or s == reference}
        if not used:
            raise ValueError(f"{bag.path} has {', '.join(topics.images)}, the network uses {', '.join(known)}")
        if reference is not None and reference not in used:
            raise ValueError(f"{bag.path} has no {reference} for the reference; it has {', '.join(topics.images)}")
        timing = Timing(interval_ns=round(1e9 / rate_hz) if rate_hz else 0)
        self._playback = Playback(bag, SensorTopics(used, topics.cameras), rig, estimator.spike_planes, timing)
        self._policy = Policy(SENSORS, lambda: self._clock_ns, reference=reference)
        self._known = known
        self._truths = None if truth is None else TruthTopic(bag, truth, truth_tolerance_ns)
        self._odometry = None if odometry is None else OdometryTopic(odometry)
        self.parallax = parallax
        self._neighbours = Neighbours() if parallax else None
        self._condition = condition
        self._clock_ns = 0
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def counts(self) -> dict[str, dict[str, Any]]:
        """What became of the inputs of each sensor."""
        return self._playback.counts()

    def complaints(self) -> list[str]:
        """Why inputs were dropped and moments failed, a line each."""
        lines = [f"{topic}: dropped ({reason}): {text}" for (topic, reason), text in self._playback.dropped.items()]
        lines += [f"no depth ({kind}): {text}" for kind, text in self.failures.items()]
        if self._odometry is not None:
            about = self._odometry.topic
            lines += [f"{about}: {n:,} poses not usable ({reason})" for reason, n in self._odometry.damaged.items()]
            lines += [f"{about}: {reason}, for {n:,} depth images" for reason, n in self.unplaced.items()]
        return lines

    def frames(self, start_ns: int = EARLIEST_NS, stop_ns: int = LATEST_NS) -> Iterator[ReplayedFrame]:
        """Depth images in order, each scored as soon as its truth is there."""
        moments: deque[PlayedMoment] = deque()
        waiting: deque[tuple[PlayedMoment, ReplayedFrame]] = deque()
        placing = (self._odometry,) if self._neighbours is not None else ()
        others = {topic.topic for topic in (self._truths, self._odometry) if topic is not None}
        for event in self._playback.play(others, start_ns, stop_ns):
            if isinstance(event, BagMessage):
                self._clock_ns = max(self._clock_ns, event.time_ns)
                for topic in (self._truths, self._odometry):
                    if topic is not None and topic.topic == event.topic:
                        topic.take(event)
            else:
                self._clock_ns = event.complete_ns
                moments.append(event)
            while moments and self._is_settled(moments[0], placing):
                played = moments.popleft()
                waiting.extend((played, frame) for frame in self._estimate(played))
            while waiting and self._is_settled(waiting[0][0], (self._truths, self._odometry)):
                yield self._score(waiting.popleft()[1])
        for _, frame in waiting:
            yield self._score(frame)
        for played in moments:
            yield from map(self._score, self._estimate(played))
        if self._truths is not None:
            self.unscored.update({f"truth damaged: {reason}": n for reason, n in self._truths.damaged.items()})

    def _is_settled(self, played: PlayedMoment, topics: Sequence[TruthTopic | OdometryTopic | None]) -> bool:
        """Whether no better truth or pose of a moment can come."""
        now_ns = played.now_ns(self._clock_ns)
        return all(topic is None or topic.is_settled(played.moment.time_ns, now_ns) for topic in topics)

    def _estimate(self, played: PlayedMoment) -> list[ReplayedFrame]:
        """The moment's depth; nothing where there is none."""
        moment = played.moment
        usable = tuple(sensor for sensor in moment.sensors if sensor in self._known)
        verdict = self._policy.judge(usable, lambda sensor: sensor in self._playback.topics.images)
        if verdict.reference is None:
            self.skipped[verdict.reason] += 1
            return []
        begin = time.perf_counter()
        try:
            sample = sample_from_moment(moment, self._playback.rig, self._playback.cameras, verdict.reference)
            before = []
            if self._neighbours is not None:
                sample = self._posed(sample)
                before = self._neighbours.of(sample)
                self._neighbours.add(sample)
            estimate = self.estimator.estimate(sample, verdict.reference, usable, before)
        except ValueError as error:  # one bad moment does not end a node either
            self.skipped["failed"] += 1
            self.failures[type(error).__name__] = str(error)
            return []
        inference_ms = 1e3 * (time.perf_counter() - begin)
        self._hash.update(estimate.time_ns.to_bytes(8, "little", signed=True))
        self._hash.update(np.ascontiguousarray(estimate.depth).data)
        frame_id = self._playback.frame_ids.get(estimate.reference, "")
        return [ReplayedFrame(sample, estimate, frame_id, self._clock_ns, inference_ms)]

    # Truth

    def _score(self, frame: ReplayedFrame) -> ReplayedFrame:
        truth = self._truth_of(frame)
        abs_rel = None
        if truth is not None:
            estimate = frame.estimate
            name = f"{(estimate.time_ns - (self.bag.start_ns or 0)) / 1e9:.2f} s"
            about = {"time_ns": estimate.time_ns, "sensors": list(estimate.sensors)}
            self.evaluation.sensors = estimate.sensors
            score = self.evaluation.add(
                estimate.depth, truth, estimate.camera, estimate.uncertainty, name, self._condition, about
            )
            abs_rel = score.abs_rel if score is not None else None
        line = self.timeline
        line.times_ns.append(frame.estimate.time_ns)
        line.waited_ms.append(frame.waited_ms)
        line.inference_ms.append(frame.inference_ms)
        line.abs_rel.append(float("nan") if abs_rel is None else abs_rel)
        line.measured.append(frame.estimate.measured)
        for sensor, counts in self.counts().items():
            # Frames that a camera sends between two moments are not wanted; what is lost or bad is.
            dropped = {reason: n for reason, n in counts["dropped"].items() if reason != "unused"}
            line.lost.setdefault(sensor, []).append(counts["lost"] + sum(dropped.values()))
        sample = self._posed(frame.sample)
        if self._odometry is not None and sample.world_from_reference is None:
            known = self._odometry.pose(sample.time_ns) is not None
            child = self._odometry.child_frame
            self.unplaced[f"no transform from {child!r} to any sensor" if known else "no pose near in time"] += 1
        return replace(frame, sample=sample, truth=truth, abs_rel=abs_rel)

    def _posed(self, sample: DepthSample) -> DepthSample:
        """The sample with its place in the world, where odometry tells it."""
        odometry, played = self._odometry, self._playback
        world_from_child = None if odometry is None else odometry.pose(sample.time_ns)
        if odometry is None or world_from_child is None:
            return sample
        child, transform = odometry.child_frame, played.frames.transform
        pose = pose_of_reference(world_from_child, child, sample.rig, played.frame_ids, transform)
        return replace(sample, world_from_reference=pose)

    def _truth_of(self, frame: ReplayedFrame) -> np.ndarray | None:
        """The truth nearest in time, in the frame of the depth."""
        if self._truths is None:
            return None
        nearest = self._truths.nearest(frame.estimate.time_ns)
        if nearest is None:
            self.unscored["no truth near in time"] += 1
            return None
        try:
            return self._truths.depth(nearest, frame.frame_id, frame.estimate.camera, self._playback.frames)
        except MessageError as error:
            self.unscored[f"truth: {error}"] += 1
            return None
