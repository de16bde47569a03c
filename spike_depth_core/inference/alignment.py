"""Notices, on what the sensors see, that they are not where the rig has them.

The picture of a sensor is brought to the reference camera by the depth that was estimated and the rig that is believed.
Where both are right, what has structure in one picture has it in the other at the same pixel. What is left is measured
block by block, by correlation, and explained by one small motion of the sensor.

With an error E of the rig (a rotation w and a translation t, both small), a point X = Z (x, y, 1) of the reference
camera is found not at (x, y), but displaced by

    dx = w_y (1 + x^2) - w_x x y - w_z y + (t_x - x t_z) / Z
    dy = -w_x (1 + y^2) + w_y x y + w_z x + (t_y - y t_z) / Z

which is the motion field of a moving camera (Longuet-Higgins and Prazdny, "The interpretation of a moving retinal
image", Proc. R. Soc. Lond. B 208, 1980). Rotation and translation are told apart by how near things are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.resample import intrinsics, lens
from spike_depth_core.geometry.warp import warp
from spike_depth_core.inference.estimator import DepthEstimate
from spike_depth_core.networks.preprocess import to_camera
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes, spike_counts

FOCAL = 165.0  # pixels of the pictures compared: a degree is 2.9 of them
HORIZON = 1e4  # metres, for what has no depth but is far away
BLOCK = 32  # side of the blocks, pixels
STEP = 16  # from block to block
REACH = 8  # the largest displacement looked for, pixels
LEAST_CORRELATION = 0.35
LEAST_BLOCKS = 60  # before anything is said
# What a rig may be off by without a word: about or along each axis of the reference. Forward is another matter, see
# `Misalignment`: 5 ms at 20 m/s are 10 cm.
TOLERATED_DEG = (0.4, 0.4, 0.4)
TOLERATED_M = (0.025, 0.025, 0.15)
# What is warm ends elsewhere than what is bright: a car at its shadow, a wall at its foot. On streets whose truth is
# known that passes for 3 to 5 cm downwards.
TOLERATED_THERMAL_M = (0.06, 0.08, 0.3)
DOUBT = 3.0  # standard deviations
# What is believed of an error before anything is seen: it keeps what cannot be seen near zero, with a large deviation.
PRIOR_ROTATION = math.radians(5.0)
PRIOR_TRANSLATION = 0.5


@dataclass(frozen=True)
class Misalignment:
    """What the rig has wrong about a sensor, as far as can be seen, in the axes of the reference (x right, y down,
    z forward).

    Attributes:
        sensor: its name.
        rotation_deg: about each axis, degrees.
        translation_m: metres. Along z it is also what a stamp that is off looks like on a vehicle that drives.
        rotation_deviation_deg, translation_deviation_m: standard deviations of these.
        blocks: measurements that it rests on.
    """

    sensor: str
    rotation_deg: np.ndarray
    translation_m: np.ndarray
    rotation_deviation_deg: np.ndarray
    translation_deviation_m: np.ndarray
    blocks: int

    def wrong(self) -> list[str]:
        """What is wrong by more than is tolerated, beyond doubt, in words; empty when nothing is."""
        found = []
        tolerated_m = TOLERATED_THERMAL_M if self.sensor == "thermal" else TOLERATED_M
        for names, unit, values, deviations, tolerated in (
            (("pitch", "yaw", "roll"), "degrees", self.rotation_deg, self.rotation_deviation_deg, TOLERATED_DEG),
            (("right", "down", "forward"), "m", self.translation_m, self.translation_deviation_m, tolerated_m),
        ):
            for name, value, deviation, limit in zip(names, values, deviations, tolerated, strict=True):
                if abs(value) - DOUBT * deviation > limit:
                    found.append(f"{name} {value:+.2f} {unit}")
        return found


def difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Angle in degrees and distance in metres between two poses 4x4."""
    relative = np.linalg.inv(one) @ other
    cosine = (np.trace(relative[:3, :3]) - 1) / 2
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0))), float(np.linalg.norm(relative[:3, 3]))


