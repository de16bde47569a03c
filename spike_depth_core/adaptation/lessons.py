"""What is learned from: a moment ready for the network, and depth to answer with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from spike_depth_core.inference.motion_stereo import Evidence
from spike_depth_core.networks.depth_network import Prediction
from spike_depth_core.networks.preprocess import NetworkInput, depth_in_camera, in_sight, network_camera, prepare
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.batch import collate


@dataclass(frozen=True)
class Lesson:
    """One moment.

    Attributes:
        inputs: of the student: the sensors it is to do with.
        log_depth: what it should answer, [1, H, W]; 0 where it is not known.
        mask: where that is known, [1, H, W].
        source: `live` or `original`.
        time_ns: of the moment.
        evidence: by which parallax has corrected the teacher; None where it has not, or is not asked again.
        whole: the same moment with all sensors, of a live one with the teacher's and its answer: what the guard asks
            besides, and what all sensors learn where parallax has corrected the teacher; else None.
    """

    inputs: NetworkInput
    log_depth: Tensor
    mask: Tensor
    source: str
    time_ns: int = 0
    evidence: Evidence | None = None
    whole: Lesson | None = None

    @property
    def depth(self) -> Tensor:
        """Metres."""
        return self.log_depth.exp()

    @property
    def sensors(self) -> tuple[str, ...]:
        return tuple(self.inputs.images)

    def seen_by(self, sensors: tuple[str, ...]) -> Lesson:
        """The same lesson for fewer sensors."""
        return replace(self, inputs=restricted(self.inputs, sensors))


def alike(lessons: Sequence[Lesson]) -> list[list[Lesson]]:
    """Those that one pass of the network can take together: of the same sensors, in the same order, and size."""
    groups: dict[Any, list[Lesson]] = {}
    for lesson in lessons:
        inputs = lesson.inputs
        images = tuple((name, image.shape) for name, image in inputs.images.items())
        groups.setdefault((images, inputs.reference), []).append(lesson)
    return list(groups.values())


def network_input(
    sample: DepthSample, reference: str, sensors: tuple[str, ...], pixels: int, device: torch.device | str = "cpu"
) -> NetworkInput:
    """A sample as a network of so many pixels takes it."""
    batch = collate([sample]).to(device)
    camera, size = network_camera(batch.cameras[reference], *batch.sizes[reference], pixels)
    return prepare(batch, reference, sensors, camera, size)


def restricted(inputs: NetworkInput, sensors: tuple[str, ...]) -> NetworkInput:
    """The same moment seen by fewer sensors."""
    return replace(inputs, images={s: inputs.images[s] for s in sensors})


def from_teacher(
    inputs: NetworkInput, reference: str, teacher: tuple[str, ...], answer: Prediction, time_ns: int
) -> Lesson:
    """A live lesson with all sensors: the teacher's depth, wherever both it and the reference see.

    Args:
        inputs: with all sensors.
        reference: in whose frame depth is, one of them.
        teacher: those that the teacher had.
        answer: the teacher's.
        time_ns: of the moment.
    """
    seen = (inputs.images[reference][:, -1] > 0.5) & in_sight(restricted(inputs, teacher))
    mask = seen & torch.isfinite(answer.log_depth)
    return Lesson(inputs, answer.log_depth.nan_to_num(), mask, "live", time_ns)


def by_the_better(
    said: Lesson, teacher: Tensor, measured: Tensor, own: Prediction, screen: float
) -> tuple[Lesson, Tensor]:
    """What a student is to learn of a teacher: its depth where parallax has corrected it or it is the surer of the two,
    and elsewhere to stay by its own, since what no label speaks of would drift.

    Args:
        said: the teacher's depth.
        teacher: its log scale of error, [1, H, W].
        measured: where parallax has spoken, bool [1, H, W].
        own: what the student says now.
        screen: the share of pixels, those that either is surest of, that are learned from.

    Returns:
        The lesson, and where in it the teacher is heard, bool [1, H, W].
    """
    scale = torch.minimum(teacher, own.log_scale).float()
    mask = said.mask & (scale <= torch.quantile(scale[said.mask], screen)) & torch.isfinite(own.log_depth)
    heard = measured | (teacher < own.log_scale)
    depth = torch.where(heard, said.log_depth, own.log_depth.nan_to_num())
    return replace(said, log_depth=depth, mask=mask), mask & heard


def from_truth(
    sample: DepthSample,
    reference: str,
    sensors: tuple[str, ...],
    pixels: int,
    depth_range: tuple[float, float],
    device: torch.device | str = "cpu",
) -> Lesson:
    """A lesson of the original training, with its true depth.

    Raises:
        ValueError: the sample has no true depth for the reference, or none in the range.
    """
    if reference not in sample.depth:
        raise ValueError(
            f"an original example needs true depth for {reference!r}; it has it for {sorted(sample.depth)}"
        )
    inputs = network_input(sample, reference, sensors, pixels, device)
    batch = collate([sample]).to(device)
    size = next(iter(inputs.images.values())).shape[-2:]
    truth = depth_in_camera(batch, reference, inputs.camera, (size[0], size[1]))
    mask = torch.isfinite(truth) & (truth >= depth_range[0]) & (truth <= depth_range[1])
    if not mask.any():
        near, far = depth_range
        raise ValueError(
            f"the sample at {sample.time_ns / 1e9:.3f} s has no true depth for {reference!r} from {near:g} to {far:g} m"
        )
    return Lesson(inputs, torch.where(mask, truth, torch.ones_like(truth)).log(), mask, "original", sample.time_ns)
