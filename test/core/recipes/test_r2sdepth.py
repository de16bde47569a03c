"""R2SDepth on a street whose geometry is a formula: what explains the frames, who learns from whom, and what."""

import dataclasses
import json
import math

import pytest
import torch

from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.networks.preprocess import depth_in_camera
from spike_depth_core.recipes.r2sdepth import (
    SelfDistillation,
    ViewSynthesis,
    better_explained,
    lane_ahead,
    mostly,
    r2sdepth_stages,
    with_less_rgb,
)
from spike_depth_core.recipes.recipe import Step
from spike_depth_core.recipes.teaching import Teaching
from spike_depth_core.recipes.views import mirrored_map
from spike_depth_core.samples.batch import collate
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.training.data import SampleFolders
from spike_depth_core.training.loop import LoopOptions, Trainer
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.stages import run_stages
from spike_depth_core.training.validation import mean_abs_rel
from test.core.recipes.driving import drive

SMALL = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 16, 16, 16), trunk_blocks=1, pixels=64 * 96)
AVAILABLE = {"source": ("spikes", "rgb", "nir")}


def batch_of(samples, indices):
    batch = collate([samples[i] for i in indices])
    batch.neighbours = {k: collate([samples[i + k] for i in indices]) for k in (-1, 1)}
    return batch


@pytest.fixture(scope="module")
def street():
    return drive(5, yaw_step=0.02)


@pytest.fixture
def batch(street):
    return batch_of(street, (1, 3))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def at(number, total=100):
    return Step(number, total, seeded(number))


def truth_of(recipe, batch, seed):
    """True depth at the pixels of the camera that `recipe.views` draws with this seed, and which are mirrored."""
    camera, size = recipe.random_camera(batch, recipe.sensors[0], seeded(seed))
    flip = recipe.views(batch, seeded(seed)).inputs.camera[:, 2] != camera[:, 2]
    return mirrored_map(depth_in_camera(batch, recipe.sensors[0], camera, size), flip), flip


@pytest.mark.parametrize("beside", [0.0, 0.4])
def test_the_true_depth_and_motion_explain_the_frames_better_than_wrong_ones(beside):
    """With RGB at the spike camera's place and beside it, zoomed, mirrored and not."""
    batch = batch_of(drive(5, beside_m=beside, yaw_step=0.02), (1, 2, 3))
    recipe = ViewSynthesis(SMALL, motion="odometry", seed=0)
    mirrored = set()
    for seed in (0, 1):
        views = recipe.views(batch, seeded(seed))
        assert (views.rgb_from_reference is None) == (beside == 0)
        truth, flip = truth_of(recipe, batch, seed)
        mirrored |= set(flip.tolist())
        outside = ~torch.isfinite(truth)
        truth = torch.where(outside, torch.full_like(truth, 10.0), truth)

        def error(depth, motions, views=views, outside=outside):
            parts, errors = recipe.synthesis(Prediction(depth.log(), depth, []), views, motions)
            return float(errors[torch.isfinite(errors) & ~outside].mean()), float(parts["photometric"])

        motions = recipe.motions(torch.nn.ModuleDict(), views)
        right, loss = error(truth, motions)
        assert right < 0.07
        for factor in (0.8, 1.3):
            wrong, wrong_loss = error(factor * truth, motions)
            assert wrong > 1.25 * right
            assert wrong_loss > loss
        nowhere = [torch.eye(4).expand(3, 4, 4)] * 2
        assert error(truth, nowhere)[0] > 4 * right
        backwards = [torch.linalg.inv(m) for m in motions]
        assert error(truth, backwards)[0] > 4 * right
    assert mirrored == {True, False}


def test_what_stands_still_with_the_camera_teaches_nothing(street):
    batch = collate([street[1]])
    batch.neighbours = {-1: batch, 1: batch}
    recipe = ViewSynthesis(SMALL, settle=0.0, smoothness_weight=0.0, road_weight=0.0)
    modules = recipe.modules()
    with torch.no_grad():
        modules["pose"].head.bias.fill_(0.3)  # it believes to move
    total, _ = recipe.loss(modules, [batch], recipe.requests(0, AVAILABLE), at(50))
    total.backward()
    gradients = [p.grad.abs().max() for p in modules["student"].parameters() if p.grad is not None]
    assert max(gradients) < 1e-6


