"""Bags become training data: moments, as the node pairs them, go into shards with their truth, pose and origin.

A data set is a folder:

    manifest.json                   what was asked for, which bags, how they are divided
    units/003-0012.json             one a part of a bag, written when its shards are complete: what became of it
    train/FORMAT/003-0012-000.tar   shards, see `samples.shards`; samples of a format have the same sensors and sizes

`plan_extraction` writes the manifest. `extract_unit` does one part: it may run anywhere that sees the bags and the
folder, several at a time, in any order, and again after a kill at any moment, because it depends on nothing but its
description and the bag, and gives the same bytes each time.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core.bags import BagReader, MessageError
from spike_depth_core.bags.odometry import OdometryTopic, find_odometry
from spike_depth_core.bags.playback import Playback, PlayedMoment, first_cameras, rig_of_bag
from spike_depth_core.bags.reader import BagMessage, files_of_bag
from spike_depth_core.bags.recording import about_drive
from spike_depth_core.bags.sensors import SensorTopics, find_sensors, find_truth
from spike_depth_core.bags.storage import EARLIEST_NS, LATEST_NS, BagError, name_of_bag
from spike_depth_core.bags.truth import TruthTopic
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.inference.moments import pose_of_reference, sample_from_moment
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.files import SampleSummary, encode_sample
from spike_depth_core.samples.shards import ShardWriter, WrittenShard
from spike_depth_core.streams import Timing
from spike_depth_core.training.filters import Filter
from spike_depth_core.training.manifest import MANIFEST, UNITS, Extraction, ExtractionOptions, Recording, UnitJob
from spike_depth_core.training.splits import BLOCK, Unit, divide
from spike_depth_core.whole_files import partial_files, write_json

_LEAD_NS = 1_000_000_000  # of a bag before a part, beyond what the playback reads by itself, for its streams to settle
_TRAIL_NS = 60_000_000_000  # after a part: where all is silent for longer, its last moments are let go as at the end
_FINGERPRINT = 1 << 16  # bytes


def plan_extraction(
    bags: Sequence[str | Path],
    folder: str | Path,
    options: ExtractionOptions,
    leave_out: Callable[[str], None] | None = None,
) -> list[UnitJob]:
    """Look at the bags, divide them, and write the manifest; or find the same plan there already.

    Args:
        bags: to be extracted. They may have been moved since the manifest was written.
        folder: of the data set.
        options: what is taken from them.
        leave_out: is told, of each bag that cannot be read at all, what is wrong with it, while there are others that
            can. They are divided without it. Such a bag is an error when None.

    Returns:
        The parts, those that are done already too.

    Raises:
        ValueError: where a bag lacks what is asked for, or the folder holds something else.
    """
    folder = Path(folder)
    if not bags:
        raise ValueError("there are no bags to extract")
    recordings: list[Recording] = []
    unreadable: list[BagError | OSError] = []
    for bag in bags:
        try:
            recordings.append(_survey(Path(bag), options))
        except (BagError, OSError) as error:
            unreadable.append(error)
    for damaged in unreadable:
        if leave_out is None or not recordings:
            raise damaged
        leave_out(str(damaged))
    if (folder / MANIFEST).exists():
        begun = Extraction.load(folder)  # its parts are the plan, whoever began it
        _compare(begun, options, recordings, len(unreadable), folder)
        paths = {recording.fingerprint: recording.path for recording in recordings}
        moved = tuple(dataclasses.replace(r, path=paths.get(r.fingerprint, r.path)) for r in begun.recordings)
        return dataclasses.replace(begun, recordings=moved).jobs(folder)
    names = [recording.name for recording in recordings]
    # A drive whose end is not known is one part.
    spans = [(r.start_ns, r.start_ns if r.end_ns is None else r.end_ns) for r in recordings]
    block_ns, gap_ns = round(1e9 * options.block_s), round(1e9 * options.gap_s)
    units = divide(spans, names, options.split, options.shares, block_ns, gap_ns, options.assigned, options.seed)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something else already; choose another folder, or remove it")
    write_json(folder / MANIFEST, Extraction(options, tuple(recordings), tuple(units)).to_dict())
    return Extraction.load(folder).jobs(folder)


@contextmanager
def only_one(folder: str | Path) -> Iterator[None]:
    """While nobody else extracts into a folder: what killed processes have left there is removed.

    Raises:
        ValueError: when somebody does.
    """
    with open(Path(folder) / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"another process extracts into {folder}") from None
        for path in list(partial_files(folder)):
            path.unlink(missing_ok=True)
        yield


def is_done(job: UnitJob) -> bool:
    """Whether a part is complete."""
    return _report_path(job).exists()


def extract_unit(job: UnitJob) -> dict[str, Any]:
    """Extract one part of a bag, unless that is done already.

    Nothing is seen of it before all of it is there: shards are written under other names, and its report comes last.

    Args:
        job: the part.

    Returns:
        Its report, as `units/NAME.json` has it: `split`, `shards`, `moments`, `samples`, `labelled`, `posed`, `dropped`
        by reason, `inputs` by sensor, `damage`.

    Raises:
        ValueError: where the bag cannot be read, or is another than the one that was planned with.
    """
    path, unit, recording = _report_path(job), job.unit, job.recording
    if path.exists():
        return json.loads(path.read_text())
    if fingerprint(recording.path) != recording.fingerprint:
        raise ValueError(f"{recording.path} is no longer the bag that {job.folder} was planned with")
    with _Shards(Path(job.folder), unit, round(1e6 * job.options.shard_mb)) as shards:
        part = _Part(job.options, recording, unit)
        for sample in part.samples():
            shards.add(sample)
    report = {"unit": unit.name, "bag": recording.name, "split": unit.split, **part.report()}
    report["shards"] = [asdict(shard) for shard in shards.written]
    write_json(path, report)
    return report


def fingerprint(path: str | Path) -> str:
    """SHA-256 of the names and sizes of the files that a bag is read from and of the beginning and the end of each: a
    bag may be larger than what one would read for this. A bag of one file is the same under another name."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in files_of_bag(path):
        if file.is_file():
            size = file.stat().st_size
            digest.update(f"{file.name if path.is_dir() else file.name.removeprefix(path.name)} {size}\n".encode())
            with open(file, "rb") as stream:
                digest.update(stream.read(_FINGERPRINT))
                stream.seek(max(0, size - _FINGERPRINT))
                digest.update(stream.read(_FINGERPRINT))
    return digest.hexdigest()


