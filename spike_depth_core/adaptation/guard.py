"""What new weights have to show before they go into service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from spike_depth_core.adaptation.lessons import Lesson
from spike_depth_core.networks.depth_network import DepthNetwork


@dataclass(frozen=True)
class GuardOptions:
    """Bounds on new weights.

    Attributes:
        live_bound: the largest rise of the error on held-out moments of the stream, relative to the weights in
            service. Below 0 a gain is demanded.
        original_bound: the largest rise of the error on examples of the original training, relative to the weights
            that the adaptation began with: rises do not add up from swap to swap.
        known_bound: the largest mean change of log-depth on the known-answer input. Adaptation corrects; whoever says
            something else altogether is broken.
        least_held_out: held-out moments without which nothing is swapped.
    """

    live_bound: float = 0.0
    original_bound: float = 0.02
    known_bound: float = 0.7
    least_held_out: int = 4


@dataclass(frozen=True)
class Verdict:
    """What the guard found.

    Attributes:
        reasons: why the weights are refused; empty when they may go into service.
        live: error of the candidate over that of the weights in service, on held-out moments.
        original: error of the candidate over that of the first weights, on original examples.
    """

    reasons: tuple[str, ...] = field(default=())
    live: float = float("nan")
    original: float = float("nan")

    @property
    def accepted(self) -> bool:
        return not self.reasons


class Guard:
    """Compares candidates with what is in service and with what was there first.

    Args:
        first: the weights that the adaptation begins with.
        original: examples of the original training, with truth.
        known: the known-answer input: any lesson that stays the same; the first original example when None.
        options: see `GuardOptions`.
    """

    def __init__(
        self,
        first: DepthNetwork,
        original: Sequence[Lesson],
        known: Lesson | None = None,
        options: GuardOptions | None = None,
    ):
        if not original:
            raise ValueError("the guard needs at least one example of the original training")
        self.options = options or GuardOptions()
        self.original, self.known = list(original), known or original[0]
        self._first_error = mean_error(first, self.original)
        self._known_answer = answer(first, self.known)

    def judge(self, candidate: DepthNetwork, service: DepthNetwork, held_out: Sequence[Lesson]) -> Verdict:
        """Whether the candidate may take the place of what is in service."""
        broken = [name for name, value in candidate.state_dict().items() if not torch.isfinite(value).all()]
        if broken:
            return Verdict((f"weights are not finite, first in {broken[0]}",))
        options = self.options
        reasons = []
        change = float((answer(candidate, self.known) - self._known_answer).abs().mean())
        if not change <= options.known_bound:
            reasons.append(f"the known answer moved by {change:.2f} in log-depth, {options.known_bound:g} are allowed")
        if len(held_out) < options.least_held_out:
            return Verdict((*reasons, f"{len(held_out)} held-out moments, {options.least_held_out} are needed"))
        live = ratio(mean_error(candidate, held_out), mean_error(service, held_out))
        if not live <= 1 + options.live_bound:
            reasons.append(f"error on held-out moments x {live:.3f}, {1 + options.live_bound:g} is allowed")
        original = ratio(mean_error(candidate, self.original), self._first_error)
        if not original <= 1 + options.original_bound:
            reasons.append(f"error on original examples x {original:.3f}, {1 + options.original_bound:g} is allowed")
        return Verdict(tuple(reasons), live, original)


@torch.no_grad()
def answer(network: DepthNetwork, lesson: Lesson) -> torch.Tensor:
    """Log-depth [1, H, W] of a lesson."""
    return network.eval()(lesson.inputs).log_depth


def mean_error(network: DepthNetwork, lessons: Sequence[Lesson]) -> float:
    """Mean over lessons of |d - d*| / d* where the lesson knows d*."""
    errors = []
    for lesson in lessons:
        found = answer(network, lesson)
        relative = (found.exp() / lesson.depth - 1).abs()
        errors.append(float(relative[lesson.mask].mean()))
    return sum(errors) / len(errors)


def ratio(new: float, old: float) -> float:
    """new / old; without an error to begin with, any new one is infinitely worse."""
    if old > 0:
        return new / old
    return 1.0 if new == 0 else float("inf")
