"""Between a network and what further training has made of it.

Training on more kinds of pictures gains there and loses a little where it was good before. On the straight line between
the weights before and after, much of the gain is there with little of the loss: WiSE-FT (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from spike_depth_core.networks.depth_network import DepthNetwork
from spike_depth_core.networks.stereo import build_network
from spike_depth_core.training.validation import Validation, answer_of


def blended(first: DepthNetwork, second: DepthNetwork, share: float) -> DepthNetwork:
    """w = (1 - share) w_first + share w_second, of all weights and of the statistics of normalisation.

    Args:
        first, second: of one architecture, but for the size of the picture that they work on.
        share: of the second, 0 to 1.

    Returns:
        A new network in evaluation mode, which works on pictures of the second one's size.

    Raises:
        ValueError: for two architectures, or a share that is none.
    """
    if replace(first.architecture, pixels=second.architecture.pixels) != second.architecture:
        raise ValueError(
            f"networks to blend are of one architecture, found {first.architecture}, {second.architecture}"
        )
    if not 0 <= share <= 1:
        raise ValueError(f"a share is 0 to 1, found {share}")
    network = build_network(second.architecture)
    after = second.state_dict()
    network.load_state_dict(
        {
            name: torch.lerp(value, after[name], share) if value.is_floating_point() else after[name]
            for name, value in first.state_dict().items()
        }
    )
    return network.eval()


def scored(
    first: DepthNetwork,
    second: DepthNetwork,
    shares: Sequence[float],
    validations: Mapping[str, Validation],
    calibrated: bool = True,
) -> dict[float, dict[str, float]]:
    """AbsRel on validation samples by share, named as in a training's log, of the answer that is served: of networks
    whose uncertainty is not `calibrated` the median."""
    answer = answer_of(calibrated)
    found: dict[float, dict[str, float]] = {}
    for share in shares:
        network = blended(first, second, share)
        found[share] = {
            f"{name}/{sensors}": score
            for name, validation in validations.items()
            for sensors, score in validation.score(network, torch.device("cpu"), answer).items()
        }
    return found
