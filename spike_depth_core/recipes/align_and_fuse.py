"""Align-and-fuse: one network for every sensor alone, and a fusion module attached to it afterwards.

1. `Align`: every sensor by itself is taught true depth by one network. Half of each feature's channels is to hold what
   all sensors share: these halves are drawn together, pooled over the picture and position by position, against the
   other halves. For the positions to correspond, the features of the other sensors are warped to the anchor's view by
   the anchor's own predicted depth.
2. `Fuse`: that network is frozen, so that one sensor alone goes on as before, and a fusion module learns to select
   among the warped features of any sensors by how alike their shared halves are (`networks.fusion`).

Source: Shin, Lee and Oh, "Bridging spectral-wise and multi-spectral depth estimation via geometry-guided contrastive
learning" (ICRA 2025, arXiv 2503.00793), from its abstract and released code; docs/methods/align_and_fuse.md says where
this departs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.geometry.parallax import parallax_warp
from spike_depth_core.losses.alignment import global_alignment, local_alignment, pooled
from spike_depth_core.losses.consistency import depth_consistency
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction, with_fusion
from spike_depth_core.networks.fusion import SIMILARITY, halves
from spike_depth_core.networks.preprocess import NetworkInput, depth_in_camera, prepare
from spike_depth_core.recipes.recipe import Request, Stage, Step
from spike_depth_core.recipes.supervised import TaughtByDepth, drawn
from spike_depth_core.recipes.views import mirrored
from spike_depth_core.samples.batch import SampleBatch

GRADIENTS = ("both", "anchor")
STRIDES = (2, 4, 8, 16)
"""Of the levels that `DepthNetwork.encode` gives."""


@dataclass
class _SeveralSensors(TaughtByDepth):
    """What both stages share: the same view of several sensors, and true depth from each one's place.

    Attributes:
        learn_from: domains with true depth; a step draws from one of them.
        prefer: how often each sensor is the anchor, in whose directions and lens the others are seen.
    """

    learn_from: tuple[str, ...] = ("source",)
    prefer: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("spikes", "rgb", "nir", "thermal"), 1.0))

    @property
    def domains(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.learn_from

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        if start is not None and start.architecture.fusion != self.architecture.fusion:
            start = with_fusion(start, self.architecture.fusion)
        return super().modules(start)

    def draw(
        self, step: int, available: Mapping[str, tuple[str, ...]]
    ) -> tuple[np.random.Generator, str, tuple[str, ...], str]:
        """(generator of further draws, domain, sensors that the domain and the network have, anchor) of a step."""
        rng = np.random.default_rng([self.seed, step, 5])
        domain = str(rng.choice(self.learn_from))
        known = tuple(s for s in self.architecture.sensors if s in available[domain])
        if not known:
            raise ValueError(
                f"{self.name} learns from {self.architecture.sensors}; domain {domain!r} has {available[domain]}"
            )
        return rng, domain, known, drawn(known, self.prefer, rng)

    def places(self, batch: SampleBatch, request: Request, generator: torch.Generator) -> tuple[NetworkInput, Tensor]:
        """The sensors in one random camera, mirrored or not all alike, and true depth [B, N, H, W] from the places of
        the request's `depth`, NaN for those without any."""
        camera, size = self.random_camera(batch, request.reference, generator)
        inputs = prepare(batch, request.reference, request.sensors, camera, size)
        self.augment(inputs, generator)
        unknown = torch.full((len(batch), *size), torch.nan, device=camera.device)
        truth = [
            depth_in_camera(batch, request.reference, camera, size, s) if s in batch.depth else unknown
            for s in request.depth
        ]
        return mirrored(inputs, torch.stack(truth, dim=1), generator)


