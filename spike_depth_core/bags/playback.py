"""A bag becomes streams: its messages go into the same synchronizer that the node feeds, and moments come out.

The clock is the time at which the bag received its messages, so the same bag gives the same moments however fast it is
played. Where a live node skips moments while it computes, all are given here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from spike_depth_core.bags.messages import (
    MessageError,
    camera_from_message,
    check_fits,
    sensor_image,
    spikes_from_message,
    stamp_ns,
)
from spike_depth_core.bags.reader import BagMessage, BagReader
from spike_depth_core.bags.sensors import SensorTopics
from spike_depth_core.bags.storage import EARLIEST_NS, LATEST_NS
from spike_depth_core.bags.transforms import static_frames
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.resources import config_path
from spike_depth_core.streams import Frame, Moment, Synchronizer, Timing

RIG = "spike_depth.rig"
"""Under which name a recorded drive keeps its rig."""
_WARM_UP_NS = 500_000_000
_FIRST_NS = 60_000_000_000
_FLUSH_STEPS = 100


@dataclass(frozen=True)
class PlayedMoment:
    """A moment, and when it was complete by the clock of the bag.

    Attributes:
        moment: spikes and frames.
        complete_ns: time of reception of the message that completed it, or at which it was no longer waited.
    """

    moment: Moment
    complete_ns: int

    def now_ns(self, clock_ns: int) -> int:
        """A time by the bag's clock as stamps would tell it, those of the moment having been `time_ns` when it was
        complete: the two clocks may be hours apart, as in a bag that was recorded of another one."""
        return self.moment.time_ns + clock_ns - self.complete_ns


def rig_of_bag(bag: BagReader, path: str | Path | None = None) -> SensorRig:
    """The rig of a file, of the bag where it was recorded with one, or the default rig.

    Raises:
        ValueError: naming what is wrong with it.
    """
    if path is not None:
        return SensorRig.load(path)
    if RIG in bag.custom:
        try:
            return SensorRig.from_dict(yaml.safe_load(bag.custom[RIG]))
        except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{bag.path} has a rig that cannot be understood: {error}") from error
    return SensorRig.load(config_path("rigs/vehicle.yaml"))


def first_cameras(bag: BagReader, topics: SensorTopics) -> dict[str, PinholeCamera]:
    """The first valid intrinsics of each sensor that a bag has in its first minute: drivers may send them once.

    Args:
        bag: that is looked into, no further than it takes.
        topics: of the sensors.
    """
    found: dict[str, PinholeCamera] = {}
    infos = {topic: sensor for sensor, topic in topics.cameras.items()}
    for message in bag.messages(infos, EARLIEST_NS, (bag.start_ns or 0) + _FIRST_NS):
        sensor = infos[message.topic]
        if sensor not in found:
            with contextlib.suppress(MessageError):
                found[sensor] = camera_from_message(message.decode())
        if len(found) == len(infos):
            break
    return found


class Playback:
    """Plays a bag into a synchronizer.

    Args:
        bag: the bag.
        topics: which are the sensors.
        rig: where they are; intrinsics come from the bag, or of sensors without a `camera_info` topic from here.
        planes: spike planes of a moment.
        timing: how they are paired.
        capacity: spike planes held.
        cameras: intrinsics that an earlier part of the bag has told, by sensor.

    Attributes:
        rig: the one given, with poses as the bag's static transforms have them.
        cameras: intrinsics as they are known by now, by sensor.
        frame_ids: by sensor, as far as they are known.
        frames: static transforms of the bag.
        dropped: the last words on why messages of a topic were dropped, by topic and reason.
    """

    def __init__(
        self,
        bag: BagReader,
        topics: SensorTopics,
        rig: SensorRig,
        planes: int,
        timing: Timing | None = None,
        capacity: int = 4096,
        cameras: Mapping[str, PinholeCamera] | None = None,
    ):
        self.bag, self.topics, self.rig = bag, topics, rig
        self.frames = static_frames(bag)
        self.frame_ids: dict[str, str] = {}
        self.cameras: dict[str, PinholeCamera] = {**rig.cameras, **(cameras or {})}
        self.dropped: dict[tuple[str, str], str] = {}
        self._heard = {sensor for sensor in topics.images if sensor not in topics.cameras and sensor in rig.cameras}
        self._heard |= set(cameras or {})
        self._now_ns = 0
        self.sync = Synchronizer(
            planes,
            tuple(topics.images),
            timing or Timing(),
            lambda: self._now_ns,
            capacity,
            stamps=lambda: self._now_ns,
        )
        self._sensors = {topic: sensor for sensor, topic in topics.images.items()}
        self._infos = {topic: sensor for sensor, topic in topics.cameras.items()}

    def counts(self) -> dict[str, dict]:
        """What became of the inputs of each sensor."""
        return self.sync.counts()

    def play(
        self, others: Collection[str] = (), start_ns: int = EARLIEST_NS, stop_ns: int = LATEST_NS
    ) -> Iterator[PlayedMoment | BagMessage]:
        """Moments as they are complete, and the messages of other topics as they come.

        Args:
            others: topics besides the sensors', for the caller.
            start_ns, stop_ns: of the moments, by their own time and by that of reception alike. Some of the time before
                is read too, for intrinsics and spikes that lead up to the first.
        """
        wanted = {*self._sensors, *self._infos, *others}
        for message in self.bag.messages(wanted, max(start_ns - _WARM_UP_NS, EARLIEST_NS), stop_ns):
            self._now_ns = max(self._now_ns, message.time_ns)
            if message.topic in self._sensors:
                self._take(self._sensors[message.topic], message)
                yield from self._collect(start_ns)
            elif message.topic in self._infos:
                self._take_camera(self._infos[message.topic], message)
            else:
                yield message
        # Moments that still wait for a sensor are let go by the clock, as they are live.
        for _ in range(_FLUSH_STEPS):
            self._now_ns += 10_000_000
            yield from self._collect(start_ns)

    def _collect(self, start_ns: int) -> Iterator[PlayedMoment]:
        while (moment := self.sync.collect()) is not None:
            if self._now_ns >= start_ns:
                yield PlayedMoment(moment, self._now_ns)

    def _take(self, sensor: str, message: BagMessage) -> None:
        seq = None
        try:
            content = message.decode()
            if sensor == "spikes":
                seq = content.seq
                spikes = spikes_from_message(content)
                self._check_camera(sensor, spikes.width, spikes.height)
                self._know_frame(sensor, content.header.frame_id)
                self.sync.add_spikes(spikes, seq)
            else:
                image = sensor_image(sensor, content)
                camera = self._check_camera(sensor, image.shape[1], image.shape[0])
                self._know_frame(sensor, content.header.frame_id)
                self.sync.add_frame(sensor, Frame(stamp_ns(content), image, camera))
        except MessageError as error:
            self.sync.reject(sensor, error.reason, seq)
            self.dropped[message.topic, error.reason] = str(error)

    def _take_camera(self, sensor: str, message: BagMessage) -> None:
        try:
            content = message.decode()
            self.cameras[sensor] = camera_from_message(content)
            self._heard.add(sensor)
        except MessageError as error:
            self._heard.discard(sensor)
            self.dropped[message.topic, error.reason] = str(error)

    def _check_camera(self, sensor: str, width: int, height: int) -> PinholeCamera:
        if sensor not in self._heard:
            raise MessageError("no_camera_info", "there has been no valid camera_info yet")
        camera = self.cameras[sensor]
        check_fits(camera, width, height, "its camera_info")
        return camera

    def _know_frame(self, sensor: str, frame_id: str) -> None:
        """Take note of a sensor's frame, and of its place where the bag tells it."""
        if self.frame_ids.get(sensor) == frame_id:
            return
        self.frame_ids[sensor] = frame_id
        reference = self.frame_ids.get(self.rig.reference)
        if reference is None:
            return
        poses = dict(self.rig.poses)
        cameras = dict(self.rig.cameras)
        for name, frame in self.frame_ids.items():
            place = self.frames.transform(reference, frame)
            if place is not None and name in self.cameras:
                poses[name] = place
                cameras.setdefault(name, self.cameras[name])
        self.rig = replace(self.rig, cameras=cameras, poses=poses)