def picture_of(image: np.ndarray | PackedSpikes) -> np.ndarray:
    """What a sensor delivers as a grey picture, float32 [H, W], any scale."""
    if isinstance(image, PackedSpikes):
        return spike_counts(image, [len(image)])[0].astype(np.float32)
    grey = image.astype(np.float32)
    return grey.mean(axis=2) if grey.ndim == 3 else grey


def structure(picture: Tensor) -> Tensor:
    """Where a picture [1, 1, H, W] has edges, whatever their sign and contrast: what pictures of different spectra have
    in common."""
    low, high = torch.quantile(picture, picture.new_tensor([0.01, 0.99]))
    picture = ((picture - low) / (high - low).clamp(min=1e-6)).clamp(0, 1).sqrt()
    picture = _blurred(picture, 1.0)
    dx = F.pad(picture[..., :, 2:] - picture[..., :, :-2], (1, 1, 0, 0))
    dy = F.pad(picture[..., 2:, :] - picture[..., :-2, :], (0, 0, 1, 1))
    edges = (dx * dx + dy * dy).sqrt()
    return edges / (_blurred(edges, 6.0) + 0.02)


def _blurred(picture: Tensor, sigma: float) -> Tensor:
    radius = math.ceil(2.5 * sigma)
    at = torch.arange(-radius, radius + 1, dtype=picture.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(picture, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.reshape(1, 1, 1, -1)), kernel.reshape(1, 1, -1, 1))


def _compared_camera(camera: PinholeCamera) -> PinholeCamera:
    """The camera of the picture that is compared: without distortion, of the common focal length."""
    scale = FOCAL / camera.fx
    plain = PinholeCamera(camera.width, camera.height, camera.fx, camera.fx, camera.cx, camera.cy)
    return plain.resized(max(round(camera.width * scale), 8), max(round(camera.height * scale), 8))


def _compared_picture(image: np.ndarray | PackedSpikes, camera: PinholeCamera, target: PinholeCamera) -> Tensor:
    distortion = lens(camera)[None] if any(camera.distortion) else None
    picture = torch.from_numpy(picture_of(image))[None, None]
    size = (target.height, target.width)
    moved = to_camera(picture, intrinsics(camera)[None], intrinsics(target)[None], size, None, distortion)
    return moved[:, :1]


@dataclass(frozen=True)
class Shifts:
    """Displacements of blocks.

    Attributes:
        shift: [N, 2] (u, v) pixels.
        information: [N, 2, 2] how well each is known: an edge says nothing of the direction along it.
        position: [N, 2] slopes (x, y) of the blocks' middles.
        inverse_depth: [N] of the blocks, 1 / m.
    """

    shift: np.ndarray
    information: np.ndarray
    position: np.ndarray
    inverse_depth: np.ndarray