def _report_path(job: UnitJob) -> Path:
    return Path(job.folder) / UNITS / f"{job.unit.name}.json"


def _survey(path: Path, options: ExtractionOptions) -> Recording:
    bag = BagReader(path)
    damage = "; ".join(map(str, bag.damage))
    if bag.start_ns is None:
        raise BagError(f"{path} has no messages: {damage or 'it is empty'}")
    if bag.end_ns is None and options.split == BLOCK:
        why = damage or "neither it nor its metadata.yaml says"
        raise ValueError(f"it is not known where {path} ends ({why}), so it has no blocks: split by drives")
    topics = find_sensors(bag, options.topics)
    missing = [s for s in options.sensors or () if s not in topics.images]
    if missing:
        raise ValueError(f"{path} has no {', '.join(missing)}; it has {', '.join(topics.images)}")
    wanted = options.sensors or tuple(topics.images)
    images = {s: t for s, t in topics.images.items() if s in wanted}
    cameras = {s: t for s, t in topics.cameras.items() if s in wanted}
    odometry = find_odometry(bag, options.odometry)
    if options.limits.speed and odometry is None:
        raise ValueError(f"{path} has no odometry to tell the speed by")
    rig = rig_of_bag(bag, options.rig)
    known = first_cameras(bag, SensorTopics(images, cameras))
    return Recording(
        str(path.absolute()),
        name_of_bag(path),
        fingerprint(path),
        bag.start_ns,
        bag.end_ns,
        images,
        cameras,
        find_truth(bag, options.truth),
        odometry,
        rig.to_dict(),
        {s: asdict(camera) for s, camera in known.items()},
        about_drive(bag),
    )


def _compare(
    begun: Extraction, options: ExtractionOptions, found: Sequence[Recording], unreadable: int, folder: Path
) -> None:
    """Raise ValueError where a folder was planned otherwise; of its bags so many may now be unreadable."""
    asked = options.to_dict()
    for name, value in begun.options.to_dict().items():
        if asked[name] != value:
            raise ValueError(
                f"{folder} was begun with {name} {value}, and is now asked for with {asked[name]}; "
                "choose another folder, or the same options"
            )
    planned = {recording.fingerprint: recording for recording in begun.recordings}
    rigs = {recording.fingerprint: json.loads(json.dumps(recording.rig)) for recording in found}
    if rigs.keys() - planned.keys() or len(planned.keys() - rigs.keys()) > unreadable:
        names = ", ".join(recording.name for recording in begun.recordings)
        raise ValueError(f"{folder} was begun with other bags: {names}; choose another folder, or the same bags")
    for fingerprint, rig in rigs.items():
        if planned[fingerprint].rig != rig:
            raise ValueError(
                f"{folder} was begun with another rig of {planned[fingerprint].name}; "
                "choose another folder, or the same rig"
            )


