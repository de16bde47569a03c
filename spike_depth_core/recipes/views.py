"""How a recipe looks at a sample: a random zoom and shift, mirrored or not, with the looks of its images changed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.networks.preprocess import RGB_MEAN, RGB_STD, STRIDE, NetworkInput, network_camera
from spike_depth_core.recipes.recipe import Recipe
from spike_depth_core.samples import RIGHT, modality
from spike_depth_core.samples.augmentation import jitter_counts, jitter_rgb
from spike_depth_core.samples.batch import SampleBatch


@dataclass
class AugmentedRecipe(Recipe):
    """A recipe whose network sees its samples through random cameras, with their looks changed.

    Attributes:
        architecture: of the network.
        depth_range: metres of truth that count; nearer or farther pixels are left out, sky is only kept far.
        zoom: range of random scaling of the network camera; 1 keeps the image's own scale.
        crop: sides of the training canvas as a share of the network's, rounded to whole strides: less work a sample,
            and less of the picture to reason from.
        jitter: how strongly the looks of the images are changed, see `samples.augmentation`.
        detail: how strongly the fine detail of all but thermal images is, so that what was rendered small and smooth
            teaches for real cameras too; 0: not at all.
    """

    architecture: Architecture = field(default_factory=Architecture)
    depth_range: tuple[float, float] = (0.5, 100.0)
    zoom: tuple[float, float] = (0.9, 1.15)
    crop: float = 1.0
    jitter: float = 0.5
    detail: float = 0.0
    seed: int = 0

    def random_camera(
        self, batch: SampleBatch, reference: str, generator: torch.Generator
    ) -> tuple[Tensor, tuple[int, int]]:
        """A zoom and a shift of the network camera for each sample: new focal lengths and principal points, at no cost.

        Depth along the optical axis does not change with either; only the intrinsics the network is told do.
        """
        pixels = self.architecture.pixels
        camera, full = network_camera(batch.cameras[reference], *batch.sizes[reference], pixels)
        height, width = (max(1, round(self.crop * side / STRIDE)) * STRIDE for side in full)
        draw = torch.rand((len(batch), 3), generator=generator, device=camera.device)
        low, high = (math.log(z) for z in self.zoom)
        scale = torch.exp(low + (high - low) * draw[:, :1])
        zoomed = torch.cat([camera[:, :2] * scale, (camera[:, 2:] + 0.5) * scale - 0.5], dim=1)
        # When the zoomed image is larger than the canvas the window moves over it; when smaller, within the canvas.
        slack = torch.tensor([full[1], full[0]], device=camera.device) * scale
        slack = slack - torch.tensor([width, height], device=camera.device)
        zoomed[:, 2:] -= slack * draw[:, 1:]
        return zoomed, (height, width)

    def augment(self, inputs: NetworkInput, generator: torch.Generator) -> None:
        """Change the looks of every sensor in place; the field-of-view mask stays, and blanks what it hides.

        Cameras of a stereo pair are exposed alike: their looks change alike, noise apart.
        """
        for names in paired(inputs.images):
            image = torch.cat([inputs.images[name] for name in names], dim=2)  # a pair is one tall picture
            picture, seen = image[:, :-1], image[:, -1:]
            if modality(names[0]) == "rgb":
                # A patch would be painted in one eye alone, or in both as if it were infinitely far.
                patches = 3 if len(names) == 1 else 0
                picture = jitter_rgb(picture * RGB_STD + RGB_MEAN, generator, self.jitter, patches, self.detail)
                picture = (picture - RGB_MEAN) / RGB_STD
            else:
                # A thermal picture is soft in itself, and what is fine in it is as it is rendered.
                detail = 0.0 if modality(names[0]) == "thermal" else self.detail
                picture = jitter_counts(picture, generator, self.jitter, detail)
            changed = torch.cat([picture * seen, seen], dim=1)
            inputs.images |= dict(zip(names, changed.chunk(len(names), dim=2), strict=True))


def paired(images: Iterable[str]) -> list[tuple[str, ...]]:
    """Names of images, each right-hand one together with its left one where that is there."""
    names = list(images)
    right = {RIGHT[name] for name in names if RIGHT.get(name) in names}
    return [(name, RIGHT[name]) if RIGHT.get(name) in right else (name,) for name in names if name not in right]


def mirrored(inputs: NetworkInput, truth: Tensor, generator: torch.Generator) -> tuple[NetworkInput, Tensor]:
    """Mirror half of the samples left to right: every sensor, the truth, and the camera's principal point."""
    flip = torch.rand(len(truth), generator=generator, device=truth.device) < 0.5
    return mirrored_input(inputs, flip), mirrored_map(truth, flip)


def mirrored_map(x: Tensor, flip: Tensor) -> Tensor:
    """[B, ..., W] with the chosen (bool [B]) samples mirrored left to right."""
    return torch.where(flip.reshape(-1, *(1,) * (x.dim() - 1)), x.flip(-1), x)


def mirrored_input(inputs: NetworkInput, flip: Tensor) -> NetworkInput:
    """The chosen (bool [B]) samples mirrored: every sensor and its place, and the camera's principal point."""
    images = {s: mirrored_map(x, flip) for s, x in inputs.images.items()}
    camera = inputs.camera.clone()
    width = next(iter(images.values())).shape[-1]
    camera[:, 2] = torch.where(flip, width - 1 - camera[:, 2], camera[:, 2])
    side = torch.ones((len(flip), 3), device=flip.device)
    side[flip, 0] = -1.0
    centres = {s: side * centre for s, centre in inputs.centres.items()}
    return replace(inputs, images=images, camera=camera, centres=centres)


def mirrored_motion(transform: Tensor, flip: Tensor) -> Tensor:
    """Rigid transforms [B, 4, 4] between two cameras as their mirrored pictures (bool [B]) show them: x has its sign
    changed on both sides."""
    sign = torch.ones((len(flip), 4), device=transform.device, dtype=transform.dtype)
    sign[:, 0] = torch.where(flip, -sign[:, 0], sign[:, 0])
    return sign[:, :, None] * transform * sign[:, None, :]