def test_first_the_motion_learns_alone_then_depth_too(batch):
    recipe = ViewSynthesis(SMALL, settle=0.2)
    modules = recipe.modules()
    requests = recipe.requests(0, AVAILABLE)
    total, _ = recipe.loss(modules, [batch], requests, at(10))
    total.backward()
    assert all(p.grad is None for p in modules["student"].parameters())
    assert modules["pose"].head.weight.grad.abs().max() > 0
    total, parts = recipe.loss(modules, [batch], requests, at(20))
    total.backward()
    assert modules["student"].decoder.head.weight.grad.abs().max() > 0
    expected = parts["photometric"] + 1e-3 * parts["smoothness"] + 0.05 * parts["road"]
    torch.testing.assert_close(total, expected)


def test_it_asks_for_neighbours_and_no_label():
    (request,) = ViewSynthesis(SMALL, sensors=("spikes",)).requests(3, AVAILABLE)
    assert request.reference == "spikes"
    assert set(request.sensors) == {"spikes", "rgb"}
    assert request.neighbours == (-1, 1)
    assert request.depth == ()
    with pytest.raises(ValueError, match=r"needs samples with \['rgb'\]"):
        ViewSynthesis(SMALL, sensors=("spikes",)).requests(3, {"source": ("spikes",)})


def test_odometry_is_the_motion_of_the_rgb_camera(street):
    """In a mirrored picture, as seen there. 0.4 m forward and a turn about the rig's own centre, 0.5 m to the left."""
    batch = batch_of(drive(3, beside_m=0.5, yaw_step=0.1), (1,))
    recipe = ViewSynthesis(SMALL, motion="odometry")
    before, after = (m[0].double() for m in recipe.odometry(batch))
    world = [torch.from_numpy(s.world_from_reference @ s.rig.reference_from("rgb")) for s in drive(3, 0.4, 0.5, 0.1)]
    point = torch.tensor([1.0, 0.5, 8.0, 1.0], dtype=torch.float64)
    for motion, other in ((before, world[0]), (after, world[2])):
        torch.testing.assert_close(other @ motion @ point, world[1] @ point, atol=1e-5, rtol=0)
    flips = {}
    for seed in range(6):
        camera, _ = recipe.random_camera(batch, "spikes", seeded(seed))
        views = recipe.views(batch, seeded(seed))
        flips[bool(views.inputs.camera[0, 2] != camera[0, 2])] = views.odometry[1][0].double()
    mirror = torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))
    torch.testing.assert_close(flips[True] @ mirror @ point, mirror @ after @ point, atol=1e-4, rtol=0)
    torch.testing.assert_close(flips[False], after)


def test_poses_are_asked_for_where_they_are_needed(street):
    lost = [dataclasses.replace(sample, world_from_reference=None) for sample in street]
    batch = batch_of(lost, (1, 2))
    assert ViewSynthesis(SMALL).odometry(batch) is None
    for settings in ({"motion": "odometry"}, {"speed_weight": 0.1}):
        with pytest.raises(ValueError, match="world_from_reference"):
            ViewSynthesis(SMALL, **settings).odometry(batch)


def test_the_speed_anchor_is_the_difference_to_the_distance_driven(batch):
    recipe = ViewSynthesis(SMALL, speed_weight=2.0, settle=0.0)
    modules = recipe.modules()
    with torch.no_grad():
        for parameter in modules["pose"].head.parameters():
            parameter.zero_()  # it says that nothing moves: all of the way is missing
    total, parts = recipe.loss(modules, [batch], recipe.requests(0, AVAILABLE), at(50))
    ways = [m[:, :3, 3].norm(dim=1) for m in recipe.odometry(batch)]
    assert parts["speed"].item() == pytest.approx(torch.stack(ways).mean().item(), rel=1e-5)
    without = parts["photometric"] + 1e-3 * parts["smoothness"] + 0.05 * parts["road"]
    torch.testing.assert_close(total, without + 2.0 * parts["speed"])


def test_the_lane_is_the_road_near_ahead(batch):
    lane = lane_ahead(torch.tensor([[80.0, 80.0, 48.0, 32.0]]), torch.tensor([1.6]), (64, 96))[0]
    for v, u in lane.nonzero().tolist():
        depth = 1.6 * 80 / (v - 32)
        assert 0 < depth < 15
        assert abs(u - 48) / 80 * depth < 1.5
    assert lane[45, 48]  # 9.8 m ahead
    assert not lane[45, 62]  # and 1.7 m to the side
    assert not lane[39, 48]  # 18 m ahead


