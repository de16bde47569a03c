"""Supervised learning from true depth, with any set of sensors: the first recipe, and the bound for the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from spike_depth_core.losses.depth import at_least, laplace_nll, log_l1, multiscale_gradient
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.networks.preprocess import (
    RGB_MEAN,
    RGB_STD,
    STRIDE,
    NetworkInput,
    depth_in_camera,
    network_camera,
    prepare,
)
from spike_depth_core.recipes.recipe import Recipe, Request, Step
from spike_depth_core.samples.augmentation import jitter_counts, jitter_rgb
from spike_depth_core.samples.batch import SampleBatch


@dataclass
class Supervised(Recipe):
    """L1 on log-depth, edges, sky, and a Laplace likelihood that teaches the uncertainty alone.

    Attributes:
        architecture: of the network.
        depth_range: metres of truth that count; nearer or farther pixels are left out, sky is only kept far.
        single: share of steps with one sensor alone; the rest draw a set that holds the reference.
        prefer: how often each sensor is the reference, before normalising over those there are.
        edge_weight, sky_weight, uncertainty_weight: of the terms beside the L1.
        zoom: range of random scaling of the network camera; 1 keeps the image's own scale.
        crop: sides of the training canvas as a share of the network's, rounded to whole strides: less work a sample,
            and less of the picture to reason from.
        jitter: how strongly the looks of the images are changed, see `samples.augmentation`.
    """

    architecture: Architecture = field(default_factory=Architecture)
    depth_range: tuple[float, float] = (0.5, 100.0)
    single: float = 0.5
    prefer: dict[str, float] = field(default_factory=lambda: {"spikes": 0.4, "rgb": 0.4, "nir": 0.08, "thermal": 0.12})
    edge_weight: float = 0.5
    sky_weight: float = 0.2
    uncertainty_weight: float = 0.1
    zoom: tuple[float, float] = (0.9, 1.15)
    crop: float = 1.0
    jitter: float = 0.4
    seed: int = 0
    name: ClassVar[str] = "supervised"

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        reference, sensors = self.sensors(step, available["source"])
        return (Request(reference, sensors, (reference,)),)

    def sensors(self, step: int, available: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """(reference, sensors) that step number `step` uses."""
        rng = np.random.default_rng([self.seed, step, 1])
        known = [s for s in self.architecture.sensors if s in available]
        weights = np.array([self.prefer[s] for s in known])
        reference = str(rng.choice(known, p=weights / weights.sum()))
        if rng.random() < self.single:
            return reference, (reference,)
        others = [s for s in known if s != reference]
        keep_all = rng.random() < 0.2
        chosen = {reference, *(s for s in others if keep_all or rng.random() < 0.5)}
        return reference, tuple(s for s in known if s in chosen)

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (batch,), (request,), generator = batches, requests, step.generator
        reference = request.reference
        camera, size = self.random_camera(batch, reference, generator)
        inputs = prepare(batch, reference, request.sensors, camera, size)
        self.augment(inputs, generator)
        truth = depth_in_camera(batch, reference, camera, size)
        inputs, truth = mirrored(inputs, truth, generator)
        prediction = modules["student"](inputs)
        return self.depth_loss(prediction.log_depth, prediction.log_scale, truth)

    def depth_loss(self, log_depth: Tensor, log_scale: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a prediction [B, H, W] against true metres (+inf sky, NaN unknown)."""
        near, far = self.depth_range
        mask = torch.isfinite(truth) & (truth >= near) & (truth <= far)
        beyond = (truth > far) & ~torch.isnan(truth)
        log_truth = torch.where(mask, truth, torch.ones_like(truth)).log()
        parts = {
            "l1": log_l1(log_depth, log_truth, mask),
            "edges": multiscale_gradient(log_depth, log_truth, mask),
            "sky": at_least(log_depth, math.log(far), beyond),
            "uncertainty": laplace_nll(log_scale, (log_depth - log_truth).detach(), mask),
        }
        total = (
            parts["l1"]
            + self.edge_weight * parts["edges"]
            + self.sky_weight * parts["sky"]
            + self.uncertainty_weight * parts["uncertainty"]
        )
        return total, parts

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
        """Change the looks of every sensor in place; the field-of-view mask stays, and blanks what it hides."""
        for sensor, image in inputs.images.items():
            picture, seen = image[:, :-1], image[:, -1:]
            if sensor == "rgb":
                picture = jitter_rgb(picture * RGB_STD + RGB_MEAN, generator, self.jitter)
                picture = (picture - RGB_MEAN) / RGB_STD
            else:
                picture = jitter_counts(picture, generator, self.jitter)
            inputs.images[sensor] = torch.cat([picture * seen, seen], dim=1)


def mirrored(inputs: NetworkInput, truth: Tensor, generator: torch.Generator) -> tuple[NetworkInput, Tensor]:
    """Mirror half of the samples left to right: every sensor, the truth, and the camera's principal point."""
    flip = torch.rand(len(truth), generator=generator, device=truth.device) < 0.5

    def apply(x: Tensor) -> Tensor:
        return torch.where(flip.reshape(-1, *(1,) * (x.dim() - 1)), x.flip(-1), x)

    camera = inputs.camera.clone()
    camera[:, 2] = torch.where(flip, truth.shape[-1] - 1 - camera[:, 2], camera[:, 2])
    return NetworkInput({s: apply(x) for s, x in inputs.images.items()}, camera, inputs.height), apply(truth)
