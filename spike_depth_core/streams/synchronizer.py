"""Pairs a spike stream and camera frames by time, and says what became of every one of them.

All decisions rest on the stamps of the data. The clock that is handed in serves two things: to stop waiting for a
sensor when no more data comes to show that time has passed, and to tell a sensor that was away from a clock that
jumped. With a clock that follows the data, a recording gives the same moments however fast it is played.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams.collector import Frame, FrameCollector
from spike_depth_core.streams.ledger import Ledger
from spike_depth_core.streams.spike_ring import RESET, SpikeRing
from spike_depth_core.streams.timeline import Timeline

SPIKES = "spikes"
# Triggers beside the names of the cameras.
AUTO = "auto"
RATE = "rate"
REMOVED = "removed"


@dataclass(frozen=True)
class Moment:
    """What the sensors saw at one time.

    Attributes:
        time_ns: the time.
        spikes: the planes that end there, or None.
        frames: by sensor, the frame nearest to it.
        epoch: how often time has jumped before: moments of two epochs have nothing to do with one another.
    """

    time_ns: int
    spikes: PackedSpikes | None
    frames: dict[str, Frame]
    epoch: int = 0

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors present."""
        return (*((SPIKES,) if self.spikes is not None else ()), *self.frames)

    @property
    def offsets_ns(self) -> dict[str, int]:
        """By sensor, how far what it delivered is from the moment: after it where positive."""
        offsets = {sensor: frame.time_ns - self.time_ns for sensor, frame in self.frames.items()}
        if self.spikes is not None:
            offsets[SPIKES] = self.spikes.end_ns - self.time_ns
        return offsets


