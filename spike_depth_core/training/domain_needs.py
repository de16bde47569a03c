"""What stages ask of domains of the world, told by what they request: which images, how many frames of a sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spike_depth_core.recipes import Stage
from spike_depth_core.samples import IMAGES, RIGHT
from spike_depth_core.training.data import TRIED_STEPS
from spike_depth_core.world.domains import Domain


@dataclass(frozen=True)
class DomainNeeds:
    """What samples of a domain must have.

    Attributes:
        images: by name, in the order of `IMAGES`.
        frames: of a sequence; 1 where a moment by itself will do.
    """

    images: tuple[str, ...]
    frames: int

    def __str__(self) -> str:
        return ", ".join(self.images) + (f", sequences of {self.frames} frames" if self.frames > 1 else "")


def needs_of(stages: Sequence[Stage]) -> dict[str, DomainNeeds]:
    """By domain, what the stages' first requests ask for when a domain offers all that its rig has.

    Raises:
        ValueError: for a domain that the world does not have, or that lacks what a stage cannot do without.
    """
    names = dict.fromkeys(name for stage in stages for name in stage.recipe.domains)
    offered = {name: _offered(name) for name in names}
    images: dict[str, set[str]] = {name: set() for name in offered}
    frames = dict.fromkeys(offered, 1)
    for stage in stages:
        for step in range(TRIED_STEPS):
            for request in stage.recipe.requests(step, offered):
                images[request.domain] |= {request.reference, *request.sensors, *request.depth}
                span = (0, *request.neighbours)
                frames[request.domain] = max(frames[request.domain], 1 + max(span) - min(span))
    return {name: DomainNeeds(tuple(i for i in IMAGES if i in images[name]), frames[name]) for name in offered}


def _offered(domain: str) -> tuple[str, ...]:
    return tuple(image for image in IMAGES if image in Domain.load(domain).rig.cameras)


def streets_suffice(needs: Mapping[str, DomainNeeds]) -> bool:
    """Whether `world_data`'s streets will do: single moments of the labelled domain, with no right-hand camera."""
    return set(needs) == {"source"} and not any(
        need.frames > 1 or set(need.images) & set(RIGHT.values()) for need in needs.values()
    )


def needed_domain(name: str, needs: DomainNeeds, pixels: int) -> Domain:
    """The domain with what is needed, its reference's pictures scaled to `pixels` where they are larger."""
    whole = Domain.load(name)
    camera = whole.rig.cameras[whole.rig.reference]
    scale = min(1.0, math.sqrt(pixels / (camera.height * camera.width)))
    size = (round(camera.height * scale), round(camera.width * scale))
    return Domain.load(name, size, sensors=needs.images, frames=needs.frames)
