"""Samples stacked into tensors, raw: what travels to the training device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from spike_depth_core.geometry.resample import intrinsics
from spike_depth_core.samples.sample import DepthSample


@dataclass
class SampleBatch:
    """B samples with the same sensors and sizes.

    Attributes:
        images: by sensor, as recorded: spikes packed uint8 [B, T, H, ceil(W / 8)], rgb uint8 [B, H, W, 3], nir and
            thermal float32 [B, H, W] of raw counts.
        sizes: by sensor, (height, width).
        cameras: by sensor, (fx, fy, cx, cy) [B, 4].
        distortion: by sensor, `plumb_bob` [B, 5]; sensors without distortion are left out.
        poses: by sensor, `reference_from_sensor` [B, 4, 4].
        heights: by sensor, metres over the road [B], see `SensorRig.height_of`.
        depth: by sensor, metres [B, H, W]; +inf sky, NaN unknown.
    """

    images: dict[str, Tensor]
    sizes: dict[str, tuple[int, int]]
    cameras: dict[str, Tensor]
    distortion: dict[str, Tensor]
    poses: dict[str, Tensor]
    heights: dict[str, Tensor]
    depth: dict[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.cameras.values())))

    @property
    def sensors(self) -> tuple[str, ...]:
        return tuple(self.images)

    def to(self, device: torch.device | str) -> SampleBatch:
        """The same batch on another device."""

        def move(value: dict) -> dict:
            return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in value.items()}

        return SampleBatch(*(move(getattr(self, f.name)) for f in fields(self)))

    def pin_memory(self) -> SampleBatch:
        """Called by `torch.utils.data.DataLoader`."""

        def pin(value: dict) -> dict:
            return {k: v.pin_memory() if isinstance(v, Tensor) else v for k, v in value.items()}

        return SampleBatch(*(pin(getattr(self, f.name)) for f in fields(self)))


def raw_image(sample: DepthSample, sensor: str) -> Tensor:
    """One sensor's image as a tensor, see `SampleBatch.images`."""
    image = getattr(sample, sensor)
    if sensor in ("spikes", "rgb"):
        # Torch wants memory it may write to; views into messages and decoded pictures are read-only.
        return torch.from_numpy(np.require(image.data if sensor == "spikes" else image, requirements=["C", "W"]))
    return torch.from_numpy(image.astype(np.float32))


def collate(samples: Sequence[DepthSample]) -> SampleBatch:
    """Stack samples. Raises ValueError where their sensors or sizes differ."""
    first = samples[0]
    for sample in samples[1:]:
        if sample.sensors != first.sensors:
            raise ValueError(f"samples of a batch must have the same sensors: {first.sensors}, {sample.sensors}")
    sensors = first.sensors
    cameras = {s: [sample.rig.cameras[s] for sample in samples] for s in sensors}
    distortion = {
        s: torch.tensor([(list(c.distortion) + [0.0] * 5)[:5] for c in cameras[s]], dtype=torch.float32)
        for s in sensors
        if any(c.distortion for c in cameras[s])
    }
    try:
        return SampleBatch(
            images={s: torch.stack([raw_image(sample, s) for sample in samples]) for s in sensors},
            sizes={s: first.size(s) for s in sensors},
            cameras={s: torch.stack([intrinsics(c) for c in cameras[s]]) for s in sensors},
            distortion=distortion,
            poses={
                s: torch.stack([torch.from_numpy(sample.rig.reference_from(s)).float() for sample in samples])
                for s in sensors
            },
            heights={s: torch.tensor([sample.rig.height_of(s) for sample in samples]) for s in sensors},
            depth={
                s: torch.stack([torch.from_numpy(sample.depth[s]) for sample in samples])
                for s in first.depth
                if all(s in sample.depth for sample in samples)
            },
        )
    except RuntimeError as error:
        raise ValueError(f"samples of a batch must have the same sizes: {error}") from error
