"""Pairs a spike stream and camera frames by time, and says what became of every one of them.

All decisions rest on the stamps of the data. The clock that is handed in serves one thing: to stop waiting for a
sensor when no more data comes to show that time has passed. With a clock that follows the data, a recording gives the
same moments however fast it is played.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams.ledger import Ledger
from spike_depth_core.streams.spike_ring import LATE, RESET, UNUSED, SpikeRing

SPIKES = "spikes"
REPEATED = "repeated"
BEFORE_RESET = "before_reset"


@dataclass(frozen=True)
class Frame:
    """One image of a camera.

    Attributes:
        time_ns: acquisition.
        image: pixels, [H, W] or [H, W, 3].
        camera: its intrinsics.
    """

    time_ns: int
    image: np.ndarray
    camera: PinholeCamera


@dataclass(frozen=True)
class Moment:
    """What the sensors saw at one time.

    Attributes:
        time_ns: the time.
        spikes: the planes that end there, or None.
        frames: by sensor, the frame nearest to it.
    """

    time_ns: int
    spikes: PackedSpikes | None
    frames: dict[str, Frame]


@dataclass(frozen=True)
class Timing:
    """How inputs are matched; everything in nanoseconds.

    Attributes:
        tolerance_ns: the most that a frame may be from the moment it is paired into.
        wait_ns: how long a moment waits for a sensor that is alive but has not delivered yet.
        alive_ns: a sensor whose newest stamp is older than the newest of all by more is not waited for.
        back_ns: a stamp that is further back than this behind its own stream is a jump back in time (a recording
            that starts over), not a late arrival.
        interval_ns: the least time from one moment to the next.
    """

    tolerance_ns: int = 17_000_000
    wait_ns: int = 15_000_000
    alive_ns: int = 250_000_000
    back_ns: int = 500_000_000
    interval_ns: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, found {value}")


class _Held:
    """A frame waiting, with the time it arrived at."""

    __slots__ = ("arrived_ns", "frame", "used")

    def __init__(self, frame: Frame, arrived_ns: int):
        self.frame = frame
        self.arrived_ns = arrived_ns
        self.used = False


class Synchronizer:
    """Takes inputs from one thread and gives moments to another, the latest first; nothing queues up.

    A moment is the time of a frame that the spikes have reached and for which the other cameras have delivered, or
    been waited for. Without cameras alive it is the newest end of the spikes; without spikes, frames alone.

    Args:
        planes: spike planes in a moment.
        cameras: names of the frame sensors.
        timing: how inputs are matched.
        clock: steady time in nanoseconds.
        capacity: spike planes held.
        frames: frames held of each camera.
    """

    def __init__(
        self,
        planes: int,
        cameras: Sequence[str],
        timing: Timing,
        clock: Callable[[], int],
        capacity: int = 4096,
        frames: int = 8,
    ):
        self.planes = planes
        self.timing = timing
        self.ledgers = {name: Ledger() for name in (SPIKES, *cameras)}
        self._ring = SpikeRing(max(capacity, planes), ledger=self.ledgers[SPIKES])
        self._held: dict[str, list[_Held]] = {name: [] for name in cameras}
        self._frames = frames
        self._clock = clock
        self._newest: dict[str, int] = {}  # stamp of the newest input of each stream
        self._epoch = 0  # how often time has jumped back
        self._epochs = dict.fromkeys(self.ledgers, 0)  # the epoch that each stream has reached
        self._reset_at_ns = 0  # the clock's time of the last jump
        self._last_ns: int | None = None  # the last moment handed out
        self._changed = threading.Condition()
        self._closed = False

    # Inputs

    def add_spikes(self, spikes: PackedSpikes, seq: int) -> None:
        """Take in a packet of the spike stream. `seq` is its number, by which losses are known."""
        with self._changed:
            if self._admit(SPIKES, spikes.start_ns) and self._ring.add(spikes, seq):
                self._newest[SPIKES] = spikes.end_ns
                self._changed.notify()

    def add_frame(self, sensor: str, frame: Frame) -> None:
        """Take in a frame of a camera."""
        with self._changed:
            if not self._admit(sensor, frame.time_ns):
                return
            ledger, held = self.ledgers[sensor], self._held[sensor]
            ledger.received += 1
            if held and frame.time_ns <= held[-1].frame.time_ns:
                repeated = any(other.frame.time_ns == frame.time_ns for other in held)
                ledger.dropped[REPEATED if repeated else LATE] += 1
                return
            held.append(_Held(frame, self._clock()))
            self._newest[sensor] = frame.time_ns
            if len(held) > self._frames:
                self._let_go(sensor, UNUSED)
            self._changed.notify()

    def reject(self, sensor: str, reason: str, seq: int | None = None) -> None:
        """Count an input that was not fit to be taken in; `seq` is its number, where it has one."""
        with self._changed:
            if seq is not None:
                self._ring.skip(seq)
            self.ledgers[sensor].received += 1
            self.ledgers[sensor].dropped[reason] += 1

    def _admit(self, sensor: str, time_ns: int) -> bool:
        """Watch for jumps back in time. False for an input that is dropped because of one."""
        newest = self._newest.get(sensor)
        if newest is not None and time_ns < newest - self.timing.back_ns:
            if self._epochs[sensor] == self._epoch:  # the first stream to jump: all that is held is of another time
                self._epoch += 1
                self._reset_at_ns = self._clock()
                self.ledgers[sensor].resets += 1
                self._flush()
            self._epochs[sensor] = self._epoch
            self._newest[sensor] = time_ns
        elif self._epochs[sensor] < self._epoch:
            # Another stream has jumped back. What this one had under way is still of the old time; if it goes on
            # there, it was never part of the jump.
            ahead = time_ns - max(self._current().values())
            recent = self._clock() - self._reset_at_ns <= self.timing.back_ns
            if newest is not None and ahead > self.timing.back_ns and recent:
                self._newest[sensor] = max(newest, time_ns)
                self.ledgers[sensor].received += 1
                self.ledgers[sensor].dropped[BEFORE_RESET] += 1
                return False
            self._epochs[sensor] = self._epoch
        return True

    def _current(self) -> dict[str, int]:
        """The newest stamp of each stream that has reached the present epoch."""
        return {name: stamp for name, stamp in self._newest.items() if self._epochs[name] == self._epoch}

    def _flush(self) -> None:
        self._ring.clear(RESET)
        for sensor, held in self._held.items():
            while held:
                self._let_go(sensor, RESET)
        self._last_ns = None

    def _let_go(self, sensor: str, reason: str) -> None:
        held = self._held[sensor].pop(0)
        if not held.used:
            self.ledgers[sensor].dropped[reason] += 1

    # Moments

    def collect(self) -> Moment | None:
        """The latest moment that is ready and has not been handed out, or None."""
        with self._changed:
            return self._collect()

    def wait(self, timeout_s: float) -> Moment | None:
        """Block until a moment is ready. None after the timeout, or once closed."""
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
                self._changed.wait(min(left, max(self.timing.wait_ns / 1e9, 1e-3)))
            return None

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End all waiting, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def counts(self) -> dict[str, dict[str, Any]]:
        """What became of the inputs of each stream so far."""
        with self._changed:
            return {name: ledger.to_dict() for name, ledger in self.ledgers.items()}

    def _collect(self) -> Moment | None:
        current = self._current()
        if not current:
            return None
        newest = max(current.values())
        alive = {name for name, stamp in current.items() if newest - stamp <= self.timing.alive_ns}
        after = None if self._last_ns is None else self._last_ns + max(self.timing.interval_ns, 1)
        for time_ns, arrived_ns in self._times(alive):
            if after is not None and time_ns < after:
                return None
            waited = max(newest - time_ns, self._clock() - arrived_ns) > self.timing.wait_ns
            if waited or all(self._has_passed(name, time_ns, current[name]) for name in alive):
                moment = self._moment(time_ns, SPIKES in alive)
                if moment is not None:
                    self._last_ns = time_ns
                    return moment
        return None

    def _times(self, alive: set[str]) -> list[tuple[int, int]]:
        """Times that could be a moment, latest first, each with the clock's time since which it waits."""
        times: dict[int, int] = {}
        for sensor in alive & self._held.keys():
            for held in self._held[sensor]:
                known = times.get(held.frame.time_ns, held.arrived_ns)
                times[held.frame.time_ns] = min(known, held.arrived_ns)
        if not times and self._ring.end_ns is not None:
            times[self._ring.end_ns] = self._clock()
        return sorted(times.items(), reverse=True)

    def _has_passed(self, sensor: str, time_ns: int, newest_ns: int) -> bool:
        """Whether a stream has delivered what it will for a time."""
        return newest_ns >= time_ns - (0 if sensor == SPIKES else self.timing.tolerance_ns)

    def _moment(self, time_ns: int, with_spikes: bool) -> Moment | None:
        spikes = None
        if with_spikes:
            spikes = self._ring.window(self.planes, time_ns, self.timing.tolerance_ns)
            if spikes is None:
                return None  # a gap: within some milliseconds the stream is whole again, and another moment fits
        frames = {}
        for sensor, all_held in self._held.items():
            if not all_held:
                continue
            nearest = min(all_held, key=lambda held: abs(held.frame.time_ns - time_ns))
            if abs(nearest.frame.time_ns - time_ns) <= self.timing.tolerance_ns:
                frames[sensor] = nearest.frame
                if not nearest.used:
                    nearest.used = True
                    self.ledgers[sensor].used += 1
        return Moment(time_ns, spikes, frames)
