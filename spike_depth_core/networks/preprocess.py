"""From raw sensor images to the tensors the network eats: normalised, and resampled to one camera.

Every sensor of a sample is brought to the network camera: the reference sensor's camera, scaled and padded so that
both sides are multiples of `STRIDE`. Sensors beside the reference are moved by the homography at infinity; what
parallax remains the network has to bridge. Right-hand cameras look the way their left ones do, so that theirs is the
disparity, focal length times baseline over depth, along the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from spike_depth_core.geometry.precision import full_precision
from spike_depth_core.geometry.resample import average_pool, infinity_grid, inside, resized_intrinsics, sample_at
from spike_depth_core.geometry.warp import back_project
from spike_depth_core.samples import SENSORS, modality
from spike_depth_core.samples.batch import SampleBatch
from spike_depth_core.spikes.windows import NETWORK_CHANNELS, network_input_torch

STRIDE = 32
RGB_MEAN, RGB_STD = 0.45, 0.25
CHANNELS = {"spikes": len(NETWORK_CHANNELS), "rgb": 3, "nir": 1, "thermal": 1}


@dataclass
class NetworkInput:
    """What one forward pass takes.

    Attributes:
        images: by name, float32 [B, C + 1, H, W] in the network camera; the last channel is 1 where the sensor
            sees and 0 outside its field of view.
        camera: (fx, fy, cx, cy) of the network camera [B, 4].
        height: of the network camera over the road, metres [B].
        centres: by name, the optical centre in the network camera's frame, metres [B, 3]: the images are what the
            network camera would see from there. Only what removes or measures parallax asks for them.
        reference: the sensor at whose centre the network camera stands.
    """

    images: dict[str, Tensor]
    camera: Tensor
    height: Tensor
    centres: dict[str, Tensor] = field(default_factory=dict)
    reference: str | None = None

    def seen_from(self, sensor: str) -> NetworkInput:
        """The same images for a network camera that has moved to another sensor's centre, looking the same way.

        Raises:
            ValueError: when that sensor's centre is not known.
        """
        if sensor not in self.centres:
            raise ValueError(f"where {sensor!r} stands is not known; known are the centres of {sorted(self.centres)}")
        centre = self.centres[sensor]
        moved = {name: other - centre for name, other in self.centres.items()}
        return replace(self, height=self.height - centre[:, 1], centres=moved, reference=sensor)

    def alone(self, sensor: str) -> NetworkInput:
        """One sensor's image, for the network camera at its centre."""
        return replace(self.seen_from(sensor), images={sensor: self.images[sensor]})


def stacked(inputs: Sequence[NetworkInput]) -> NetworkInput:
    """Several as one batch, in their order, with the centres of what they have images of.

    They must have the same images and reference, and be of one size.
    """
    first = inputs[0]
    known = [name for name in first.images if all(name in one.centres for one in inputs)]
    return NetworkInput(
        images={name: torch.cat([one.images[name] for one in inputs]) for name in first.images},
        camera=torch.cat([one.camera for one in inputs]),
        height=torch.cat([one.height for one in inputs]),
        centres={name: torch.cat([one.centres[name] for one in inputs]) for name in known},
        reference=first.reference,
    )


def reference_of(sensors: tuple[str, ...]) -> str:
    """The sensor in whose frame depth is given when the caller names none: the first present of `SENSORS`."""
    for sensor in SENSORS:
        if sensor in sensors:
            return sensor
    raise ValueError(f"no known sensor among {sensors}; known are {SENSORS}")


