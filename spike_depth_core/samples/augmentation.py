"""Changes of a picture's looks that leave its geometry alone, on batches, on any device.

Each takes a generator on the images' device, so that a training step is a function of its number alone. Geometry
(zoom, crop, mirror) is changed by the choice of the network camera, see `recipes`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def uniform(low: float, high: float, like: Tensor, generator: Generator) -> Tensor:
    """One number a sample, [B, 1, 1, 1]."""
    draw = torch.rand((len(like), 1, 1, 1), device=like.device, generator=generator)
    return low + (high - low) * draw


def with_probability(probability: float, changed: Tensor, kept: Tensor, generator: Generator) -> Tensor:
    """For each sample of the batch, the changed or the kept image."""
    draw = torch.rand((len(kept), 1, 1, 1), device=kept.device, generator=generator)
    return torch.where(draw < probability, changed, kept)


def soften(image: Tensor, factor: float) -> Tensor:
    """Lower the resolution by a factor and bring the size back: defocus, rain on the lens, cheap optics."""
    height, width = image.shape[-2:]
    small = F.interpolate(image, (round(height / factor), round(width / factor)), mode="area")
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def change_detail(image: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Raise or lower what is fine in images [B, C, H, W] against what is coarse, at two scales.

    A real frame is scaled down from many pixels and as crisp as the network's picture can hold, its surfaces are full
    of small things, and many cameras sharpen it. A street that is rendered small is soft and smooth beside it:
    neither says how far anything is. Three in four images are changed, more of them raised than lowered.
    """
    changed = image
    for factor, lower, upper in ((12, -0.6, 1.4), (3, -0.8, 1.8)):
        coarse = soften(changed, factor)
        gain = torch.exp(strength * uniform(lower, upper, image, generator))
        changed = coarse + gain * (changed - coarse)
    return with_probability(0.75, changed, image, generator)


def turn_hues(rgb: Tensor, angle: Tensor) -> Tensor:
    """Turn every colour of RGB images [B, 3, H, W] about the grey axis by angles [B, 1, 1, 1] in radians.

    Rodrigues' rotation about (1, 1, 1): the mean of the channels and what is grey stay as they are; 2 pi / 3 permutes
    the channels.
    """
    cosine, sine = torch.cos(angle), torch.sin(angle)
    mean = rgb.mean(1, keepdim=True)
    across = torch.stack([rgb[:, 2] - rgb[:, 1], rgb[:, 0] - rgb[:, 2], rgb[:, 1] - rgb[:, 0]], dim=1) / math.sqrt(3)
    return cosine * rgb + sine * across + (1 - cosine) * mean


def repaint(rgb: Tensor, generator: Generator, patches: int = 3) -> Tensor:
    """Paint rectangles of RGB images [B, 3, H, W] in other hues, lighter or darker, some of them tiled.

    A wall may have any colour and any pattern: neither says how far it is. Tiles are of 1, 2 or 4 pixels, in each of
    them the brightness is another.
    """
    count, _, height, width = rgb.shape
    rows = torch.linspace(0, 1, height, device=rgb.device).reshape(1, 1, -1, 1)
    columns = torch.linspace(0, 1, width, device=rgb.device).reshape(1, 1, 1, -1)
    for _ in range(patches):
        y, x = (uniform(0.0, 1.0, rgb, generator) for _ in range(2))
        half_height, half_width = (uniform(0.03, 0.35, rgb, generator) for _ in range(2))
        inside = ((rows - y).abs() < half_height) & ((columns - x).abs() < half_width)
        side = 2 ** int(torch.randint(3, (1,), device=rgb.device, generator=generator))
        shape = (count, 1, math.ceil(height / side), math.ceil(width / side))
        tiles = torch.rand(shape, device=rgb.device, generator=generator) - 0.5
        tiles = tiles.repeat_interleave(side, 2).repeat_interleave(side, 3)[..., :height, :width]
        contrast = uniform(-0.7, 0.7, rgb, generator).clamp(min=0)  # half of them are plain
        painted = turn_hues(rgb, uniform(-math.pi, math.pi, rgb, generator))
        painted = painted * torch.exp(uniform(-0.6, 0.6, rgb, generator)) * (1 + contrast * tiles)
        rgb = torch.where(inside, painted.clamp(0, 1), rgb)
    return rgb


def jitter_rgb(
    rgb: Tensor, generator: Generator, strength: float = 1.0, patches: int = 3, detail: float = 0.0
) -> Tensor:
    """Exposure, contrast, gamma, hue, colour cast, saturation, softness and noise of an RGB image in [0, 1],
    [B, 3, H, W]; with `detail` its detail too (`change_detail`, of that strength), and stronger colours.

    A network that has seen only synthetic streets must not lean on any one camera's look; but the stronger the
    change, the more steps it takes to learn anything at all. Nor must it take what is blue for the sky, or a fine
    pattern for something far: some images have their hues turned by any angle, some have `patches` painted anew.
    """

    def factor(limit: float) -> Tensor:
        return torch.exp(strength * uniform(-limit, limit, rgb, generator))

    weights = torch.tensor([0.299, 0.587, 0.114], device=rgb.device).reshape(1, 3, 1, 1)
    image = with_probability(strength, repaint(rgb, generator, patches), rgb, generator)
    image = with_probability(0.2 * strength, soften(image, 1.7), image, generator)
    image = image.clamp(0, 1) ** factor(0.5)
    cast = torch.exp(strength * 0.12 * torch.randn((len(rgb), 3, 1, 1), device=rgb.device, generator=generator))
    image = image * cast * factor(0.4)
    mean = (image * weights).sum(1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    image = mean + (image - mean) * factor(0.45)
    if detail > 0:
        image = change_detail(image, generator, detail)
    angle = uniform(-math.pi, math.pi, rgb, generator)
    image = with_probability(0.75 * strength, turn_hues(image, angle), image, generator)
    grey = (image * weights).sum(1, keepdim=True)
    image = grey + (image - grey) * (1 + strength * uniform(-1.0, 0.5 + 3.0 * detail, rgb, generator))
    image = with_probability(0.1 * strength, grey.expand_as(image), image, generator)
    noise = torch.randn(image.shape, device=rgb.device, generator=generator)
    return (image + noise * strength * uniform(0.0, 0.04, rgb, generator)).clamp(0, 1)


def jitter_counts(image: Tensor, generator: Generator, strength: float = 1.0, detail: float = 0.0) -> Tensor:
    """Gain, offset, softness and noise of an image of order one, [B, C, H, W]: standardised thermal, near infrared,
    spike rates; with `detail` its detail too (`change_detail`, of that strength)."""
    if detail > 0:
        image = change_detail(image, generator, detail)
    image = with_probability(0.15 * strength, soften(image, 1.7), image, generator)
    image = image * torch.exp(strength * uniform(-0.22, 0.22, image, generator))
    image = image + strength * uniform(-0.2, 0.2, image, generator)
    noise = torch.randn(image.shape, device=image.device, generator=generator)
    return image + noise * strength * uniform(0.0, 0.08, image, generator)
