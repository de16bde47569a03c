"""Accuracy on validation samples during training: the figure that a run is judged by while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from spike_depth_core.inference.point_estimate import least_relative_error
from spike_depth_core.networks.depth_network import DepthNetwork, Prediction
from spike_depth_core.networks.preprocess import depth_in_camera, network_camera, prepare
from spike_depth_core.samples.batch import SampleBatch, collate
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.samples.shards import ShardMember


def median(prediction: Prediction) -> torch.Tensor:
    """Of the distribution of depth that a network predicts: what its loss is about."""
    return prediction.depth


def served(prediction: Prediction) -> torch.Tensor:
    """Depth as `DepthEstimator` gives it, of a network whose uncertainty was learned."""
    return least_relative_error(prediction.log_depth, prediction.log_scale).exp()


def answer_of(calibrated: bool) -> Callable[[Prediction], torch.Tensor]:
    """What is asked of a network: what would be served, which of one whose uncertainty is not learned is the median."""
    return served if calibrated else median


class Validation:
    """Fixed samples, read once and kept, scored for several sets of sensors.

    Args:
        samples: of one format: their folder, or where each is.
        subsets: sets of images to score, each in the frame of its first; right-hand ones for stereo networks.
        limit: at most this many samples, evenly spaced.
        batch_size: samples a forward pass.
    """

    def __init__(
        self,
        samples: str | Path | Sequence[Path | ShardMember],
        subsets: Sequence[tuple[str, ...]],
        limit: int = 64,
        batch_size: int = 8,
    ):
        paths = list_samples(samples) if isinstance(samples, str | Path) else samples
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int)]
        loaded = [load_sample(path) for path in paths]
        self.batches = [collate(loaded[i : i + batch_size]) for i in range(0, len(loaded), batch_size)]
        available = set(loaded[0].images)
        self.subsets = [subset for subset in subsets if set(subset) <= available]

    def score(
        self, network: DepthNetwork, device: torch.device, answer: Callable[[Prediction], torch.Tensor] = median
    ) -> dict[str, float]:
        """AbsRel by set of sensors, named `spikes+rgb` and so on; sets that the network cannot use, or of which no
        sample has a truth in range, are left out."""
        scores = {
            "+".join(subset): mean_abs_rel(network, self.batches, subset[0], subset, device, answer=answer)
            for subset in self.subsets
            if network.architecture.usable(subset) == subset
        }
        return {name: score for name, score in scores.items() if not math.isnan(score)}


@torch.inference_mode()
def mean_abs_rel(
    network: DepthNetwork,
    batches: Sequence[SampleBatch],
    reference: str,
    sensors: tuple[str, ...],
    device: torch.device,
    near: float = 1.0,
    far: float = 80.0,
    answer: Callable[[Prediction], torch.Tensor] = median,
) -> float:
    """Mean over frames of |d - d*| / d* over true depths d* in [near, far] metres, at the network's resolution.

    `answer` says which depth [B, H, W] of what was predicted is d. Frames without such a truth do not count; NaN where
    none has one.
    """
    scores = []
    for batch in batches:
        batch = batch.to(device)
        pixels = network.architecture.pixels
        camera, size = network_camera(batch.cameras[reference], *batch.sizes[reference], pixels)
        prediction = network(prepare(batch, reference, sensors, camera, size))
        truth = depth_in_camera(batch, reference, camera, size)
        mask = torch.isfinite(truth) & (truth >= near) & (truth <= far)
        error = torch.where(mask, (answer(prediction).clamp(near, far) - truth).abs() / truth, 0.0)
        scores.append(error.flatten(1).sum(1) / mask.flatten(1).sum(1))  # NaN where there is none
    return float(torch.cat(scores).nanmean())