def network_size(height: int, width: int, pixels: int) -> tuple[int, int, float]:
    """(height, width) of the network's canvas for an image of this size, and the scale of the image in it.

    Images of more than `pixels` pixels are scaled down to as many; smaller ones keep their size.
    """
    scale = min(1.0, (pixels / (height * width)) ** 0.5)
    return -(-round(height * scale) // STRIDE) * STRIDE, -(-round(width * scale) // STRIDE) * STRIDE, scale


def network_camera(camera: Tensor, height: int, width: int, pixels: int) -> tuple[Tensor, tuple[int, int]]:
    """The network camera [B, 4] of a reference camera [B, 4], and its size; the image is centred in the canvas."""
    canvas_height, canvas_width, scale = network_size(height, width, pixels)
    camera = resized_intrinsics(camera, scale, scale)
    left = (canvas_width - round(width * scale)) // 2
    top = (canvas_height - round(height * scale)) // 2
    return camera + torch.tensor([0, 0, left, top], device=camera.device), (canvas_height, canvas_width)


def standardised(image: Tensor) -> Tensor:
    """[B, H, W] to zero mean and unit deviation an image, clipped to +-5: raw counts have no common scale."""
    mean = image.mean(dim=(1, 2), keepdim=True)
    std = image.std(dim=(1, 2), keepdim=True)
    return ((image - mean) / (std + 1e-3 * mean.abs() + 1e-6)).clamp(-5, 5)


def normalised(name: str, image: Tensor, width: int) -> Tensor:
    """A raw image of `SampleBatch`, by its name, as float32 [B, C, H, W] of order one."""
    kind = modality(name)
    if kind == "spikes":
        return network_input_torch(image, width)
    if kind == "rgb":
        return (image.permute(0, 3, 1, 2).float() / 255 - RGB_MEAN) / RGB_STD
    return standardised(image)[:, None]


def to_camera(
    image: Tensor,
    source: Tensor,
    target: Tensor,
    size: tuple[int, int],
    source_from_target: Tensor | None = None,
    distortion: Tensor | None = None,
) -> Tensor:
    """Resample [B, C, H, W] to the target camera, with the field-of-view mask appended: [B, C + 1, h, w]."""
    factor = int(float((source[:, 0] / target[:, 0]).mean()))
    if factor > 1:  # average before sampling, or fine texture turns into false detail
        image = average_pool(image, factor)
        source = resized_intrinsics(source, 1 / factor, 1 / factor)
    pixels, front = infinity_grid(source, target, size, source_from_target, distortion)
    seen = (front & inside(pixels, (image.shape[2], image.shape[3])))[:, None].to(image.dtype)
    return torch.cat([sample_at(image, pixels) * seen, seen], dim=1)


@full_precision
def prepare(
    batch: SampleBatch, reference: str, sensors: tuple[str, ...], camera: Tensor, size: tuple[int, int]
) -> NetworkInput:
    """Bring sensors of a batch to a network camera.

    Args:
        batch: raw images.
        reference: the sensor in whose frame depth is wanted; its image need not be among those used.
        sensors: which to use; right-hand images by their own names.
        camera, size: the network camera [B, 4] and its size: `network_camera`'s, or a zoom or crop of it.
    """
    images, centres = {}, {}
    for sensor in sensors:
        rotation = None
        centres[sensor] = camera.new_zeros((len(camera), 3))
        if sensor != reference:
            source_from_target = torch.linalg.inv(batch.poses[sensor]) @ batch.poses[reference]
            rotation = source_from_target[:, :3, :3]
            centres[sensor] = -torch.einsum("bji,bj->bi", rotation, source_from_target[:, :3, 3])
        images[sensor] = to_camera(
            normalised(sensor, batch.images[sensor], batch.sizes[sensor][1]),
            batch.cameras[sensor],
            camera,
            size,
            rotation,
            batch.distortion.get(sensor),
        )
    return NetworkInput(images, camera, batch.heights[reference], centres=centres, reference=reference)


@full_precision
def depth_in_camera(
    batch: SampleBatch, reference: str, camera: Tensor, size: tuple[int, int], sensor: str | None = None
) -> Tensor:
    """True depth [B, h, w] at the network camera's pixels; NaN outside the image.

    Values are picked, never mixed: the one at the pixel's centre; where that is unknown, the nearest point of those
    that the pixel covers, so that scaling down does not thin a sparse map.

    Args:
        batch: with the depth of the sensor that is asked for.
        reference: in whose directions the network camera looks.
        camera, size: the network camera [B, 4] and its size.
        sensor: whose depth is asked for; the network camera then stands at its centre, see `NetworkInput.seen_from`.
            The reference's when None.
    """
    sensor = sensor or reference
    rotation, along = None, None
    if sensor != reference:
        rotation = (torch.linalg.inv(batch.poses[sensor]) @ batch.poses[reference])[:, :3, :3]
        # Depth is told along the sensor's own axis: a ray (x, y, 1) of the network camera is (R ray)_z long there.
        rays = back_project(camera.new_ones((len(camera), *size)), camera)
        along = torch.einsum("bj,bhwj->bhw", rotation[:, 2], rays)
    pixels, front = infinity_grid(batch.cameras[sensor], camera, size, rotation, batch.distortion.get(sensor))
    truth = batch.depth[sensor]
    u = pixels[..., 0].round().long()
    v = pixels[..., 1].round().long()
    valid = front & (u >= 0) & (u < truth.shape[2]) & (v >= 0) & (v < truth.shape[1])
    index = (v.clamp(0, truth.shape[1] - 1) * truth.shape[2] + u.clamp(0, truth.shape[2] - 1)).flatten(1)
    depth = truth.flatten(1).gather(1, index).reshape(valid.shape)
    unknown = valid & torch.isnan(depth)
    if unknown.any():
        scales = batch.cameras[sensor][:, :2] / camera[:, :2]
        depth = torch.where(unknown, _nearest_covered(truth, pixels, scales), depth)
    if along is not None:
        depth = depth / along
    return torch.where(valid, depth, torch.full_like(depth, torch.nan))


def _nearest_covered(truth: Tensor, pixels: Tensor, scales: Tensor) -> Tensor:
    """The least finite depth of a map [B, H, W] under each target pixel [B, h, w], NaN where there is none.

    Args:
        truth: metres.
        pixels: where the target pixels' centres lie in it [B, h, w, 2] (u, v).
        scales: how many of its pixels make a target pixel, across and down [B, 2].
    """
    extents = scales.clamp(min=1)
    half = extents[:, None, None] / 2
    corner = pixels.new_tensor([truth.shape[2] - 1, truth.shape[1] - 1])
    first = (pixels - half).ceil().clamp(min=0).minimum(corner)
    last = ((pixels + half).ceil() - 1).clamp(min=0).minimum(corner)
    columns, rows = (
        [torch.minimum(first[..., axis] + k, last[..., axis]).long().flatten(1) for k in range(int(extent.ceil()))]
        for axis, extent in enumerate(extents.amax(dim=0))
    )
    values = truth.flatten(1)
    nearest = torch.full_like(rows[0], torch.inf, dtype=truth.dtype)
    for row in rows:
        for column in columns:
            depth = values.gather(1, row * truth.shape[2] + column)
            nearest = torch.fmin(nearest, depth)  # of a number and NaN it is the number
    return torch.where(torch.isfinite(nearest), nearest, torch.nan).reshape(pixels.shape[:-1])


def in_sight(inputs: NetworkInput) -> Tensor:
    """Where at least one sensor sees, bool [B, H, W]: of the rest of the canvas no network can know anything."""
    return torch.stack([image[:, -1] for image in inputs.images.values()]).amax(dim=0) > 0.5