def block_shifts(reference: Tensor, moved: Tensor, seen: Tensor, depth: Tensor, camera: PinholeCamera) -> Shifts:
    """Where the blocks of one structure picture are found in another.

    Args:
        reference, moved: [1, 1, H, W].
        seen: [1, H, W], where `moved` is known.
        depth: [1, H, W], metres; not finite where unknown.
        camera: of both pictures.
    """
    height, width = reference.shape[-2:]
    tops = range(REACH, height - BLOCK - REACH + 1, STEP)
    lefts = range(REACH, width - BLOCK - REACH + 1, STEP)
    corners = [(top, left) for top in tops for left in lefts]
    empty = np.zeros((0, 2))
    if not corners:
        return Shifts(empty, np.zeros((0, 2, 2)), empty, np.zeros(0))
    usable = seen & torch.isfinite(depth)
    windows = _patches(moved[0, 0], corners, REACH)
    blocks = _patches(reference[0, 0], corners, 0)
    whole = _patches(usable[0].float(), corners, 0).mean(dim=(1, 2)) > 0.9
    weights = blocks.clamp(min=1e-3) * _patches(usable[0].float(), corners, 0)
    total = weights.sum(dim=(1, 2)).clamp(min=1e-6)
    inverse = torch.where(usable, 1 / depth.clamp(min=0.1), torch.zeros_like(depth))
    inverse_depth = (_patches(inverse[0], corners, 0) * weights).sum(dim=(1, 2)) / total
    correlation = _correlations(blocks, windows)
    count, side, _ = correlation.shape
    best = correlation.reshape(count, -1).argmax(dim=1)
    row, column = best // side, best % side
    inner = (row > 0) & (row < side - 1) & (column > 0) & (column < side - 1)
    row, column = row.clamp(1, side - 2), column.clamp(1, side - 2)
    index = torch.arange(count)

    def at(dy: int, dx: int) -> Tensor:
        return correlation[index, row + dy, column + dx]

    peak = at(0, 0)
    gradient = torch.stack([at(0, 1) - at(0, -1), at(1, 0) - at(-1, 0)], dim=1) / 2
    xx, yy = at(0, 1) + at(0, -1) - 2 * peak, at(1, 0) + at(-1, 0) - 2 * peak
    xy = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    curvature = -torch.stack([torch.stack([xx, xy], 1), torch.stack([xy, yy], 1)], 1)
    peaked = (xx < 0) & (yy < 0) & (xx * yy - xy * xy > 0)
    safe = torch.where(peaked[:, None, None], curvature, torch.eye(2))
    step = torch.linalg.solve(safe, gradient[..., None])[..., 0]
    good = whole & inner & peaked & (peak > LEAST_CORRELATION) & (step.abs().amax(dim=1) <= 1.5)
    # A correlation c has the noise variance 1 - c^2 of the structure that is not shared.
    information = safe * (peak / (1 - peak * peak).clamp(min=0.05))[:, None, None]
    shift = torch.stack([column, row], dim=1) - REACH + step
    middle = torch.tensor([(left + (BLOCK - 1) / 2, top + (BLOCK - 1) / 2) for top, left in corners])
    position = (middle - torch.tensor([camera.cx, camera.cy])) / torch.tensor([camera.fx, camera.fy])
    return Shifts(*(x[good].double().numpy() for x in (shift, information, position, inverse_depth)))


def _patches(image: Tensor, corners: list[tuple[int, int]], margin: int) -> Tensor:
    side = BLOCK + 2 * margin
    return torch.stack(
        [image[top - margin : top - margin + side, left - margin : left - margin + side] for top, left in corners]
    )


def _correlations(blocks: Tensor, windows: Tensor) -> Tensor:
    """Normalised correlation [N, 2 REACH + 1, 2 REACH + 1] of blocks [N, b, b] at all places of windows."""
    count, area = len(blocks), BLOCK * BLOCK
    centred = blocks - blocks.mean(dim=(1, 2), keepdim=True)
    products = F.conv2d(windows[None], centred[:, None], groups=count)[0]
    ones = torch.ones(1, 1, BLOCK, BLOCK)
    sums = F.conv2d(windows[:, None], ones)[:, 0]
    squares = F.conv2d(windows[:, None] ** 2, ones)[:, 0]
    spread = (squares - sums * sums / area).clamp(min=1e-6).sqrt()
    return products / (spread * centred.square().sum(dim=(1, 2)).clamp(min=1e-6).sqrt()[:, None, None])


def motion_field(position: np.ndarray, inverse_depth: np.ndarray) -> np.ndarray:
    """Displacements [N, 2, 6] of the slopes (x, y) by each of (w_x, w_y, w_z, t_x, t_y, t_z); see above."""
    x, y = position[:, 0], position[:, 1]
    zero, one = np.zeros_like(x), np.ones_like(x)
    of_x = np.stack([-x * y, 1 + x * x, -y, inverse_depth, zero, -x * inverse_depth], axis=1)
    of_y = np.stack([-(1 + y * y), x * y, x, zero * one, inverse_depth, -y * inverse_depth], axis=1)
    return np.stack([of_x, of_y], axis=1)