class _Part:
    """The samples of one part of a bag, and an account of them."""

    def __init__(self, options: ExtractionOptions, recording: Recording, unit: Unit):
        self.options, self.recording, self.unit = options, recording, unit
        self.bag = BagReader(recording.path)
        self.truths = None
        if recording.truth is not None:
            self.truths = TruthTopic(self.bag, recording.truth, round(1e9 * options.truth_tolerance_s))
        self.odometry = None if recording.odometry is None else OdometryTopic(recording.odometry)
        known = {
            s: PinholeCamera(**{**camera, "distortion": tuple(camera["distortion"])})
            for s, camera in recording.intrinsics.items()
        }
        self.playback = Playback(
            self.bag,
            SensorTopics(dict(recording.images), dict(recording.cameras)),
            SensorRig.from_dict(dict(recording.rig)),
            options.planes,
            Timing(interval_ns=round(1e9 / options.rate_hz) if options.rate_hz else 0),
            max(4096, 2 * options.planes),
            known,
        )
        self.filter = Filter(options.limits)
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.complaints: dict[str, str] = {}
        self._sequence = self._frame = 0
        self._last: tuple[int, int] | None = None  # time and epoch of the last sample

    def samples(self) -> Iterator[DepthSample]:
        """Samples in order of time."""
        start_ns = EARLIEST_NS if self.unit.start_ns is None else self.unit.start_ns
        stop_ns = LATEST_NS if self.unit.stop_ns is None else self.unit.stop_ns
        others = {topic.topic for topic in (self.truths, self.odometry) if topic is not None}
        waiting: deque[PlayedMoment] = deque()
        lead, trail = max(start_ns - _LEAD_NS, EARLIEST_NS), min(stop_ns, LATEST_NS - _TRAIL_NS) + _TRAIL_NS
        for event in self.playback.play(others, lead, trail):
            if isinstance(event, BagMessage):
                now_ns = event.time_ns
                for topic in (self.truths, self.odometry):
                    if topic is not None and topic.topic == event.topic:
                        topic.take(event)
            else:
                now_ns = event.complete_ns
                if start_ns <= now_ns < stop_ns:
                    waiting.append(event)
            while waiting and self._is_settled(waiting[0], now_ns):
                yield from self._samples_of(waiting.popleft())
            if now_ns >= stop_ns and not waiting:
                break
        for played in waiting:
            yield from self._samples_of(played)

    def report(self) -> dict[str, Any]:
        """What became of the part."""
        damaged = {
            f"{topic.topic}: {reason}": count
            for topic in (self.truths, self.odometry)
            if topic is not None
            for reason, count in topic.damaged.items()
        }
        complaints = {f"{topic}: {reason}": text for (topic, reason), text in self.playback.dropped.items()}
        return {
            **{name: self.counts[name] for name in ("moments", "samples", "labelled", "posed")},
            "dropped": dict(sorted(self.dropped.items())),
            "gap_s": self.unit.gap_ns / 1e9,
            "inputs": self.playback.counts(),
            "damaged": damaged,
            "complaints": {**complaints, **self.complaints},
            "damage": [str(damage) for damage in self.bag.damage],
        }

    def _is_settled(self, played: PlayedMoment, clock_ns: int) -> bool:
        """Whether no better truth or pose of a moment can come."""
        time_ns, now_ns = played.moment.time_ns, played.now_ns(clock_ns)
        return all(topic is None or topic.is_settled(time_ns, now_ns) for topic in (self.truths, self.odometry))

    def _samples_of(self, played: PlayedMoment) -> Iterator[DepthSample]:
        """The sample of a moment, if it is to be kept."""
        moment = played.moment
        self.counts["moments"] += 1
        reason: str | None = next((f"no_{s}" for s in self.recording.images if s not in moment.sensors), None)
        if reason is None:
            try:
                sample = sample_from_moment(moment, self.playback.rig, self.playback.cameras)
            except ValueError as error:
                reason = "failed"
                self.complaints[reason] = str(error)
        if reason is None:
            speed = None if self.odometry is None else self.odometry.speed(moment.time_ns)
            reason = self.filter.objection(moment, sample, speed)
        if reason is not None:
            self.dropped[reason] += 1
            return
        self._count(moment.time_ns, moment.epoch)
        about: dict[str, Any] = {"speed": round(speed, 3)} if speed is not None else {}
        condition = self.recording.about.get("condition")
        meta = {
            "bag": self.recording.name,
            "sequence": f"{self.unit.name}/{self._sequence}",
            "frame": self._frame,
            **({"condition": condition} if condition else {}),
            **about,
            "sync_ns": sample.offsets_ns,
        }
        depth, pose = self._labels(sample), self._pose(sample)
        self.counts.update(samples=1, labelled=bool(depth), posed=pose is not None)
        yield dataclasses.replace(sample, depth=depth, world_from_reference=pose, meta=meta)

    def _count(self, time_ns: int, epoch: int) -> None:
        """Number a sample in its sequence, which ends where time jumps or too much of it passes."""
        if self._last is not None:
            last_ns, last_epoch = self._last
            if epoch == last_epoch and 0 < time_ns - last_ns <= self.options.sequence_step_ns:
                self._frame += 1
            else:
                self._sequence, self._frame = self._sequence + 1, 0
        self._last = (time_ns, epoch)

    def _labels(self, sample: DepthSample) -> dict[str, np.ndarray]:
        truth = None if self.truths is None else self.truths.nearest(sample.time_ns)
        if self.truths is None or truth is None:
            return {}
        cameras = {**self.playback.cameras, **sample.rig.cameras}
        try:
            return self.truths.labels(
                truth, sample.sensors, cameras, self.playback.frame_ids, self.playback.rig, self.playback.frames
            )
        except MessageError as error:
            self.truths.damaged[error.reason] += 1
            self.complaints[f"{self.truths.topic}: {error.reason}"] = str(error)
            return {}

    def _pose(self, sample: DepthSample) -> np.ndarray | None:
        """Where the frame is, in the world, that the poses of the sample's rig are in."""
        world_from_child = None if self.odometry is None else self.odometry.pose(sample.time_ns)
        if self.odometry is None or world_from_child is None:
            return None
        child = self.odometry.child_frame
        frame_ids, transform = self.playback.frame_ids, self.playback.frames.transform
        pose = pose_of_reference(world_from_child, child, sample.rig, frame_ids, transform)
        if pose is not None:
            return pose
        frames = ", ".join(sorted(self.playback.frame_ids.values()))
        self.complaints["pose"] = f"/tf_static does not say how {child!r} lies to any of {frames}"
        return None


