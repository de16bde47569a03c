"""Supervised learning from true depth, with any set of sensors: the first recipe, and the bound for the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from spike_depth_core.losses.depth import at_least, laplace_beyond_nll, laplace_nll, log_l1, multiscale_gradient
from spike_depth_core.networks.preprocess import NetworkInput, depth_in_camera, prepare
from spike_depth_core.recipes.recipe import Request, Step
from spike_depth_core.recipes.views import AugmentedRecipe, mirrored
from spike_depth_core.samples.batch import SampleBatch

PREFERRED = {"spikes": 0.4, "rgb": 0.4, "nir": 0.08, "thermal": 0.12}
"""How often each sensor is the one in whose frame depth is learned, of networks for all of them."""
SKY_MARGIN = 0.2
"""By how much the log-depth of the sky is to lie beyond the range: at the very bound no scale would tell that it is."""


@dataclass
class TaughtByDepth(AugmentedRecipe):
    """What recipes have in common that learn from true depth: L1 on log-depth, edges, sky, and a Laplace likelihood
    that teaches the uncertainty alone.

    Attributes:
        edge_weight, sky_weight, uncertainty_weight: of the terms beside the L1.
    """

    edge_weight: float = 0.5
    sky_weight: float = 0.2
    uncertainty_weight: float = 0.1

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        inputs, _, truth = self.view(batches[0], requests[0], step.generator)
        prediction = modules["student"](inputs)
        return self.depth_loss(prediction.log_depth, prediction.log_scale, truth)

    def view(
        self, batch: SampleBatch, request: Request, generator: torch.Generator
    ) -> tuple[NetworkInput, NetworkInput, Tensor]:
        """A batch through one random camera, mirrored or not: with its looks changed, and as it is for who is not
        trained on it; and its true depth [B, H, W], NaN where the request asks for none."""
        reference = request.reference
        camera, size = self.random_camera(batch, reference, generator)
        clean = prepare(batch, reference, request.sensors, camera, size)
        if request.depth:
            truth = depth_in_camera(batch, reference, camera, size)
        else:
            truth = torch.full((len(batch), *size), torch.nan, device=camera.device)
        clean, truth = mirrored(clean, truth, generator)
        changed = replace(clean, images=dict(clean.images))
        self.augment(changed, generator)
        return changed, clean, truth

    def depth_loss(self, log_depth: Tensor, log_scale: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a prediction [B, H, W] against true metres (+inf sky, NaN unknown)."""
        near, far = self.depth_range
        mask = torch.isfinite(truth) & (truth >= near) & (truth <= far)
        beyond = (truth > far) & ~torch.isnan(truth)
        log_truth = torch.where(mask, truth, torch.ones_like(truth)).log()
        parts = {
            "l1": log_l1(log_depth, log_truth, mask),
            "edges": multiscale_gradient(log_depth, log_truth, mask),
            "sky": at_least(log_depth, math.log(far) + SKY_MARGIN, beyond),
            "uncertainty": laplace_nll(log_scale, (log_depth - log_truth).detach(), mask)
            + laplace_beyond_nll(log_scale, (log_depth - math.log(far)).detach(), beyond),
        }
        total = (
            parts["l1"]
            + self.edge_weight * parts["edges"]
            + self.sky_weight * parts["sky"]
            + self.uncertainty_weight * parts["uncertainty"]
        )
        return total, parts


@dataclass
class Supervised(TaughtByDepth):
    """Any set of sensors, one a step.

    Attributes:
        single: share of steps with one sensor alone; the rest draw a set that holds the reference.
        prefer: how often each sensor is the reference, before normalising over those there are.
    """

    single: float = 0.5
    prefer: dict[str, float] = field(default_factory=lambda: dict(PREFERRED))
    name: ClassVar[str] = "supervised"

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        reference, sensors = self.sensors(step, available["source"])
        return (Request(reference, sensors, (reference,)),)

    def sensors(self, step: int, available: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """(reference, sensors) that step number `step` uses."""
        rng = np.random.default_rng([self.seed, step, 1])
        known = [s for s in self.architecture.sensors if s in available]
        reference = drawn(known, self.prefer, rng)
        if rng.random() < self.single:
            return reference, (reference,)
        others = [s for s in known if s != reference]
        keep_all = rng.random() < 0.2
        chosen = {reference, *(s for s in others if keep_all or rng.random() < 0.5)}
        return reference, tuple(s for s in known if s in chosen)


def drawn(sensors: Sequence[str], prefer: Mapping[str, float], rng: np.random.Generator) -> str:
    """One of the sensors, as often as each is preferred among them."""
    weights = np.array([prefer[s] for s in sensors])
    return str(rng.choice(sensors, p=weights / weights.sum()))