@dataclass(frozen=True)
class SensorTiming:
    """How the inputs of one sensor are matched; everything in nanoseconds.

    Attributes:
        offset_ns: added to its stamps: minus the delay of a driver that stamps late.
        noise_ns: the noise window: the most that a frame may be from the moment it is paired into, and the most that
            spike planes may end before it.
        timeout_ns: how long a moment waits for this sensor while it is alive but has not delivered yet.
    """

    offset_ns: int = 0
    noise_ns: int = 17_000_000
    timeout_ns: int = 15_000_000

    def __post_init__(self) -> None:
        for name in ("noise_ns", "timeout_ns"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")


@dataclass(frozen=True)
class Timing:
    """When there is a moment, and how inputs are matched to it; times in nanoseconds.

    Attributes:
        trigger: a camera, each of whose frames is a moment; `rate` for moments at a fixed rate on spikes alone; `auto`
            for the first camera that is alive. Where the camera named is not alive it is as with `auto`, and without
            any camera alive as with `rate`.
        interval_ns: the least time from one moment to the next, on average: frames that come a little early for it are
            taken. With `rate` the time from one to the next. 0 for as many as are asked for.
        alive_ns: a sensor whose newest stamp is older than the newest of all by more is not waited for, and one whose
            clock is ahead of the others' by more is left out. At the beginning the trigger is waited for as long.
        sensors: of each sensor; defaults for those left out.
    """

    trigger: str = AUTO
    interval_ns: int = 0
    alive_ns: int = 250_000_000
    sensors: Mapping[str, SensorTiming] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("interval_ns", "alive_ns"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")

    def of(self, sensor: str) -> SensorTiming:
        """How the inputs of a sensor are matched."""
        return self.sensors.get(sensor, _DEFAULT)


_DEFAULT = SensorTiming()


class Synchronizer:
    """Takes inputs from one thread and gives moments to another, the latest first; nothing queues up.

    A moment is complete when the spikes have reached its time and each camera has delivered what it will for it, or has
    been waited for. A sensor that is not alive, or has nothing within its noise window, is left out.

    Args:
        planes: spike planes in a moment.
        sensors: which there are: `spikes` and names of cameras, the first camera alive being the pacemaker of `auto`.
        timing: may be replaced at any time.
        clock: steady time in nanoseconds.
        capacity: spike planes held.
        frames: frames held of each camera at least; those stay longer that a moment may yet wait for.
        jump_ns: the most that the stamps of a stream may go back, or run ahead of the clock, see `Timeline`.
        stamps: the time that stamps should tell, where there is a clock for it, see `Timeline`.
    """

    def __init__(
        self,
        planes: int,
        sensors: Sequence[str],
        timing: Timing,
        clock: Callable[[], int],
        capacity: int = 4096,
        frames: int = 8,
        jump_ns: int = 500_000_000,
        stamps: Callable[[], int] | None = None,
    ):
        self.planes = planes
        self.timing = timing
        self.ledgers: dict[str, Ledger] = {}
        self.jump_ns = jump_ns
        self._capacity, self._frames = max(capacity, planes), frames
        self._ring: SpikeRing | None = None
        self._cameras: dict[str, FrameCollector] = {}
        self._clock = clock
        self._timeline = Timeline((), jump_ns, clock, stamps)
        self._begin_ns: int | None = None  # of the epoch
        self._last_ns: int | None = None  # the last moment handed out
        self._due_ns = 0  # when the next one is due
        self._changed = threading.Condition()
        self._closed = False
        self.set_sensors(sensors)

    def set_sensors(self, sensors: Sequence[str]) -> None:
        """Change which sensors there are. What is held of one that is no more is dropped as `removed`; its account
        stays."""
        with self._changed:
            before = {*self._cameras, *({SPIKES} if self._ring is not None else ())}
            for sensor in before - set(sensors):
                (self._ring if sensor == SPIKES else self._cameras[sensor]).clear(REMOVED)  # type: ignore[union-attr]
                self._timeline.remove(sensor)
            for sensor in set(sensors) - before:
                self.ledgers.setdefault(sensor, Ledger())
                self._timeline.add(sensor)
            if SPIKES not in sensors:
                self._ring = None
            elif self._ring is None:
                self._ring = SpikeRing(self._capacity, ledger=self.ledgers[SPIKES])
            self._cameras = {
                sensor: self._cameras.get(sensor) or FrameCollector(self._frames, self.ledgers[sensor])
                for sensor in sensors
                if sensor != SPIKES
            }

    # Inputs

    def together(self) -> AbstractContextManager[Any]:
        """For inputs that are taken in at once: as long as it is held, no moment is made of a part of them."""
        return self._changed

    def interrupt(self) -> None:
        """Note that nothing was taken in for a while: what is missing of that time is not lost."""
        with self._changed:
            if self._ring is not None:
                self._ring.interrupt()

    def add_spikes(self, spikes: PackedSpikes, seq: int) -> None:
        """Take in a packet of the spike stream. `seq` is its number, by which losses are known."""
        offset_ns = self.timing.of(SPIKES).offset_ns
        if offset_ns:
            spikes = replace(spikes, start_ns=spikes.start_ns + offset_ns)
        with self._changed:
            if self._ring is None:
                return
            if len(spikes) and not self._admit(SPIKES, spikes.start_ns, spikes.end_ns):
                self._ring.skip(seq)
            elif self._ring.add(spikes, seq):
                self._changed.notify()

    def add_frame(self, sensor: str, frame: Frame) -> None:
        """Take in a frame of a camera."""
        offset_ns = self.timing.of(sensor).offset_ns
        if offset_ns:
            frame = replace(frame, time_ns=frame.time_ns + offset_ns)
        with self._changed:
            collector = self._cameras.get(sensor)
            if collector is None:
                return
            if self._admit(sensor, frame.time_ns, frame.time_ns):
                # A frame may be asked for as long as what comes latest is waited for, or counts as alive.
                noise_ns = max(self.timing.of(name).noise_ns for name in self._cameras)
                span_ns = max(self._longest_wait_ns(), self.timing.alive_ns) + noise_ns
                if collector.add(frame, self._clock(), span_ns):
                    self._changed.notify()

    def reject(self, sensor: str, reason: str, seq: int | None = None) -> None:
        """Count an input that was not fit to be taken in; `seq` is its number, where it has one."""
        with self._changed:
            if seq is not None and self._ring is not None:
                self._ring.skip(seq)
            self.ledgers[sensor].received += 1
            self.ledgers[sensor].dropped[reason] += 1

    def _admit(self, sensor: str, start_ns: int, end_ns: int) -> bool:
        """Watch for jumps of time. False for an input that is dropped because of one."""
        epoch = self._timeline.epoch
        reason = self._timeline.admit(sensor, start_ns, end_ns)
        if reason is not None:
            self.ledgers[sensor].received += 1
            self.ledgers[sensor].dropped[reason] += 1
        for name in self._timeline.moved:
            self._let_go(name)
        if self._timeline.epoch != epoch:
            self._begin_ns = self._last_ns = None
        if self._timeline.moved and (self._timeline.epoch == epoch or self._timeline.newest().keys() == {sensor}):
            self.ledgers[sensor].resets += 1  # else it has followed another
        if reason is None and self._begin_ns is None:
            self._begin_ns = end_ns
        return reason is None

    def _let_go(self, sensor: str) -> None:
        """Drop what is held of a stream that is of another time: it would keep out what comes in the right one."""
        (self._ring if sensor == SPIKES else self._cameras[sensor]).clear(RESET)  # type: ignore[union-attr]

    # What is known of the streams

    @property
    def epoch(self) -> int:
        """How often time has jumped."""
        return self._timeline.epoch

    def skew_ns(self, sensor: str) -> int:
        """How far the newest stamp of a stream was ahead of the newest of the others when it came."""
        with self._changed:
            return self._timeline.skew_ns(sensor)

    def age_ns(self, sensor: str) -> int | None:
        """How much older the newest stamp of a stream is than the newest of all that agree; None for one that has none.
        Negative for one whose clock is ahead."""
        with self._changed:
            newest = self._timeline.newest()
            return self._latest() - newest[sensor] if sensor in newest else None

    def _latest(self) -> int:
        """The newest stamp of all, but of those whose clock is ahead of the others'."""
        return max(self._timeline.agreed(self.timing.alive_ns).values())

    def counts(self) -> dict[str, dict[str, Any]]:
        """What became of the inputs of each stream so far."""
        with self._changed:
            return {name: ledger.to_dict() for name, ledger in self.ledgers.items()}

    # Moments

    def collect(self) -> Moment | None:
        """The latest moment that is complete and later than those handed out, or None."""
        with self._changed:
            return self._collect()

    def wait(self, timeout_s: float) -> Moment | None:
        """Block until a moment is complete. None after the timeout, or once closed."""
        deadline = self._clock() + int(timeout_s * 1e9)
        with self._changed:
            while not self._closed:
                moment = self._collect()
                if moment is not None:
                    return moment
                left = (deadline - self._clock()) / 1e9
                if left <= 0:
                    return None
                # Waiting for a sensor ends by the clock too, when no input comes any more.
                self._changed.wait(min(left, 0.01))
            return None

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End all waiting, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _collect(self) -> Moment | None:
        agreed = self._timeline.agreed(self.timing.alive_ns)
        if not agreed:
            return None
        latest = max(agreed.values())
        if self._last_ns is not None and self._last_ns - latest > self.jump_ns:
            # A clock that was ahead had the say until others came.
            for sensor in self._timeline.newest().keys() - agreed.keys():
                self._let_go(sensor)
            self._timeline.begin(agreed)
            self._begin_ns = self._last_ns = None
        newest = self._timeline.newest()
        alive = {name: stamp for name, stamp in newest.items() if abs(latest - stamp) <= self.timing.alive_ns}
        after = self._after()
        for time_ns, arrived_ns, waits in self._times(alive, latest):
            if after is not None and time_ns < after:
                return None
            passed_ns = max(latest - time_ns, 0 if arrived_ns is None else self._clock() - arrived_ns)
            if not waits or all(self._is_done(name, time_ns, stamp, passed_ns) for name, stamp in alive.items()):
                moment = self._moment(time_ns, alive)
                if moment is not None:
                    self._handed_out(time_ns)
                    return moment
        return None

    def _after(self) -> int | None:
        """The earliest time of the next moment."""
        if self._last_ns is None:
            return None
        interval_ns = self.timing.interval_ns  # it may have been changed since
        return max(min(self._due_ns, self._last_ns + interval_ns) - interval_ns // 4, self._last_ns + 1)

    def _handed_out(self, time_ns: int) -> None:
        interval_ns = self.timing.interval_ns
        on_time = self._last_ns is not None and time_ns < self._due_ns + interval_ns
        self._due_ns = (self._due_ns if on_time else time_ns) + interval_ns
        self._last_ns = time_ns

    def _pacemaker(self, alive: Mapping[str, int], latest_ns: int) -> str | None:
        """The camera whose frames are the moments now, or `rate`, or None while the trigger may yet come."""
        trigger = self.timing.trigger
        if trigger in self._cameras and trigger in alive:
            return trigger
        cameras = [name for name in self._cameras if name in alive]
        if trigger == RATE and SPIKES in alive:
            return RATE
        at_the_beginning = self._begin_ns is not None and 0 <= latest_ns - self._begin_ns <= self.timing.alive_ns
        if at_the_beginning and (trigger in self._cameras or (self._cameras and not cameras)):
            return None
        return cameras[0] if cameras else RATE

    def _times(self, alive: Mapping[str, int], latest_ns: int) -> Iterator[tuple[int, int | None, bool]]:
        """Times that could be a moment, latest first, each with the clock's time since which it waits, where that is
        known, and whether other sensors are to be waited for."""
        pacemaker = self._pacemaker(alive, latest_ns)
        if pacemaker is None:
            return
        if pacemaker != RATE:
            collector = self._cameras[pacemaker]
            for held in reversed(collector.held):
                last_chance = collector.is_full and held is collector.held[0]
                yield held.frame.time_ns, held.arrived_ns, not last_chance
            return
        end_ns = None if self._ring is None else self._ring.end_ns
        if end_ns is None:
            return
        interval_ns = self.timing.interval_ns
        if not interval_ns:
            yield end_ns, None, False  # the newest there is: to wait for the cameras would be to wait for ever
            return
        newest_ns = end_ns if self._last_ns is None else end_ns - (end_ns - self._last_ns) % interval_ns
        # The newest may still wait for a camera when one before need not.
        for back in range(3 + self._longest_wait_ns() // interval_ns):
            yield newest_ns - back * interval_ns, None, True

    def _longest_wait_ns(self) -> int:
        """How long a moment waits for any sensor."""
        return max((self.timing.of(sensor).timeout_ns for sensor in (SPIKES, *self._cameras)), default=0)

    def _is_done(self, sensor: str, time_ns: int, newest_ns: int, passed_ns: int) -> bool:
        """Whether a stream has delivered what it will for a time that was `passed_ns` ago, or been waited for."""
        timing = self.timing.of(sensor)
        if passed_ns > timing.timeout_ns:
            return True
        if sensor == SPIKES:
            return newest_ns >= time_ns
        return self._cameras[sensor].has_passed(time_ns, newest_ns, timing.noise_ns)

    def _moment(self, time_ns: int, alive: Mapping[str, int]) -> Moment | None:
        spikes = None
        if self._ring is not None and SPIKES in alive:
            spikes = self._ring.window(self.planes, time_ns, self.timing.of(SPIKES).noise_ns)
        frames = {}
        for sensor, collector in self._cameras.items():
            frame = collector.nearest(time_ns, self.timing.of(sensor).noise_ns)
            if frame is not None:
                frames[sensor] = frame
        if spikes is None and not frames:
            return None
        return Moment(time_ns, spikes, frames, self._timeline.epoch)
