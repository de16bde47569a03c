"""The last moments of a stream, and which of them show a later one from another place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spike_depth_core.inference.motion_stereo import OtherMoment
from spike_depth_core.networks.preprocess import NetworkInput
from spike_depth_core.samples import DepthSample


@dataclass(frozen=True)
class NeighbourOptions:
    """Which moments are compared.

    Attributes:
        count: how many, the newest.
        metres: how far the vehicle has moved between them: from less nothing can be told, and beyond too much has gone
            out of sight.
        seconds: how long ago they are at most: what else is on the road moves, too.
        skew: how much longer or shorter than between the moments the time between two pictures of a sensor may be, of
            the former: as wrong as that is how far the sensor is taken to have moved.
    """

    count: int = 2
    metres: tuple[float, float] = (0.2, 5.0)
    seconds: float = 1.0
    skew: float = 0.05


def motion(here: DepthSample, there: DepthSample, sensor: str) -> Tensor:
    """`there_from_here` [1, 4, 4] of a sensor's optical frame between two moments whose poses are known, metres."""
    assert here.world_from_reference is not None
    assert there.world_from_reference is not None
    one, other = (sample.world_from_reference @ sample.rig.reference_from(sensor) for sample in (here, there))
    return torch.from_numpy(np.linalg.inv(other) @ one)[None].float()


class Neighbours:
    """Remembers moments whose pose is known, for as long as they may be compared with another."""

    def __init__(self, options: NeighbourOptions | None = None):
        self.options = options or NeighbourOptions()
        self._past: deque[DepthSample] = deque()

    def add(self, sample: DepthSample) -> None:
        """Remember a moment; one without a pose, or the same again, is of no use."""
        self._forget(sample.time_ns)
        if sample.world_from_reference is not None and all(sample.time_ns != past.time_ns for past in self._past):
            self._past.append(sample)

    def of(self, sample: DepthSample) -> list[DepthSample]:
        """Those that show what a moment shows from another place, the newest first; at most `count`."""
        self._forget(sample.time_ns)
        if sample.world_from_reference is None:
            return []
        least, most = self.options.metres
        found = []
        for past in reversed(self._past):
            apart = float(np.linalg.norm((past.world_from_reference - sample.world_from_reference)[:3, 3]))
            if least <= apart <= most and _same_cameras(past, sample):
                found.append(past)
        return found[: self.options.count]

    def clear(self) -> None:
        """Forget all."""
        self._past.clear()

    def _forget(self, now_ns: int) -> None:
        """What is too old, or of a time that has not yet been, after a clock was set back."""
        oldest = now_ns - self.options.seconds * 1e9
        self._past = deque(past for past in self._past if oldest <= past.time_ns <= now_ns)


def in_step(a: DepthSample, b: DepthSample, skew: float) -> tuple[str, ...]:
    """The sensors of both whose pictures are as far apart in time as the moments are, see `NeighbourOptions`.

    One that has delivered nothing for a moment is blank there, which is to be seen by its offset: it has none.
    """
    most = skew * abs(a.time_ns - b.time_ns)
    return tuple(
        sensor
        for sensor in a.sensors
        if sensor in b.sensors
        and all(not moment.offsets_ns or sensor in moment.offsets_ns for moment in (a, b))
        and abs(a.offsets_ns.get(sensor, 0) - b.offsets_ns.get(sensor, 0)) <= most
    )


def other_moments(
    sample: DepthSample,
    neighbours: Sequence[DepthSample],
    reference: str,
    sensors: Collection[str],
    prepared: Callable[[DepthSample, tuple[str, ...]], NetworkInput],
    skew: float,
) -> list[OtherMoment]:
    """Neighbours as they are compared with a moment: by those sensors whose pictures are in step with it.

    Args:
        sample: the moment, in the frame of whose `reference` depth is.
        neighbours: of it.
        sensors: that may be compared.
        prepared: a moment's pictures by some of its sensors, for the network camera of the reference.
        skew: see `NeighbourOptions`.
    """
    found = []
    for other in neighbours:
        used = tuple(sensor for sensor in in_step(sample, other, skew) if sensor in sensors)
        if used and reference in other.sensors:
            inputs = prepared(other, used)
            found.append(OtherMoment(inputs, motion(sample, other, reference).to(inputs.camera.device)))
    return found


def _same_cameras(a: DepthSample, b: DepthSample) -> bool:
    """Whether the sensors that both have are the same cameras, and there is one."""
    shared = a.rig.cameras.keys() & b.rig.cameras.keys()
    return bool(shared) and all(a.rig.cameras[sensor] == b.rig.cameras[sensor] for sensor in shared)
