"""R2SDepth: depth from spikes without a label, by view synthesis on RGB frames and self-distillation from RGB.

Source: "Weakly supervised monocular depth estimation for spike camera with adaptive self distillation", known by the
abstract and the code of its repository (github.com/NorthSummer/R2SDepth, 2023). A network that sees RGB and spikes
learns to explain each RGB frame by the ones before and after it; the branch of spikes alone then learns the same, and
what the branch that carries RGB knows: its features, which of them are active, and its depth, where that explains the
frames better. In the end RGB is gone: the network takes spikes alone.

docs/methods/r2sdepth.md lists the formulas, and where this departs from the published code and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.geometry.precision import full_precision
from spike_depth_core.geometry.warp import scaled_camera, warp
from spike_depth_core.losses.activation import SURROGATES, activation_pattern, pattern_distance
from spike_depth_core.losses.depth import laplace_nll, silog
from spike_depth_core.losses.distillation import feature_mse, mostly
from spike_depth_core.losses.photometric import (
    auto_masked,
    edge_aware_smoothness,
    least_error,
    mean_error,
    photometric_error,
)
from spike_depth_core.losses.scale import road_anchor, speed_anchor
from spike_depth_core.networks.blocks import ConvNormAct
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.networks.encoder import level_road, ray_maps, ray_slopes
from spike_depth_core.networks.pose import PoseNetwork
from spike_depth_core.networks.preprocess import RGB_MEAN, RGB_STD, NetworkInput, in_sight, prepare
from spike_depth_core.recipes.recipe import Request, Stage, Step
from spike_depth_core.recipes.teaching import Teaching
from spike_depth_core.recipes.views import AugmentedRecipe, mirrored_input, mirrored_map, mirrored_motion
from spike_depth_core.samples.batch import SampleBatch

LANE_HALF_WIDTH = 1.5  # metres to either side of the camera that are taken for road, see `lane`
LANE_REACH = 15.0  # metres ahead


@dataclass
class Views:
    """A moment as the network sees it, and the RGB frames that view synthesis compares.

    Attributes:
        inputs: of the network, with its looks changed.
        clean: the same as they are, for who is not trained on them.
        target: the moment's RGB frame as it is, [B, 4, H, W]: in [0, 1], and a mask of what the camera sees. It has
            the network camera's intrinsics, at the RGB camera's place.
        others: the neighbours', like it.
        rgb_from_reference: from the network camera to the RGB camera, [B, 4, 4]; None where they are one.
        rays: `ray_maps` of the RGB camera [B, 4, H, W].
        odometry: how the RGB camera moved, `other_from_target` [B, 4, 4] of each neighbour; None where unknown.
    """

    inputs: NetworkInput
    clean: NetworkInput
    target: Tensor
    others: list[Tensor]
    rgb_from_reference: Tensor | None
    rays: Tensor
    odometry: list[Tensor] | None


@dataclass
class ViewSynthesis(AugmentedRecipe):
    """Learning depth from how the RGB frames before and after a moment look: by spikes, RGB, or both.

    Depth is that of the first of `sensors`' camera. RGB frames are compared wherever their camera stands in the rig.

    Attributes:
        sensors: what the network sees.
        offsets: the neighbouring frames that are compared.
        moved: metres between a frame and its neighbours, at least, where poses are known: standing, a camera sees
            nothing of depth. Still frames are left out of training since Zhou et al. (CVPR 2017).
        motion: of the camera between frames: by a `network` that learns it, or by `odometry`, the samples' own poses.
        scales: the pictures are compared at full, half, quarter... size: a mistake of several pixels gives a gradient
            in a small picture only.
        smoothness_weight: of the smoothness of inverse depth.
        road_weight: of the anchor of scale by the camera's height over the road, see `losses.scale`.
        speed_weight: of the anchor by the distance driven, which takes poses in the samples.
        settle: share of the steps at first in which view synthesis teaches the motion alone. Depth begins at the
            level road, or at what it has learned before, which is good enough to learn the motion by, while a random
            motion would spoil it.
    """

    sensors: tuple[str, ...] = ("spikes", "rgb")
    offsets: tuple[int, ...] = (-1, 1)
    moved: float = 0.1
    motion: str = "network"
    scales: int = 4
    smoothness_weight: float = 1e-3
    road_weight: float = 0.05
    speed_weight: float = 0.0
    settle: float = 0.1
    name: ClassVar[str] = "view_synthesis"
    calibrated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        unknown = set(self.sensors) - set(self.architecture.sensors)
        if unknown or not self.sensors:
            raise ValueError(f"sensors are some of the network's {self.architecture.sensors}, found {self.sensors}")
        if self.motion not in ("network", "odometry"):
            raise ValueError(f"motion is 'network' or 'odometry', found {self.motion!r}")
        if not self.offsets or 0 in self.offsets:
            raise ValueError(f"offsets are those of neighbouring frames, other than 0; found {self.offsets}")

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        modules = super().modules(start)
        if self.motion == "network":
            modules["pose"] = PoseNetwork(len(self.offsets))
        return modules

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        missing = {"rgb", *self.sensors} - set(available["source"])
        if missing:
            raise ValueError(f"{self.name} needs samples with {sorted(missing)}; there are {available['source']}")
        images = tuple(dict.fromkeys((*self.sensors, "rgb")))
        return (Request(self.sensors[0], images, neighbours=self.offsets, moved=self.moved),)

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        views = self.views(batches[0], step.generator)
        motions = self.motions(modules, views)
        held = self.held(step)
        with torch.set_grad_enabled(not held):
            prediction = modules["student"](views.inputs)
        parts, _ = self.synthesis(prediction, views, motions, held)
        total = self.total(parts, held)
        return self.with_speed(total, parts, views, motions)

    def held(self, step: Step) -> bool:
        """Whether view synthesis teaches the motion alone."""
        return self.motion == "network" and step.progress < self.settle

    @full_precision
    def views(self, batch: SampleBatch, generator: torch.Generator) -> Views:
        """One random camera for all that a step looks at, mirrored or not."""
        reference = self.sensors[0]
        camera, size = self.random_camera(batch, reference, generator)
        clean = prepare(batch, reference, self.sensors, camera, size)
        moments = [batch, *(batch.neighbours[offset] for offset in self.offsets)]
        frames = [prepare(moment, "rgb", ("rgb",), camera, size).images["rgb"] for moment in moments]
        pictures = [torch.cat([x[:, :3] * RGB_STD + RGB_MEAN, x[:, 3:]], dim=1) for x in frames]
        rig = torch.linalg.inv(batch.poses["rgb"]) @ batch.poses[reference]
        odometry = self.odometry(batch)

        flip = torch.rand(len(batch), generator=generator, device=camera.device) < 0.5
        clean = mirrored_input(clean, flip)
        inputs = replace(clean, images=dict(clean.images))
        target, *others = (mirrored_map(x, flip) for x in pictures)
        one = torch.allclose(rig, torch.eye(4, device=rig.device).expand_as(rig), atol=1e-6)
        self.augment(inputs, generator)
        return Views(
            inputs,
            clean,
            target,
            others,
            None if one else mirrored_motion(rig, flip),
            ray_maps(inputs.camera, batch.heights["rgb"], size, 1),
            None if odometry is None else [mirrored_motion(x, flip) for x in odometry],
        )

    def odometry(self, batch: SampleBatch) -> list[Tensor] | None:
        """`other_from_target` [B, 4, 4] of the RGB camera for each neighbour, by the samples' poses; None without.

        Raises:
            ValueError: when they are needed and missing.
        """
        moments = [batch, *(batch.neighbours[offset] for offset in self.offsets)]
        worlds = [
            m.world_from_reference @ m.poses["rgb"].double() for m in moments if m.world_from_reference is not None
        ]
        if len(worlds) == len(moments):
            return [(torch.linalg.inv(other) @ worlds[0]).float() for other in worlds[1:]]
        if self.motion == "odometry" or self.speed_weight:
            raise ValueError(f"{self.name} by odometry needs samples with poses (world_from_reference); there are none")
        return None

    def motions(self, modules: nn.ModuleDict, views: Views) -> list[Tensor]:
        """`other_from_target` [B, 4, 4] of the RGB camera for each neighbour."""
        if self.motion == "odometry":
            assert views.odometry is not None
            return views.odometry
        return modules["pose"](*self.normalised(views), views.rays)

    @staticmethod
    def normalised(views: Views) -> tuple[Tensor, list[Tensor]]:
        """Target and neighbours of order one, blank where nothing is seen."""
        target, *others = ((x[:, :3] - RGB_MEAN) / RGB_STD * x[:, 3:] for x in (views.target, *views.others))
        return target, others

    @full_precision
    def synthesis(
        self, prediction: Prediction, views: Views, motions: Sequence[Tensor], held: bool = False
    ) -> tuple[dict[str, Tensor], Tensor]:
        """How well a depth explains the frames.

        Args:
            prediction: depth in the network camera.
            views, motions: see there.
            held: whether the depth stays as it is and the motion alone learns.

        Returns:
            The terms of the loss by name, and the photometric error [B, H, W] of the better neighbour at full size,
            +inf where no neighbour sees the point.
        """
        log_depth = prediction.log_depth.float()
        inverse = torch.exp(-(log_depth.detach() if held else log_depth))
        size = (inverse.shape[1], inverse.shape[2])
        terms, errors, pictures = [], [], []
        for scale in range(self.scales):
            target, *others = (pooled(x, 2**scale) for x in (views.target, *views.others))
            depth = 1 / pooled(inverse[:, None], 2**scale)[:, 0]
            camera = scaled_camera(views.inputs.camera, size, (depth.shape[1], depth.shape[2]))
            picture, seen, moved, still = compare(depth, target, others, camera, motions, views.rgb_from_reference)
            least = least_error(*moved)
            if held:
                terms.append(mean_error(*moved, still[0], seen))
            else:
                terms.append(auto_masked(least, least_error(*still), seen))
            errors.append(least)
            pictures.append(picture)
        lane = lane_ahead(views.inputs.camera, views.inputs.height, size)
        level = level_road(views.inputs.camera, views.inputs.height, size)
        parts = {
            "photometric": torch.stack(terms).mean(),
            "smoothness": edge_aware_smoothness(torch.exp(-log_depth), pictures[0].detach()),
            "road": road_anchor(log_depth - level, lane),
        }
        return parts, errors[0].detach()

    def total(self, parts: Mapping[str, Tensor], held: bool) -> Tensor:
        """The weighted sum of `synthesis`'s terms; while depth is held, of those that teach the motion."""
        total = parts["photometric"]
        if not held:
            total = total + self.smoothness_weight * parts["smoothness"] + self.road_weight * parts["road"]
        return total

    def with_speed(
        self, total: Tensor, parts: dict[str, Tensor], views: Views, motions: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts with the anchor by the distance driven."""
        if self.speed_weight and self.motion == "network":
            assert views.odometry is not None
            found, driven = (torch.stack(list(x), dim=1)[..., :3, 3] for x in (motions, views.odometry))
            parts["speed"] = speed_anchor(found, torch.linalg.vector_norm(driven, dim=-1))
            total = total + self.speed_weight * parts["speed"]
        return total, parts


def pooled(x: Tensor, factor: int) -> Tensor:
    """Maps [B, C, H, W] averaged to a fraction of their size."""
    return F.avg_pool2d(x, factor) if factor > 1 else x


Errors = tuple[list[Tensor], list[Tensor]]
"""Of each neighbour the photometric error [B, H, W], and a mask of the pixels at which it sees the point."""


def compare(
    depth: Tensor,
    target: Tensor,
    others: Sequence[Tensor],
    camera: Tensor,
    motions: Sequence[Tensor],
    rgb_from_reference: Tensor | None,
) -> tuple[Tensor, Tensor, Errors, Errors]:
    """A frame against its neighbours, as a depth map says they should look, at the depth map's pixels.

    Args:
        depth: metres in the network camera, [B, H, W].
        target, others: pictures and masks [B, 4, H, W], see `Views`.
        camera: intrinsics [B, 4] of all of them.
        motions: `other_from_target` [B, 4, 4].
        rgb_from_reference: see `Views`.

    Returns:
        The target as the network camera would see it, [B, 3, H, W]; a mask [B, H, W] of the pixels at which it is seen;
        the errors of the neighbours moved by the motions; and
        those of the neighbours unmoved, without gradient.
    """

    def seen_from(picture: Tensor, transform: Tensor) -> tuple[Tensor, Tensor]:
        looked_up, inside = warp(picture, depth, camera, camera, transform, padding_mode="border")
        return looked_up[:, :3], inside & (looked_up[:, 3] > 0.99)

    def as_is(picture: Tensor) -> tuple[Tensor, Tensor]:
        if rgb_from_reference is None:
            return picture[:, :3], picture[:, 3] > 0.99
        return seen_from(picture, rgb_from_reference)

    own, mask = as_is(target)
    moved: Errors = [], []
    unmoved: Errors = [], []
    for other, motion in zip(others, motions, strict=True):
        transform = motion if rgb_from_reference is None else motion @ rgb_from_reference
        picture, seen = seen_from(other, transform)
        moved[0].append(photometric_error(picture, own))
        moved[1].append(seen)
        with torch.no_grad():
            picture, seen = as_is(other)
            unmoved[0].append(photometric_error(picture, own))
            unmoved[1].append(seen)
    return own, mask, moved, unmoved


def lane_ahead(camera: Tensor, height: Tensor, size: tuple[int, int]) -> Tensor:
    """Where road is expected, bool [B, H, W]: of a level one, the strip `LANE_HALF_WIDTH` to either side and
    `LANE_REACH` ahead.

    Args:
        camera: (fx, fy, cx, cy) [B, 4].
        height: over the road, metres [B].
        size: (height, width) of the map.
    """
    depth = level_road(camera, height, size).exp()
    across, _ = ray_slopes(camera, size, 1)
    return (depth < LANE_REACH) & ((across * depth).abs() < LANE_HALF_WIDTH)


@dataclass
class SelfDistillation(ViewSynthesis):
    """The branch of spikes learns by view synthesis, and from the branch that carries RGB.

    Attributes:
        teaching: where the branch that carries RGB comes from: by default a copy of the network this stage starts
            from, frozen. A teacher that learns goes on by view synthesis. The average of a student that no longer sees
            RGB would forget how to, so in mode `ema` the student keeps its own RGB branch in training.
        feature_weight: of the squared difference of features over the teacher's mean square, summed over the levels.
        activation_weight: of the distance of activation patterns, summed over the levels.
        depth_weight: of twice the scale-invariant difference of log-depth.
        uncertainty_weight: of the likelihood of the teacher's depth, which teaches the uncertainty alone. It says how
            far student and teacher are apart, not how far either is from the truth, and so is not `calibrated`.
        gate: whether only pixels count that the teacher explains better than the student does.
        fade: share of the steps over which RGB fades out of the student; 0 takes it away at once.
        connectors: whether learned convolutions stand between the student's features and the teacher's. In the
            published code they hand on what they are given.
        surrogate, steepness: of the step in the activation patterns, see `losses.activation`.
        depth_offset: added to inverse depths before their logarithm. The published 0.1 (1 / m) makes little of
            what is beyond 10 m.
    """

    teaching: Teaching = field(default_factory=Teaching)
    feature_weight: float = 0.1
    activation_weight: float = 0.1
    depth_weight: float = 1.0
    uncertainty_weight: float = 0.1
    gate: bool = True
    fade: float = 0.5
    connectors: bool = True
    surrogate: str = "sigmoid"
    steepness: float = 10.0
    depth_offset: float = 0.0
    name: ClassVar[str] = "self_distillation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sensors != ("spikes", "rgb"):
            raise ValueError(f"{self.name} is from ('spikes', 'rgb') to spikes, found sensors {self.sensors}")
        if self.surrogate not in SURROGATES:
            raise ValueError(f"a surrogate of the step is one of {SURROGATES}, found {self.surrogate!r}")
        if self.architecture.fusion not in ("selective", "mean"):
            raise ValueError(f"RGB fades out of a fusion by level, not out of {self.architecture.fusion!r}")

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        modules = super().modules(start)
        modules["teacher"] = self.teaching.teacher(modules["student"], start is not None)
        if self.connectors:
            widths = self.architecture.widths
            modules["features"] = nn.ModuleList(
                nn.Sequential(nn.Conv2d(w, w, 3, 1, 1), nn.Conv2d(w, w, 1)) for w in widths
            )
            modules["activations"] = nn.ModuleList(ConvNormAct(w, w, kernel=1) for w in widths)
        return modules

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        views = self.views(batches[0], step.generator)
        motions = self.motions(modules, views)
        held = self.held(step)
        network: DepthNetwork = modules["student"]  # type: ignore[assignment]

        with torch.set_grad_enabled(self.teaching.learns):
            # Who does not learn is asked for what it knows best: of the pictures as they are.
            teacher = modules["teacher"](views.inputs if self.teaching.learns else views.clean)
        carrier = network(views.inputs) if self.teaching.mode == "ema" else teacher
        student = with_less_rgb(network, views.inputs, self.rgb_share(step))

        carrier_parts, carrier_error = self.synthesis(carrier, views, motions, held)
        parts, error = self.synthesis(student, views, motions, held)
        if carrier is not teacher:
            _, carrier_error = self.synthesis(teacher, views, motions, held)
        total = self.total(parts, held) + self.total(carrier_parts, held)
        parts |= {f"fused_{name}": value for name, value in carrier_parts.items()}

        seen = in_sight(views.inputs)
        mask = seen
        if self.gate and not held:  # by a motion that is not yet known nothing can be told
            mask = seen & better_explained(carrier_error, error)
        parts["gate"] = mask.sum() / seen.sum().clamp(min=1)
        distilled, more = self.distillation(modules, student, teacher, mask, seen)
        return self.with_speed(total + distilled, parts | more, views, motions)

    def after_step(self, modules: nn.ModuleDict, step: Step) -> None:
        self.teaching.follow(modules["teacher"], modules["student"])

    def rgb_share(self, step: Step) -> float:
        """What is left of RGB in the student: from 1 straight down to 0."""
        return max(0.0, 1 - step.progress / self.fade) if self.fade else 0.0

    def distillation(
        self, modules: nn.ModuleDict, student: Prediction, teacher: Prediction, mask: Tensor, seen: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the student is to take over from the teacher, over the pixels of a mask [B, H, W].

        Args:
            modules: of the recipe.
            student, teacher: their answers.
            mask: what is taken over, bool [B, H, W].
            seen: what is in sight, bool [B, H, W]: how sure to be is learned of all of it.

        Returns:
            The weighted sum of the terms, and the terms by name.
        """
        none = student.log_depth.new_zeros(())
        parts = {"features": none, "activations": none}
        back = none
        for level, (own, theirs) in enumerate(zip(student.features, teacher.features, strict=True)):
            where = mostly(mask, (own.shape[2], own.shape[3]))
            mapped = modules["features"][level](own) if self.connectors else own  # type: ignore[index]
            active = modules["activations"][level](own) if self.connectors else own  # type: ignore[index]
            # In units of the teacher's own: past the encoder no normalisation keeps features of order one.
            size = theirs.detach().square().mean().sqrt() + 1e-6
            parts["features"] = parts["features"] + feature_mse(mapped / size, theirs.detach() / size, where)
            parts["activations"] = parts["activations"] + pattern_distance(
                active, activation_pattern(theirs), where, self.steepness, self.surrogate
            )
            if self.teaching.mode == "mutual":
                back = back + self.feature_weight * feature_mse(theirs / size, mapped.detach() / size, where)
        own_depth, their_depth = (self.compared(x.log_depth) for x in (student, teacher))
        parts["depth"] = 2 * silog(own_depth, their_depth.detach(), mask)
        if self.teaching.mode == "mutual":
            back = back + self.depth_weight * 2 * silog(their_depth, own_depth.detach(), mask)
        difference = (student.log_depth - teacher.log_depth).detach()
        parts["uncertainty"] = laplace_nll(student.log_scale, difference, seen)
        there = (
            self.feature_weight * parts["features"]
            + self.activation_weight * parts["activations"]
            + self.depth_weight * parts["depth"]
        )
        return self.teaching.pulls(there, back) + self.uncertainty_weight * parts["uncertainty"], parts

    def compared(self, log_depth: Tensor) -> Tensor:
        """The logarithm that depths are compared by: of depth, or of inverse depth and an offset."""
        return torch.log(torch.exp(-log_depth) + self.depth_offset) if self.depth_offset else log_depth


def with_less_rgb(network: DepthNetwork, inputs: NetworkInput, share: float) -> Prediction:
    """Depth from spikes and a share of RGB: at each level share * fused + (1 - share) * spikes.

    At 1 it is the network's answer to both sensors, at 0 that to spikes alone, which RGB is then not read for.
    """
    sensors = ("spikes", "rgb") if share > 0 else ("spikes",)
    features = network.encode(NetworkInput({s: inputs.images[s] for s in sensors}, inputs.camera, inputs.height))
    levels = features["spikes"]
    if share > 0:
        pairs = zip(levels, features["rgb"], network.fusions, strict=True)
        levels = [share * fusion([own, rgb]) + (1 - share) * own for own, rgb, fusion in pairs]
    return network.decode({"spikes": levels}, inputs.camera, inputs.height)


def better_explained(teacher: Tensor, student: Tensor) -> Tensor:
    """Where a teacher's photometric error [B, H, W] is not above the student's, or nothing is known of one of them."""
    return (teacher <= student) | ~torch.isfinite(teacher) | ~torch.isfinite(student)


def r2sdepth_stages(
    architecture: Architecture, seed: int = 0, branch: str = "distilled", fused_share: float = 0.4, **settings: Any
) -> tuple[Stage, ...]:
    """The stages of R2SDepth, or one of the trainings it is compared with.

    Args:
        architecture: of the network; it knows spikes and RGB.
        seed: of draws and augmentation.
        branch: `distilled`: view synthesis with both sensors, then distillation to spikes. `spikes`, `rgb`, `fused`:
            view synthesis alone, with these sensors.
        fused_share: of the steps before distillation.
        **settings: of `ViewSynthesis` and `SelfDistillation`.

    No stage looks at a label, so each hands on its last weights: the best could only be told by labels.
    """
    branches = {"spikes": ("spikes",), "rgb": ("rgb",), "fused": ("spikes", "rgb")}
    if branch in branches:
        return (Stage(ViewSynthesis(architecture, seed=seed, sensors=branches[branch], **settings), keep="last"),)
    if branch != "distilled":
        raise ValueError(f"branch is one of {(*branches, 'distilled')}, found {branch!r}")
    common = {f.name for f in fields(ViewSynthesis)}
    first = ViewSynthesis(architecture, seed=seed, **{k: v for k, v in settings.items() if k in common})
    second = SelfDistillation(architecture, seed=seed, **settings)
    return Stage(first, fused_share, "last"), Stage(second, 1 - fused_share, "last")
