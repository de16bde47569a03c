"""Samples stacked into tensors, raw: what travels to the training device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spike_depth_core.geometry.resample import intrinsics, lens
from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.sensors import SENSORS, modality


@dataclass
class SampleBatch:
    """B samples with the same images and sizes. Right-hand images have names of their own, as in `DepthSample`.

    Attributes:
        images: by name, as recorded: spikes packed uint8 [B, T, H, ceil(W / 8)], rgb uint8 [B, H, W, 3], nir and
            thermal float32 [B, H, W] of raw counts.
        sizes: by image, (height, width).
        cameras: by image, (fx, fy, cx, cy) [B, 4].
        distortion: by image, `plumb_bob` [B, 5]; images without distortion are left out.
        poses: by image, `reference_from_sensor` [B, 4, 4].
        heights: by image, metres over the road [B], see `SensorRig.height_of`.
        depth: by image, metres [B, H, W]; +inf sky, NaN unknown.
        neighbours: by offset in frames, the same sequences' samples earlier (below 0) and later; mostly none.
        world_from_reference: poses of the rigs in the frames of their sequences, float64 [B, 4, 4]; None where one of
            the samples has none. In double precision: a town is wide, and what counts is how two of them differ.
    """

    images: dict[str, Tensor]
    sizes: dict[str, tuple[int, int]]
    cameras: dict[str, Tensor]
    distortion: dict[str, Tensor]
    poses: dict[str, Tensor]
    heights: dict[str, Tensor]
    depth: dict[str, Tensor]
    neighbours: dict[int, SampleBatch] = field(default_factory=dict)
    world_from_reference: Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.cameras.values())))

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors present, without right-hand cameras."""
        return tuple(name for name in self.images if name in SENSORS)

    def to(self, device: torch.device | str) -> SampleBatch:
        """The same batch on another device."""

        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: moved(v) for k, v in value.items()}
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=True)
            return value.to(device) if isinstance(value, SampleBatch) else value

        return SampleBatch(*(moved(getattr(self, f.name)) for f in fields(self)))

    def pin_memory(self) -> SampleBatch:
        """Called by `torch.utils.data.DataLoader`."""

        def pin(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: pin(v) for k, v in value.items()}
            return value.pin_memory() if isinstance(value, Tensor | SampleBatch) else value

        return SampleBatch(*(pin(getattr(self, f.name)) for f in fields(self)))


def raw_image(sample: DepthSample, name: str) -> Tensor:
    """One image as a tensor, see `SampleBatch.images`."""
    image = getattr(sample, name)
    kind = modality(name)
    if kind in ("spikes", "rgb"):
        # Torch wants memory it may write to; views into messages and decoded pictures are read-only.
        return torch.from_numpy(np.require(image.data if kind == "spikes" else image, requirements=["C", "W"]))
    return torch.from_numpy(image.astype(np.float32))


def collate(samples: Sequence[DepthSample]) -> SampleBatch:
    """Stack samples. Raises ValueError where their images or sizes differ."""
    first = samples[0]
    for sample in samples[1:]:
        if sample.images != first.images:
            raise ValueError(f"samples of a batch must have the same sensors: {first.images}, {sample.images}")
    images = first.images
    cameras = {s: [sample.rig.cameras[s] for sample in samples] for s in images}
    distortion = {
        s: torch.stack([lens(c) for c in cameras[s]]) for s in images if any(c.distortion for c in cameras[s])
    }
    known = [s.world_from_reference for s in samples if s.world_from_reference is not None]
    try:
        return SampleBatch(
            images={s: torch.stack([raw_image(sample, s) for sample in samples]) for s in images},
            sizes={s: first.size(s) for s in images},
            cameras={s: torch.stack([intrinsics(c) for c in cameras[s]]) for s in images},
            distortion=distortion,
            poses={
                s: torch.stack([torch.from_numpy(sample.rig.reference_from(s)).float() for sample in samples])
                for s in images
            },
            heights={s: torch.tensor([sample.rig.height_of(s) for sample in samples]) for s in images},
            depth={
                s: torch.stack([torch.from_numpy(sample.depth[s]) for sample in samples])
                for s in first.depth
                if all(s in sample.depth for sample in samples)
            },
            world_from_reference=torch.from_numpy(np.stack(known).astype(np.float64))
            if len(known) == len(samples)
            else None,
        )
    except RuntimeError as error:
        raise ValueError(f"samples of a batch must have the same sizes: {error}") from error