def explain(sensor: str, shifts: list[Shifts], focal: float = FOCAL) -> Misalignment | None:
    """The one small motion that explains displacements best; None while there are too few.

    Blocks that do not fit (things that move, or that look alike) lose their weight, by Geman and McClure's function.
    """
    shift, information, position, inverse_depth = (
        np.concatenate([getattr(part, name) for part in shifts]) if shifts else np.zeros(0)
        for name in ("shift", "information", "position", "inverse_depth")
    )
    if len(shift) < LEAST_BLOCKS:
        return None
    field = motion_field(position, inverse_depth) * focal
    # All sums over blocks are products of tall matrices, two rows a block.
    rows, count = field.reshape(-1, 6), len(shift)
    informed = (information @ field).reshape(-1, 6)
    informed_shift = (information @ shift[..., None]).ravel()
    prior = np.diag([PRIOR_ROTATION**-2] * 3 + [PRIOR_TRANSLATION**-2] * 3)
    motion = np.zeros(6)
    scale = 4.0  # pixels: begins wide, so that it finds the way, and ends narrow
    for _ in range(25):
        residual = shift - (rows @ motion).reshape(count, 2)
        weight = 1 / (1 + (residual**2).sum(axis=1) / scale**2) ** 2
        weighted = rows * weight.repeat(2)[:, None]
        normal = weighted.T @ informed
        unexplained = (information @ residual[..., None])[..., 0]
        # In units of what the blocks are off by: information is only known up to a factor.
        noise = weight @ (residual * unexplained).sum(axis=1) / max(2 * weight.sum() - 6, 1)
        motion = np.linalg.solve(normal + prior * noise, weighted.T @ informed_shift)
        scale = max(scale * 0.8, 0.6)
    # Blocks overlap, and what disturbs one disturbs its neighbours: as if there were a quarter as many.
    covariance = np.linalg.inv(normal / (4 * noise) + prior)
    deviation = np.sqrt(np.diag(covariance))
    return Misalignment(
        sensor=sensor,
        rotation_deg=np.degrees(motion[:3]),
        translation_m=motion[3:],
        rotation_deviation_deg=np.degrees(deviation[:3]),
        translation_deviation_m=deviation[3:],
        blocks=len(shift),
    )


@torch.inference_mode()
def shifts_of_moment(sample: DepthSample, estimate: DepthEstimate) -> dict[str, Shifts]:
    """Displacements of the picture of each sensor against the reference's; empty where that one was not used.

    Args:
        sample: images and the rig that is believed.
        estimate: depth of the sample.
    """
    reference = estimate.reference
    if reference not in estimate.sensors:
        return {}
    target = _compared_camera(estimate.camera)
    size = (target.height, target.width)
    depth = F.interpolate(torch.from_numpy(estimate.depth)[None, None], size, mode="nearest-exact")[:, 0]
    depth = torch.where(torch.isposinf(depth), HORIZON, depth)
    fixed = structure(_compared_picture(getattr(sample, reference), sample.rig.cameras[reference], target))
    found = {}
    for sensor in estimate.sensors:
        if sensor == reference:
            continue
        camera = _compared_camera(sample.rig.cameras[sensor])
        edges = structure(_compared_picture(getattr(sample, sensor), sample.rig.cameras[sensor], camera))
        transform = torch.from_numpy(sample.rig.transform(sensor, reference)).float()[None]
        moved, seen = warp(edges, depth, intrinsics(camera)[None], intrinsics(target)[None], transform)
        found[sensor] = block_shifts(fixed, moved, seen, depth, target)
    return found


class AlignmentMonitor:
    """Gathers displacements of the sensors' pictures over many moments.

    Args:
        moments: how many are kept; older ones are forgotten, because a rig may be moved.
    """

    def __init__(self, moments: int = 60):
        self._moments = moments
        self._shifts: dict[str, deque[Shifts]] = {}

    def clear(self, present: Collection[str] = ()) -> None:
        """Forget all sensors but these: everything after the rig has been changed, else what is not there any more."""
        for sensor in self._shifts.keys() - set(present):
            del self._shifts[sensor]

    def add(self, sample: DepthSample, estimate: DepthEstimate) -> None:
        """Take in a moment, see `shifts_of_moment`."""
        for sensor, shifts in shifts_of_moment(sample, estimate).items():
            self._shifts.setdefault(sensor, deque(maxlen=self._moments)).append(shifts)

    def report(self) -> Mapping[str, Misalignment]:
        """What is found so far, of the sensors of which enough has been seen."""
        found = {sensor: explain(sensor, list(shifts)) for sensor, shifts in self._shifts.items()}
        return {sensor: misalignment for sensor, misalignment in found.items() if misalignment is not None}