@dataclass
class Align(_SeveralSensors):
    """Stage 1: each sensor alone from truth, and the shared halves of all of them drawn together.

    All sensors of a step are seen in the anchor's directions and lens, each from its own place: that is also where
    their true depth is told from, so that one pass through the encoder serves supervision and alignment. With a single
    sensor there is nothing to align, and the stage is supervised learning from that sensor.

    Attributes:
        align_weight: of the contrastive part; 0 is a shared network that is not aligned. Published: 0.01 beside errors
            in metres; ours are of log-depth, and smaller by more than the factor between the weights.
        local_share: of the local term in it; the rest is the global one's.
        temperature: of both.
        strides: levels that are aligned position by position; the global term takes the coarsest of them.
        occlusion: largest relative difference between the depth that the other sensor predicts and that of the point
            it is asked for; None asks nothing, as published. Two networks' worth of error has to fit into it.
        gradients: `both`: into the features of all sensors. `anchor`, as published: warped features are held, so that
            the anchor alone learns from the local term; and so is the query of the global one.
        query: the sensor whose shared halves ask and the others answer; published: rgb. None for the anchor.
        negatives, least_seen: see `losses.alignment.local_alignment`.
        elsewhere: so many of the positive's own other places are negatives too. Published: 0, with which shared halves
            become nearly the same at all places.
    """

    align_weight: float = 0.003
    local_share: float = 0.5
    temperature: float = 0.1
    strides: tuple[int, ...] = (16,)
    occlusion: float | None = 0.15
    gradients: str = "both"
    query: str | None = None
    negatives: int = 1024
    elsewhere: int = 32
    least_seen: float = 0.1
    name: ClassVar[str] = "align"

    def __post_init__(self) -> None:
        if self.gradients not in GRADIENTS:
            raise ValueError(f"gradients is one of {GRADIENTS}, found {self.gradients!r}")
        if not self.strides or set(self.strides) - set(STRIDES):
            raise ValueError(f"strides are some of {STRIDES}, found {self.strides}")

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        _, domain, known, anchor = self.draw(step, available)
        return (Request(anchor, known, known, domain),)

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        student: DepthNetwork = modules["student"]  # type: ignore[assignment]
        inputs, truth = self.places(batches[0], requests[0], step.generator)
        sensors = requests[0].sensors
        alone = [inputs.alone(s) for s in sensors]
        features = {s: student.encode(own)[s] for s, own in zip(sensors, alone, strict=True)}
        # Decoded as one batch, so that normalisation sees what it will be used with: all sensors.
        prediction = student.decode_levels(
            [torch.cat(of_level) for of_level in zip(*features.values(), strict=True)],
            torch.cat([own.camera for own in alone]),
            torch.cat([own.height for own in alone]),
        )
        total, parts = self.depth_loss(prediction.log_depth, prediction.log_scale, truth.transpose(0, 1).flatten(0, 1))
        if len(sensors) > 1 and self.align_weight > 0:
            depth = dict(zip(sensors, prediction.depth.detach().chunk(len(sensors)), strict=True))
            with torch.autocast(truth.device.type, enabled=False):
                parts |= self.alignment(features, depth, inputs, step.generator)
            contrast = (1 - self.local_share) * parts["global"] + self.local_share * parts["local"]
            total = total + self.align_weight * contrast
        return total, parts

    def alignment(
        self,
        features: Mapping[str, list[Tensor]],
        depth: Mapping[str, Tensor],
        inputs: NetworkInput,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """The two contrastive terms.

        Args:
            features: by sensor, levels of `DepthNetwork.encode`.
            depth: by sensor, predicted from its place, metres [B, H, W], without a gradient.
            inputs: where the sensors stand; the anchor is its reference.
            generator: of random choices.
        """
        anchor = inputs.reference
        assert anchor is not None
        query = self.query if self.query is not None and self.query in features else anchor
        local = []
        for stride in sorted(self.strides):
            level = {s: of_sensor[STRIDES.index(stride)].float() for s, of_sensor in features.items()}
            size = next(iter(level.values())).shape[-2:]
            field_of_view = {s: F.interpolate(inputs.images[s][:, -1:], size, mode="area") for s in level}
            warped, seen = {}, {}
            for sensor, own in level.items():
                if sensor == anchor:
                    warped[sensor], seen[sensor] = own, field_of_view[sensor][:, 0] > 0.5
                    continue
                both, visible = parallax_warp(
                    torch.cat([own, field_of_view[sensor]], dim=1),
                    depth[anchor],
                    inputs.camera,
                    inputs.centres[sensor],
                    None if self.occlusion is None else depth[sensor],
                    self.occlusion or 0.0,
                )
                warped[sensor], seen[sensor] = both[:, :-1], visible & (both[:, -1] > 0.5)
                if self.gradients == "anchor":
                    warped[sensor] = warped[sensor].detach()
            shared, specific = _halves_of(warped)
            local.append(
                local_alignment(
                    shared,
                    specific,
                    seen,
                    query,
                    generator,
                    self.temperature,
                    self.least_seen,
                    self.negatives,
                    self.elsewhere,
                )
            )
        # The last level is the coarsest.
        whole = {s: pooled(own, field_of_view[s][:, 0] > 0.5) for s, own in level.items()}
        shared, specific = _halves_of(whole)
        if self.gradients == "anchor":
            shared[query] = shared[query].detach()
        return {
            "global": global_alignment(shared, specific, query, self.temperature),
            "local": torch.stack(local).mean(),
        }


@dataclass
class Fuse(_SeveralSensors):
    """Stage 2: the fusion module alone, on the frozen network.

    Attributes:
        dropout: how often each sensor beside the anchor is missing; at least two are always there, since one alone is
            not fused. Published: never.
        anchors: from the places of how many sensors a step's fused depth is taught; published: of all three.
        geometry_weight: of the agreement between the anchors' depths; it takes two anchors.
        tolerance: of the test for points that the other anchor cannot see, see `losses.consistency`.
    """

    dropout: float = 0.3
    anchors: int = 2
    geometry_weight: float = 0.5
    tolerance: float = 0.2
    name: ClassVar[str] = "fuse"

    def __post_init__(self) -> None:
        if self.anchors < 1:
            raise ValueError(f"anchors is at least 1, found {self.anchors}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is in [0, 1), found {self.dropout}")

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        if start is None:
            raise ValueError("fuse starts from a network that has been aligned, or trained in any other way")
        modules = super().modules(start)
        student: DepthNetwork = modules["student"]  # type: ignore[assignment]
        student.requires_grad_(False)
        student.fusions.requires_grad_(True)
        if not list(student.fusions.parameters()):
            raise ValueError(f"fusion {student.architecture.fusion!r} has no weights to learn")
        return modules

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        rng, domain, known, anchor = self.draw(step, available)
        others = [s for s in known if s != anchor]
        if not others:
            raise ValueError(f"fuse needs two sensors at least; domain {domain!r} has {known}")
        kept = [s for s in others if rng.random() >= self.dropout] or [str(rng.choice(others))]
        sensors = tuple(s for s in known if s == anchor or s in kept)
        anchors = (anchor, *(str(s) for s in rng.permutation(kept)[: self.anchors - 1]))
        return (Request(anchor, sensors, anchors, domain),)

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        student: DepthNetwork = modules["student"]  # type: ignore[assignment]
        student.eval()  # frozen weights with moving normalisation statistics would not be the same network
        inputs, truth = self.places(batches[0], requests[0], step.generator)
        with torch.no_grad():
            features = student.encode(inputs)
        views, answers, losses = [], [], []
        parts: dict[str, Tensor] = {}
        anchors = requests[0].depth
        for place, anchor in enumerate(anchors):
            view = inputs.seen_from(anchor)
            answer = student.decode(features, view.camera, view.height, view)
            loss, own = self.depth_loss(answer.log_depth, answer.log_scale, truth[:, place])
            views.append(view)
            answers.append(answer)
            losses.append(loss)
            for name, value in own.items():
                parts[name] = parts.get(name, torch.zeros_like(value)) + value / len(anchors)
        total = torch.stack(losses).mean()
        if len(anchors) > 1 and self.geometry_weight > 0:
            parts["geometry"] = self.geometry(anchors, views, answers, losses)
            total = total + self.geometry_weight * parts["geometry"]
        return total, parts

    def geometry(
        self,
        anchors: Sequence[str],
        views: Sequence[NetworkInput],
        answers: Sequence[Prediction],
        losses: Sequence[Tensor],
    ) -> Tensor:
        """L_geo: the depth of the anchor with the least supervised loss, held, is what the others' is compared with."""
        best = min(range(len(anchors)), key=lambda i: float(losses[i].detach()))
        teacher, view = answers[best].depth, views[best]
        terms = [
            depth_consistency(teacher, answer.depth, view.camera, view.centres[anchor], self.tolerance)
            for i, (anchor, answer) in enumerate(zip(anchors, answers, strict=True))
            if i != best
        ]
        return torch.stack(terms).mean()


def _halves_of(features: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    both = {s: halves(x) for s, x in features.items()}
    return {s: shared for s, (shared, _) in both.items()}, {s: specific for s, (_, specific) in both.items()}


def align_and_fuse_stages(
    architecture: Architecture,
    seed: int = 0,
    fusion: str = SIMILARITY,
    fuse_share: float = 0.4,
    align: Mapping[str, Any] | None = None,
    fuse: Mapping[str, Any] | None = None,
    **settings: Any,
) -> tuple[Stage, ...]:
    """Both stages, or one of them.

    Args:
        architecture: of the network; its `fusion` is replaced.
        seed: of both stages.
        fusion: `similarity`; `similarity:thermal` for the published prior; or another that has weights.
        fuse_share: of all steps; 0 aligns only, 1 fuses only, from a start that has been aligned.
        align, fuse: settings of one stage.
        settings: of both.
    """
    if not 0 <= fuse_share <= 1:
        raise ValueError(f"fuse_share is in [0, 1], found {fuse_share}")
    architecture = replace(architecture, fusion=fusion)
    stages = []
    if fuse_share < 1:
        stages.append(Stage(Align(architecture, seed=seed, **{**settings, **(align or {})}), 1 - fuse_share))
    if fuse_share > 0:
        stages.append(Stage(Fuse(architecture, seed=seed, **{**settings, **(fuse or {})}), fuse_share))
    return tuple(stages)