def test_rgb_fades_between_the_networks_two_answers(batch):
    torch.manual_seed(0)
    network = DepthNetwork(SMALL).eval()
    torch.nn.init.normal_(network.decoder.head.weight, std=0.1)
    inputs = SelfDistillation(SMALL).views(batch, seeded(0)).inputs
    both = network(inputs).log_depth
    alone = network(dataclasses.replace(inputs, images={"spikes": inputs.images["spikes"]})).log_depth
    assert (both - alone).abs().max() > 1e-3
    torch.testing.assert_close(with_less_rgb(network, inputs, 1.0).log_depth, both)
    torch.testing.assert_close(with_less_rgb(network, inputs, 0.0).log_depth, alone)
    half = with_less_rgb(network, inputs, 0.5).features[0]
    ends = [with_less_rgb(network, inputs, share).features[0] for share in (0.0, 1.0)]
    torch.testing.assert_close(half, (ends[0] + ends[1]) / 2)
    recipe = SelfDistillation(SMALL, fade=0.5)
    assert [recipe.rgb_share(at(k)) for k in (0, 25, 50, 75)] == [1.0, 0.5, 0.0, 0.0]
    assert SelfDistillation(SMALL, fade=0.0).rgb_share(at(0)) == 0.0


def test_the_gate_opens_where_the_teacher_explains_the_frames_better_or_nobody_knows():
    inf = math.inf
    teacher = torch.tensor([[[0.1, 0.3, 0.2, inf, 0.1]]])
    student = torch.tensor([[[0.2, 0.2, 0.2, 0.1, inf]]])
    assert better_explained(teacher, student).tolist() == [[[True, False, True, True, True]]]
    mask = torch.tensor([[[True, True, False, False], [True, False, True, False]]])
    assert mostly(mask, (1, 2)).tolist() == [[[True, False]]]


def prediction_of(depth, seed, gradient=False):
    generator = seeded(seed)
    sizes = [(8, 8, 12), (8, 4, 6), (16, 2, 3), (16, 1, 2), (16, 1, 1)]
    features = [torch.rand(2, *size, generator=generator).requires_grad_(gradient) for size in sizes]
    log_depth = torch.full((2, 16, 24), math.log(depth)).requires_grad_(gradient)
    return Prediction(log_depth, torch.full((2, 16, 24), -1.0).requires_grad_(gradient), features)


def test_each_term_is_its_formula_and_no_term_moves_a_teacher_that_does_not_listen():
    student, teacher = prediction_of(10.0, 0, True), prediction_of(8.0, 1, True)
    mask = torch.ones(2, 16, 24, dtype=torch.bool)
    recipe = SelfDistillation(
        SMALL, connectors=False, feature_weight=0.3, activation_weight=0.7, depth_weight=1.5, uncertainty_weight=0.2
    )
    total, parts = recipe.distillation(torch.nn.ModuleDict(), student, teacher, mask, mask)
    pairs = list(zip(student.features, teacher.features, strict=True))
    features = sum(((s - t) ** 2).mean() / (t**2).mean() for s, t in pairs)
    torch.testing.assert_close(parts["features"], features, rtol=1e-4, atol=0)
    active = sum(
        (torch.sigmoid(10 * (s - 0.5)) - (t > t.mean((1, 2, 3), keepdim=True)).float()).abs().mean() for s, t in pairs
    )
    torch.testing.assert_close(parts["activations"], active)
    # A constant factor has no variance: 2 sqrt(0.15) |log ratio| is left.
    assert parts["depth"].item() == pytest.approx(2 * math.sqrt(0.15) * math.log(10 / 8), rel=0.02)
    assert parts["uncertainty"].item() == pytest.approx(math.log(10 / 8) * math.e - 1, rel=1e-4)
    expected = 0.3 * parts["features"] + 0.7 * parts["activations"] + 1.5 * parts["depth"] + 0.2 * parts["uncertainty"]
    torch.testing.assert_close(total, expected)
    total.backward()
    assert all(f.grad is not None for f in student.features)
    assert all(f.grad is None for f in teacher.features)
    assert teacher.log_depth.grad is None
    # The published offset of 0.1 / m: log(1/10 + 0.1) - log(1/8 + 0.1).
    _, published = dataclasses.replace(recipe, depth_offset=0.1).distillation(
        torch.nn.ModuleDict(), student, teacher, mask, mask
    )
    assert published["depth"].item() == pytest.approx(2 * math.sqrt(0.15) * math.log(0.225 / 0.2), rel=0.03)


