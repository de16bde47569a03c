"""What parallax says of a depth map: other moments of the drive, by the known motion of the vehicle, correct it.

Depth told from one moment is a guess at how far things of such a look usually are; how pictures change as the vehicle
drives on is a measurement. So depths around what is told are tried (the plane sweep of Collins, CVPR 1996; about the
depth of a single view, as wide as it is uncertain, as in MaGNet, Bae et al., CVPR 2022), and each is asked how well it
explains what the same sensors saw a few decimetres to metres away. For the offset x of log-depth at a pixel

    log p(x) = -|x| / b - w E(x),

where b is the scale of the Laplace distribution that was told, and E the mean over sensors and other moments of the
error (1 - ZNCC) / 2 of windows of 5x5 pixels (zero-mean normalised cross-correlation: brightness and contrast do not
count), less its mean over all x, averaged over `support`: what the depth map has wrong, it has wrong over whole
surfaces. A moment that fits clearly better without any motion says nothing of a pixel, as in Monodepth2 (Godard et al.,
ICCV 2019, section 3.3): of a car that keeps pace, of dirt on the lens; and none says anything where all depths fit
alike: of a blank sky, of a road that is one grey. And what nearly keeps pace, as a bus
does that overtakes, has the parallax of something far: where that would be farther than all that is tried, it is not
believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from spike_depth_core.geometry.precision import full_precision
from spike_depth_core.geometry.resample import average_pool, box_mean, inside, sample_at
from spike_depth_core.geometry.warp import back_project, project, transform
from spike_depth_core.networks.depth_network import Prediction
from spike_depth_core.networks.preprocess import NetworkInput
from spike_depth_core.samples import modality

_ALIKE = 1e-3  # difference of errors up to which depths explain a pixel alike
_FLAT = 1e-3  # variance, of pictures of order one, below which a window has nothing to compare


@dataclass(frozen=True)
class MotionStereoOptions:
    """How depth is corrected.

    Attributes:
        reach: largest change of log-depth that is tried, to either side.
        hypotheses: that are tried, an odd number: the middle one is what was told.
        weight: w of the formula.
        shrink: by how much pictures are scaled down before they are compared.
        window: pixels to each side, of pictures scaled so, that are correlated; 2 for the 5x5 of the formula.
        support: pixels to each side, likewise, over which evidence is averaged.
        beyond: probability of the farthest depth that is tried, from which on nothing is said there.
        unmoved: a moment speaks of a pixel where its error unmoved is more than 1 / `unmoved` of its least error.
        sensors: that are compared at most, the first of those there are.
    """

    reach: float = 0.6
    hypotheses: int = 9
    weight: float = 50.0
    shrink: int = 1
    window: int = 2
    support: int = 4
    beyond: float = 0.1
    unmoved: float = 1.25
    sensors: int = 4


LIVE = MotionStereoOptions(shrink=2, window=1, support=2, sensors=2)
"""For depth as it is published: half of the gain and more in a seventh of the time: `docs/results/motion_stereo.md`."""


@dataclass(frozen=True)
class OtherMoment:
    """A moment near the one whose depth is asked for.

    Attributes:
        inputs: with the network camera of the same sensor.
        other_from_asked: how the network camera has moved, [1, 4, 4], metres.
    """

    inputs: NetworkInput
    other_from_asked: Tensor


@dataclass(frozen=True)
class Evidence:
    """What other moments say of each depth that was tried.

    Attributes:
        told: log-depth that the offsets are from, [1, H, W].
        offsets: of log-depth, evenly spaced, [K, 1, 1].
        error: E of the formula, [K, H, W].
        said: where it says something, bool [1, H, W].
    """

    told: Tensor
    offsets: Tensor
    error: Tensor
    said: Tensor

    def regret(self, log_depth: Tensor) -> Tensor:
        """By how much E at a log-depth [1, H, W] is above its least, [1, H, W], linearly between what was tried.

        Whoever told the depth that was corrected has no advantage here, as it has where it is compared with the
        correction, which keeps something of its errors.
        """
        last = len(self.offsets) - 1
        step = (self.offsets[-1] - self.offsets[0]) / last
        finite = torch.isfinite(log_depth)
        place = ((log_depth - self.told - self.offsets[0]) / step).nan_to_num(0.0).clamp(0, last)
        below = place.floor().long().clamp(max=last - 1)
        low, high = (self.error.gather(0, index) for index in (below, below + 1))
        above = low + (place - below) * (high - low) - self.error.amin(dim=0, keepdim=True)
        return torch.where(finite, above, torch.nan)


@torch.no_grad()
@full_precision
def corrected(
    told: Prediction, inputs: NetworkInput, others: Sequence[OtherMoment], options: MotionStereoOptions | None = None
) -> tuple[Prediction, Evidence]:
    """Depth with what other moments say of it.

    Args:
        told: log-depth and the log of its Laplace scale, [1, H, W], by a network that saw `inputs`.
        inputs: of the moment, one. Its sensors are compared, as far as the other moments have them.
        others: from other places, with the same network camera.
        options: see there.

    Returns:
        The mean over p(x), and a scale less by as much as p's mean absolute deviation is less than without evidence;
        both as told where nothing is said. And what was said.
    """
    options = options or MotionStereoOptions()
    offsets = torch.linspace(-options.reach, options.reach, options.hypotheses, device=told.log_depth.device)
    offsets = offsets[:, None, None]
    shrink = options.shrink
    focal, centre = inputs.camera[:, :2], inputs.camera[:, 2:]
    camera = torch.cat([focal / shrink, (centre + 0.5) / shrink - 0.5], dim=1)  # of all: pictures are alike
    # Depth at so many offsets, [K, h, w, 3].
    points = back_project((average_pool(told.log_depth, shrink) + offsets).exp(), camera)
    evidence, count = torch.zeros_like(points[..., 2]), 0
    said = torch.zeros_like(evidence[:1], dtype=torch.bool)
    for sensor, image in list(inputs.images.items())[: options.sensors]:
        shared = [other for other in others if sensor in other.inputs.images]
        picture = _picture(sensor, image, shrink)
        # At the network camera's own centre a pixel is where it is, whatever its depth.
        beside = shared and bool(inputs.centres[sensor].any())
        own = _looked_up(picture, camera, points - inputs.centres[sensor]) if beside else picture
        for other in shared:
            theirs = _picture(sensor, other.inputs.images[sensor], shrink)
            moved = transform(points, other.other_from_asked.to(points).expand(len(points), -1, -1))
            found = _looked_up(theirs, camera, moved - other.inputs.centres[sensor])
            error = _error(own, found, options.window)
            least = error.amin(dim=0)
            speaks = torch.isfinite(error) & (_error(picture, theirs, options.window) * options.unmoved > least)
            speaks &= torch.where(speaks, error, -torch.inf).amax(dim=0) - least > _ALIKE
            mean = torch.where(speaks, error, 0.0).sum(dim=0) / speaks.sum(dim=0).clamp(min=1)
            evidence += torch.where(speaks, error - mean, 0.0)
            said |= speaks.any(dim=0)
            count += 1
    if not count:
        nothing = torch.zeros_like(told.log_depth)
        return told, Evidence(told.log_depth, offsets, nothing.expand(len(offsets), -1, -1), nothing > 0)
    evidence = _local_mean(evidence / count, options.support)
    said = _local_mean(said.to(evidence.dtype), options.support)
    evidence, said = (_enlarged(maps, told.log_depth.shape[1:]) for maps in (evidence, said))
    said = said > 1e-6
    prior = -offsets.abs() / told.log_scale.exp()
    p = torch.softmax(prior - options.weight * evidence, dim=0)
    beyond = F.max_pool2d((p[-1:] > options.beyond).float(), 5, 1, 2) > 0  # and what lies beside it
    said &= ~beyond
    mean, spread = _mean_and_deviation(p, offsets)
    _, before = _mean_and_deviation(torch.softmax(prior, dim=0), offsets)
    log_depth = torch.where(said, told.log_depth + mean, told.log_depth)
    log_scale = torch.where(said, told.log_scale + torch.log(spread / before).clamp(max=0.0), told.log_scale)
    return replace(told, log_depth=log_depth, log_scale=log_scale), Evidence(told.log_depth, offsets, evidence, said)


def _enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps [K, h, w] at the size (H, W)."""
    if maps.shape[1:] == torch.Size(size):
        return maps
    return F.interpolate(maps[None], tuple(size), mode="bilinear", align_corners=False)[0]


