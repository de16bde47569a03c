"""What a recipe is: networks, losses and stages. It holds no loop and reads no data."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from spike_depth_core.networks.depth_network import DepthNetwork
from spike_depth_core.samples.batch import SampleBatch


class Recipe(Protocol):
    """The part of a training that a paper describes; `training.loop` does the rest."""

    name: str

    def network(self) -> DepthNetwork:
        """A new student, weights drawn from torch's global generator."""
        ...

    def sensors(self, step: int, available: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """(reference, sensors) that step number `step` uses: drawn before the data is read, so that only they are."""
        ...

    def loss(
        self, network: DepthNetwork, batch: SampleBatch, reference: str, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss of one batch, and its parts by name for the log. The generator is on the batch's device."""
        ...