def test_nothing_is_distilled_where_the_gate_is_shut():
    student, teacher = prediction_of(10.0, 0), prediction_of(8.0, 1)
    student.features, teacher.features = student.features[:1], teacher.features[:1]
    mask = torch.ones(2, 16, 24, dtype=torch.bool)
    mask[:, :, 12:] = False
    recipe = SelfDistillation(SMALL, connectors=False)
    seen = torch.ones_like(mask)
    _, parts = recipe.distillation(torch.nn.ModuleDict(), student, teacher, mask, seen)
    student.log_depth[:, :, 12:] += 3.0
    student.features[0][..., 6:] += 3.0
    _, again = recipe.distillation(torch.nn.ModuleDict(), student, teacher, mask, seen)
    for name in ("features", "activations", "depth"):
        torch.testing.assert_close(again[name], parts[name])


GRADIENTS = {
    "frozen": (False, False),
    "ema": (False, True),
    "online": (True, False),
    "mutual": (True, False),
}


@pytest.mark.parametrize("mode", GRADIENTS)
def test_who_learns_in_which_mode(mode, batch):
    """After RGB has faded: (the teacher, the student's own RGB stem)."""
    recipe = SelfDistillation(SMALL, teaching=Teaching(mode))
    torch.manual_seed(0)
    modules = recipe.modules(DepthNetwork(SMALL))
    for name, module in modules.items():
        module.train(name != "teacher" or recipe.teaching.learns)
    total, parts = recipe.loss(modules, [batch], recipe.requests(0, AVAILABLE), at(80))
    total.backward()

    def learns(module):
        return any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in module.parameters())

    student, teacher = modules["student"], modules["teacher"]
    assert (learns(teacher), learns(student.encoder.stems["rgb"])) == GRADIENTS[mode]
    for module in (student.encoder.stems["spikes"], modules["pose"], modules["features"], modules["activations"]):
        assert learns(module)
    assert {"photometric", "fused_photometric", "features", "activations", "depth", "gate"} <= parts.keys()
    assert 0 < parts["gate"] < 1


def test_a_teacher_that_does_not_learn_sees_the_pictures_as_they_are(batch):
    told = {}
    for jitter in (0.0, 0.5):
        recipe = SelfDistillation(SMALL, jitter=jitter)
        torch.manual_seed(0)
        modules = recipe.modules(DepthNetwork(SMALL))
        modules["teacher"].register_forward_pre_hook(lambda _, inputs, jitter=jitter: told.update({jitter: inputs[0]}))
        step = Step(80, 100, seeded(3))
        recipe.loss(modules, [batch], recipe.requests(0, AVAILABLE), step)
    assert all(torch.equal(told[0.0].images[s], told[0.5].images[s]) for s in ("spikes", "rgb"))


def test_nothing_is_distilled_where_nothing_is_in_sight(batch):
    """The canvas of a distant zoom is mostly blank: of that no teacher can know anything."""
    recipe = SelfDistillation(SMALL, zoom=(0.5, 0.5), motion="odometry")
    torch.manual_seed(0)
    modules = recipe.modules(DepthNetwork(SMALL))
    asked = []
    plain = recipe.distillation
    recipe.distillation = lambda modules, student, teacher, mask, seen: (
        asked.append((mask, seen)) or plain(modules, student, teacher, mask, seen)
    )
    recipe.loss(modules, [batch], recipe.requests(0, AVAILABLE), at(80))
    ((mask, seen),) = asked
    assert 0.2 < seen.float().mean() < 0.35  # a quarter, less rounding to whole strides
    assert not (mask & ~seen).any()


def test_mutual_teachers_are_drawn_to_the_student():
    student, teacher = prediction_of(10.0, 0, True), prediction_of(8.0, 1, True)
    mask = torch.ones(2, 16, 24, dtype=torch.bool)
    recipe = SelfDistillation(SMALL, connectors=False, teaching=Teaching("mutual"))
    recipe.distillation(torch.nn.ModuleDict(), student, teacher, mask, mask)[0].backward()
    assert (teacher.log_depth.grad < 0).all()  # it says 8 m, the student 10: downhill is farther
    assert (student.log_depth.grad > 0).all()
    assert all(feature.grad is not None for feature in teacher.features)