def _picture(sensor: str, image: Tensor, shrink: int) -> Tensor:
    """What is compared of an image [1, C + 1, H, W]: the mean of colours, of spikes the rate over the whole window; and
    its mask, [1, 2, h, w]."""
    grey = image[:, :-1].mean(dim=1, keepdim=True) if modality(sensor) == "rgb" else image[:, :1]
    return average_pool(torch.cat([grey, image[:, -1:]], dim=1), shrink)


def _looked_up(picture: Tensor, camera: Tensor, points: Tensor) -> Tensor:
    """A sensor's picture at points [K, h, w, 3] from its own place, [K, 2, h, w]; nothing is seen of points behind the
    camera or beyond its picture."""
    pixels, z = project(points, camera)
    found = sample_at(picture.expand(len(points), -1, -1, -1), pixels)
    seen = (z > 1e-3) & inside(pixels, (picture.shape[2], picture.shape[3]))
    return torch.stack([found[:, 0], found[:, 1] * seen], dim=1)


def _error(a: Tensor, b: Tensor, window: int) -> Tensor:
    """(1 - ZNCC) / 2 [K, H, W] of pictures [K or 1, 2, H, W]; +inf where one of them sees nothing."""
    seen = (a[:, 1] > 0.99) & (b[:, 1] > 0.99)
    a, b = a[:, 0], b[:, 0]
    mean_a, mean_b = _local_mean(a, window), _local_mean(b, window)
    variance_a = (_local_mean(a * a, window) - mean_a * mean_a).clamp(min=0) + _FLAT
    variance_b = (_local_mean(b * b, window) - mean_b * mean_b).clamp(min=0) + _FLAT
    covariance = _local_mean(a * b, window) - mean_a * mean_b
    return torch.where(seen, (1 - covariance * torch.rsqrt(variance_a * variance_b)) / 2, torch.inf)


def _local_mean(x: Tensor, reach: int) -> Tensor:
    """Means of [K, H, W] over so many pixels to each side, the border's repeated."""
    padded = F.pad(x[:, None], (reach, reach, reach, reach), mode="replicate")[:, 0]
    return box_mean(padded, 2 * reach + 1)


def _mean_and_deviation(p: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and mean absolute deviation [1, H, W] over offsets [K, 1, 1] of probabilities [K, H, W]."""
    mean = (p * offsets).sum(dim=0, keepdim=True)
    return mean, (p * (offsets - mean).abs()).sum(dim=0, keepdim=True)