class _Shards:
    """The shards of a part, a new one where sensors or sizes change or one is full."""

    def __init__(self, folder: Path, unit: Unit, limit: int):
        self.folder, self.unit, self.limit = folder, unit, limit
        self.written: list[WrittenShard] = []
        self._open: dict[str, ShardWriter] = {}
        self._numbers: Counter[str] = Counter()
        self._samples = 0

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        for name in list(self._open):
            self._close(name, kind, *rest)

    def add(self, sample: DepthSample) -> None:
        """Append a sample."""
        name = format_name(sample)
        shard = self._open.get(name)
        if shard is not None and shard.size > self.limit:
            self._close(name, None)
            shard = None
        if shard is None:
            path = f"{self.unit.split}/{name}/{self.unit.name}-{self._numbers[name]:03d}.tar"
            shard = self._open[name] = ShardWriter(self.folder, path)
            self._numbers[name] += 1
        key = f"{self.unit.name}-{self._samples:06d}"
        about = {"time_ns": sample.time_ns, "sensors": list(sample.images), **SampleSummary.of(sample).to_dict()}
        shard.add(key, encode_sample(sample), about)
        self._samples += 1

    def _close(self, name: str, kind: type[BaseException] | None, *rest: Any) -> None:
        shard = self._open.pop(name)
        shard.__exit__(kind, *rest)
        if shard.written is not None:
            self.written.append(shard.written)


def format_name(sample: DepthSample) -> str:
    """Of the samples that can share a batch: `spikes400x250_rgb480x300`."""
    sizes = {name: sample.size(name) for name in sample.images}
    return "_".join(f"{name}{width}x{height}" for name, (height, width) in sizes.items())