def test_the_motion_is_learned_from_the_frames():
    """On an open road, by the level road's depth alone: forward is forward."""
    batch = batch_of(drive(5, size=(32, 64), wall_m=100.0), (1, 2, 3))
    recipe = ViewSynthesis(SMALL, sensors=("rgb",), settle=1.0, zoom=(1.0, 1.0), jitter=0.0)
    trainer = Trainer(recipe, LoopOptions(steps=20, learning_rate=3e-3))
    depth_before = {k: v.clone() for k, v in trainer.student.named_parameters()}
    losses = [float(trainer.step([batch], recipe.requests(i, AVAILABLE))["photometric"]) for i in range(20)]
    assert sum(losses[-5:]) < 0.92 * sum(losses[:5])
    before, after = recipe.motions(trainer.modules, recipe.views(batch, seeded(0)))
    assert (before[:, 2, 3] > 0.1).all()
    assert (after[:, 2, 3] < -0.1).all()
    assert all(torch.equal(v, depth_before[k]) for k, v in trainer.student.named_parameters())


def test_depth_is_learned_without_a_label(street):
    """The level road knows nothing of walls; the frames do."""
    batch = batch_of(street, (1, 3))
    recipe = ViewSynthesis(SMALL, sensors=("rgb",), motion="odometry", zoom=(1.0, 1.0), jitter=0.0)
    trainer = Trainer(recipe, LoopOptions(steps=30, learning_rate=5e-3))

    def score():
        return mean_abs_rel(trainer.student.eval(), [batch], "rgb", ("rgb",), torch.device("cpu"))

    first = score()
    trainer.student.train()
    for i in range(30):
        trainer.step([batch], recipe.requests(i, AVAILABLE))
    assert trainer.skipped == 0
    assert score() < 0.6 * first


@pytest.fixture(scope="module")
def folder(street, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drive")
    for i, sample in enumerate(street):
        save_sample(sample_path(folder, i), sample)
    return folder


def test_both_stages_run_and_resume_to_the_same_weights(folder, tmp_path):
    def run(out, **changes):
        return TrainingRun(
            recipe=stages[0].recipe,
            options=LoopOptions(steps=4, batch_size=2),
            data={"source": SampleFolders([folder])},
            validations={},
            out=out,
            device=torch.device("cpu"),
            workers=0,
            validate_every=100,
            **changes,
        )

    stages = r2sdepth_stages(SMALL, seed=3, fused_share=0.5, settle=0.3, teaching=Teaching("online"))
    assert [stage.keep for stage in stages] == ["last", "last"]
    assert run_stages(stages, run(tmp_path / "whole"))
    pieces = run(tmp_path / "pieces", time_limit_s=0.0)
    calls = 0
    while not run_stages(stages, pieces):
        calls += 1
        assert calls < 5
    assert calls == 2  # a step each, and the first of a stage with the last of the one before
    whole, again = (load_checkpoint(tmp_path / name / "checkpoint") for name in ("whole", "pieces"))
    for key, value in whole[0].state_dict().items():
        assert torch.equal(value, again[0].state_dict()[key]), key
    assert whole[0].state_dict().keys() == DepthNetwork(SMALL).state_dict().keys()
    assert whole[1].training["recipe"] == "self_distillation"
    fused = json.loads((tmp_path / "whole" / "1_view_synthesis" / "checkpoint.json").read_text())
    assert whole[1].parent == fused["sha256"]


def test_the_trainings_it_is_compared_with():
    for branch, sensors in (("spikes", ("spikes",)), ("rgb", ("rgb",)), ("fused", ("spikes", "rgb"))):
        (stage,) = r2sdepth_stages(SMALL, 1, branch, motion="odometry")
        assert (stage.recipe.sensors, stage.share, stage.recipe.motion) == (sensors, 1.0, "odometry")
    first, second = r2sdepth_stages(SMALL, gate=False, scales=2)
    assert (first.recipe.scales, second.recipe.scales, second.recipe.gate) == (2, 2, False)
    assert first.share + second.share == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: r2sdepth_stages(SMALL, branch="thermal"), "'thermal'"),
        (lambda: r2sdepth_stages(SMALL, gait=True), "gait"),
        (lambda: ViewSynthesis(SMALL, sensors=("nir",)), "'nir'"),
        (lambda: ViewSynthesis(SMALL, motion="guess"), "'guess'"),
        (lambda: ViewSynthesis(SMALL, offsets=(0, 1)), r"\(0, 1\)"),
        (lambda: SelfDistillation(SMALL, sensors=("spikes",)), "spikes"),
        (lambda: SelfDistillation(SMALL, surrogate="step"), "'step'"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
