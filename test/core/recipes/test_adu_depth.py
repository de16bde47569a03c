"""ADU-Depth: a teacher that matches two pictures, and a student that learns from it with each part on or off."""

import dataclasses
import math

import pytest
import torch

from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.networks.stereo import StereoNetwork
from spike_depth_core.recipes import RECIPES
from spike_depth_core.recipes.adu_depth import AduDepth, ResponseFromTruth, StereoTeacher
from spike_depth_core.recipes.recipe import Step
from spike_depth_core.recipes.teaching import Teaching
from spike_depth_core.samples.batch import collate
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.training.data import SampleFolders
from spike_depth_core.training.loop import LoopOptions, Trainer
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.stages import run_stages
from spike_depth_core.training.validation import Validation
from test.core.factories import stereo_sample, wall_pair

SMALL = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 16, 16, 16), trunk_blocks=1, pixels=64 * 96)
RGB = dataclasses.replace(SMALL, sensors=("rgb",))
AVAILABLE = {"source": ("spikes", "rgb", "nir", "spikes_right", "rgb_right")}
OPTIONS = LoopOptions(steps=10, learning_rate=5e-3)


def teacher_network(architecture=SMALL, seed=0):
    torch.manual_seed(seed)
    network = StereoNetwork(dataclasses.replace(architecture, stereo=True))
    torch.nn.init.normal_(network.decoder.head.weight, std=0.1)
    return network


@pytest.fixture(scope="module")
def batch():
    return collate([stereo_sample(i) for i in range(2)])


def gradients(module):
    return {name: p.grad is not None and bool(p.grad.abs().sum() > 0) for name, p in module.named_parameters()}


def prediction(log_depth, log_scale=0.0, gradient=False):
    depth = torch.tensor(log_depth, dtype=torch.float32).reshape(1, 1, -1).requires_grad_(gradient)
    return Prediction(depth, torch.full_like(depth, log_scale).detach(), [])


def test_pairs_are_asked_for_and_depth_in_the_left_frame():
    recipe = AduDepth(SMALL)
    seen = set()
    for step in range(40):
        (request,) = recipe.requests(step, AVAILABLE)
        lefts = [s for s in request.sensors if not s.endswith("_right")]
        assert [s for s in request.sensors if s.endswith("_right")] == [f"{s}_right" for s in lefts]
        assert request.reference in lefts
        assert request.depth == (request.reference,)
        seen.add(tuple(lefts))
    assert seen == {("spikes",), ("rgb",), ("spikes", "rgb")}
    with pytest.raises(ValueError, match="right-hand images; found"):
        StereoTeacher(SMALL).requests(0, {"source": ("spikes", "rgb", "nir_right")})


def test_what_the_teacher_learns_no_single_picture_shows():
    """Walls at depths that nothing but the shift tells: without a second eye the best is the middle of ln 3 and ln 12,
    off by ln 2 in the mean."""
    walls = [collate([wall_pair(z, seed=10 * i + k) for k, z in enumerate((3.0, 12.0))]) for i in range(4)]
    recipe = StereoTeacher(RGB, zoom=(1.0, 1.0), jitter=0.0, edge_weight=0.0)
    trainer = Trainer(recipe, LoopOptions(steps=60, learning_rate=1e-2))
    losses = []
    for step in range(60):
        requests = recipe.requests(step, {"source": ("rgb", "rgb_right")})
        losses.append(float(trainer.step([walls[step % 4]], requests)["l1"]))
    assert trainer.skipped == 0
    assert sum(losses[-8:]) / 8 < 0.5 * math.log(2)


def test_response_is_its_formula_pixel_by_pixel():
    """Three pixels, phi, lambda u, trust and credibility written out; sky and what is out of sight are left out."""
    student = prediction([math.log(12.0), math.log(20.0), math.log(7.0), 3.0, 0.0], gradient=True)
    student.log_scale = torch.tensor([[[0.0, 1.0, -1.0, 4.0, 4.0]]])
    teacher = prediction([math.log(10.0), math.log(30.0), math.log(7.0), 4.0, 1.0], -0.5, gradient=True)
    truth = torch.tensor([[[11.0, torch.nan, 7.0, torch.inf, 5.0]]])
    seen = torch.tensor([[[True, True, True, True, False]]])
    recipe = AduDepth(SMALL, focal_power=2.0, guide_response=2.0)
    mean = (0.0 + 1.0 - 1.0 + 4.0 + 4.0) / 5
    hard, believed, distance = [], [], []
    for s, (d, t, true) in zip((0.0, 1.0, -1.0), ((12, 10, 11), (20, 30, None), (7, 7, 7)), strict=True):
        phi = (1 - math.exp(-abs(d - t) / t)) ** 2
        hard.append(phi * (1 + 2 / (1 + math.exp(-(s - mean)))))
        credible = 1 if true is None else math.exp(-abs(t - true) / true)
        believed.append(credible / (1 + math.exp(-(s + 0.5))))
        distance.append(abs(math.log(d / t)))
    scale = sum(hard) / 3
    expected = sum(h / scale * c * x for h, c, x in zip(hard, believed, distance, strict=True)) / 3
    found = recipe.response_loss(student, teacher, truth, seen)
    assert found.item() == pytest.approx(expected, rel=1e-4)
    found.backward()
    assert teacher.log_depth.grad is None
    assert (student.log_depth.grad[0, 0] != 0).tolist() == [True, True, False, False, False]
    plain = AduDepth(SMALL, focal="none", guide_response=0.0, screen=False)
    assert plain.response_loss(student, teacher, truth, seen).item() == pytest.approx(sum(distance) / 3, rel=1e-4)


def test_features_are_compared_through_the_adapters_and_guided_by_uncertainty():
    """A map of two positions, unsure on the left: there an error costs more, the more so the larger lambda."""
    feature = torch.zeros(1, 4, 1, 2)
    feature[..., 1] = 1.0
    off = {side: feature.clone() for side in (0, 1)}
    for side, changed in off.items():
        changed[..., side] += 1.0
    log_scale = torch.tensor([[[2.0, 2.0, -2.0, -2.0]]])
    teacher = Prediction(log_scale, torch.full_like(log_scale, -1.0), [feature])

    def cost(side, seen=(True,) * 4, **settings):
        recipe = AduDepth(SMALL, levels=(0,), **settings)
        adapters = torch.nn.ModuleDict({"0": torch.nn.Identity()})
        student = Prediction(log_scale, log_scale, [off[side]])
        return float(recipe.feature_loss(student, teacher, adapters, torch.tensor([[seen]])))

    plain = 0.5 / 0.25  # half of the positions off by one; the variance of 0 and 1 is a quarter
    assert cost(0, guide_features=0.0) == pytest.approx(plain)
    unsure, sure = (1 + 3 / (1 + math.exp(-s)) for s in (2, -2))
    middle = (unsure + sure) / 2
    assert cost(0, guide_features=3.0, trust=False) == pytest.approx(plain * unsure / middle, rel=1e-5)
    assert cost(1, guide_features=3.0, trust=False) == pytest.approx(plain * sure / middle, rel=1e-5)
    believed = 1 / (1 + math.exp(-(2.0 + 1.0)))
    assert cost(0, guide_features=3.0) == pytest.approx(plain * unsure / middle * believed, rel=1e-5)
    assert cost(1, seen=(True, True, False, False)) == 0.0  # of what nobody sees nothing is to be known


@pytest.mark.parametrize("mode", ["frozen", "online", "mutual"])
def test_who_learns_from_whom(mode, batch):
    """The student and its adapters always learn; the teacher by its own truth alone, or towards the student too."""
    torch.manual_seed(0)
    recipe = AduDepth(SMALL, teaching=Teaching(mode), ramp=0.0)
    trainer = Trainer(recipe, OPTIONS, start=teacher_network())
    requests = recipe.requests(0, AVAILABLE)
    before = {k: v.clone() for k, v in trainer.modules["teacher"].state_dict().items()}
    trainer.step([batch], requests)
    assert trainer.skipped == 0
    assert set(trainer.modules) == {"student", "teacher", "adapters"}
    assert gradients(trainer.student)["decoder.head.weight"]
    assert all(gradients(trainer.modules["adapters"])[f"{level}.out.weight"] for level in (2, 3, 4))
    moved = {k for k, v in trainer.modules["teacher"].state_dict().items() if not torch.equal(v, before[k])}
    assert bool(moved) == (mode != "frozen")
    assert trainer.modules["teacher"].training == (mode != "frozen")
    assert not any(k.startswith(("adapters", "matchings")) for k in trainer.student.state_dict())

    # Without truth an online teacher has nothing to learn from; a mutual one has its student.
    batch = dataclasses.replace(batch, depth={k: torch.full_like(v, torch.nan) for k, v in batch.depth.items()})
    trainer = Trainer(recipe, OPTIONS, start=teacher_network())
    total, parts = recipe.loss(trainer.modules, [batch], requests, Step(5, 10, torch.Generator().manual_seed(0)))
    total.backward()
    assert gradients(trainer.student)["decoder.head.weight"]
    assert any(gradients(trainer.modules["teacher"]).values()) == (mode == "mutual")
    assert float(parts["response"].detach()) > 0


@pytest.mark.parametrize("mode", ["frozen", "online"])
def test_a_frozen_teacher_sees_the_pictures_as_they_are(mode, batch):
    recipe = AduDepth(SMALL, teaching=Teaching(mode), jitter=1.0)
    modules = recipe.modules(teacher_network())
    seen = {}
    for who in ("student", "teacher"):
        modules[who].register_forward_pre_hook(lambda _, given, who=who: seen.update({who: given[0].images}))
    requests = recipe.requests(0, AVAILABLE)
    recipe.loss(modules, [batch], requests, Step(5, 10, torch.Generator().manual_seed(3)))
    changed, clean, _ = recipe.view(batch, requests[0], torch.Generator().manual_seed(3))
    shown = clean if mode == "frozen" else changed
    for sensor, image in seen["student"].items():
        torch.testing.assert_close(image, changed.images[sensor])
        for eye in (sensor, f"{sensor}_right"):
            torch.testing.assert_close(seen["teacher"][eye], shown.images[eye])
            assert not torch.equal(clean.images[eye], changed.images[eye])


def test_parts_that_are_off_leave_no_module_and_the_same_student():
    """Rows of an ablation begin with the same weights, whatever else they have."""
    begun, taught = [], teacher_network(seed=1)
    for settings in ({"response": 0.0, "features": 0.0}, {"features": 0.0}, {"adapter": "linear"}, {}):
        torch.manual_seed(7)
        modules = AduDepth(SMALL, **settings).modules(taught)
        begun.append(modules)
    assert [set(m) for m in begun] == [
        {"student"},
        {"student", "teacher"},
        {"student", "teacher", "adapters"},
        {"student", "teacher", "adapters"},
    ]
    first = begun[0]["student"].state_dict()
    for modules in begun[1:]:
        assert all(torch.equal(v, first[k]) for k, v in modules["student"].state_dict().items())
    known = taught.state_dict()
    assert all(torch.equal(v, known[k]) for k, v in begun[1]["teacher"].state_dict().items())
    inherited = AduDepth(SMALL, inherit=True).modules(taught)["student"].state_dict()
    assert all(torch.equal(v, known[k]) for k, v in inherited.items())


def test_truth_in_the_place_of_a_teacher_adds_its_focal_error_and_nothing_else(batch):
    recipe, alone = ResponseFromTruth(RGB), AduDepth(RGB, response=0.0, features=0.0)
    torch.manual_seed(0)
    modules = recipe.modules()
    torch.nn.init.normal_(modules["student"].decoder.head.weight, std=0.1)
    assert set(modules) == {"student"}
    request = recipe.requests(0, AVAILABLE)
    totals = {}
    for one in (recipe, alone):
        step = Step(5, 10, torch.Generator().manual_seed(3))
        totals[one.name], parts = one.loss(modules, [batch], request, step)
        if one is recipe:
            response = parts["response"]
    inputs, _, truth = recipe.view(batch, request[0], torch.Generator().manual_seed(3))
    with torch.no_grad():
        answer = modules["student"](dataclasses.replace(inputs, images={"rgb": inputs.images["rgb"]})).depth
    known = torch.isfinite(truth) & (truth >= 0.5) & (truth <= 100)
    error = ((answer - truth) / truth).abs()[known]
    phi = (1 - torch.exp(-error)) ** 2
    expected = (phi / phi.mean() * torch.log(answer / truth).abs()[known]).mean()
    torch.testing.assert_close(response.detach(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(totals["response_from_truth"] - totals["adu_depth"], response)


def test_the_ramp_lets_distillation_in_slowly(batch):
    recipe = AduDepth(SMALL, ramp=0.5, uncertainty_weight=0.0, edge_weight=0.0, sky_weight=0.0)
    torch.manual_seed(0)
    modules = recipe.modules(teacher_network())
    for module in modules.values():
        module.eval()
    requests = recipe.requests(0, AVAILABLE)
    for number, share in ((0, 0.0), (2, 0.4), (5, 1.0), (9, 1.0)):
        total, parts = recipe.loss(modules, [batch], requests, Step(number, 10, torch.Generator().manual_seed(1)))
        extra = share * (parts["response"] + 0.1 * parts["features"])
        assert float(total.detach()) == pytest.approx(float(parts["l1"] + extra), rel=1e-5)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="'frozen', 'online' or 'mutual'"):
        AduDepth(SMALL, teaching=Teaching("ema"))
    with pytest.raises(ValueError, match="checkpoint of adu_depth_teacher"):
        AduDepth(SMALL).modules()
    with pytest.raises(ValueError, match="no stereo teacher"):
        AduDepth(SMALL, inherit=True, teaching=Teaching("online")).modules()
    with pytest.raises(ValueError, match="differ in more than"):
        AduDepth(SMALL).modules(teacher_network(RGB))
    for settings, named in (({"focal": "x"}, "'x'"), ({"adapter": "y"}, "'y'"), ({"levels": (5,)}, r"\(5,\)")):
        with pytest.raises(ValueError, match=named):
            AduDepth(SMALL, **settings)
    for settings in ({"features": 0.1}, {"guide_response": 1.0}):
        with pytest.raises(ValueError, match="neither features nor an uncertainty"):
            ResponseFromTruth(SMALL, **settings)
    start = DepthNetwork(SMALL)
    modules = AduDepth(SMALL, teaching=Teaching("online")).modules(start)
    assert modules["student"] is start  # a teacher that learns can be new, the student need not be


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for i in range(4):
        save_sample(sample_path(folder, i), stereo_sample(i))
    return folder


def make_run(folder, out, recipe, **changes):
    return TrainingRun(
        recipe=recipe,
        options=LoopOptions(steps=8, batch_size=2, learning_rate=5e-3),
        data={"source": SampleFolders([folder])},
        validations={"pairs": Validation(folder, [("rgb",), ("rgb", "rgb_right")], limit=2)},
        out=out,
        device=torch.device("cpu"),
        workers=0,
        validate_every=4,
        **changes,
    )


def test_two_stages_give_a_student_of_one_eye_and_resume_to_the_bit(folder, tmp_path):
    stages = RECIPES["adu_depth"](SMALL, 0, focal="range", jitter=0.2)
    assert [stage.recipe.jitter for stage in stages] == [0.2, 0.2]
    run = make_run(folder, tmp_path / "whole", stages[0].recipe)
    assert run_stages(stages, run)
    teacher, _ = load_checkpoint(tmp_path / "whole" / "1_adu_depth_teacher" / "checkpoint.safetensors")
    student, info = load_checkpoint(tmp_path / "whole" / "checkpoint.safetensors")
    assert isinstance(teacher, StereoNetwork)
    assert student.state_dict().keys() == DepthNetwork(SMALL).state_dict().keys()
    assert list(info.training["validation_abs_rel"]) == ["pairs/rgb"]  # a set each network can use
    pieces = make_run(folder, tmp_path / "pieces", stages[0].recipe, time_limit_s=0.0)
    while not run_stages(stages, pieces):
        pass
    again, _ = load_checkpoint(tmp_path / "pieces" / "checkpoint.safetensors")
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in student.state_dict().items())


def test_teacher_and_student_start_from_the_network_that_the_training_begins_with(folder, tmp_path):
    torch.manual_seed(5)
    start = DepthNetwork(SMALL)
    torch.nn.init.normal_(start.decoder.head.weight, std=0.1)
    begun = {name: value.clone() for name, value in start.state_dict().items() if name.endswith("weight")}
    stages = RECIPES["adu_depth"](SMALL, 0)
    run = make_run(folder, tmp_path, stages[0].recipe, start=start, parent="abc")
    run.options = LoopOptions(steps=2, batch_size=2, learning_rate=1e-7)  # who starts there is still there
    assert run_stages(stages, run)
    for kept in ("1_adu_depth_teacher", "2_adu_depth"):
        weights = load_checkpoint(tmp_path / kept / "checkpoint.safetensors")[0].state_dict()
        assert all(torch.allclose(weights[name], value, rtol=0.002, atol=1e-5) for name, value in begun.items()), kept


def test_without_a_stage_of_its_own_the_teacher_learns_beside_the_student(folder, tmp_path):
    (stage,) = RECIPES["adu_depth"](SMALL, 0, teacher_share=0, teaching=Teaching("mutual"))
    assert run_stages((stage,), make_run(folder, tmp_path, stage.recipe))
    network, _ = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert network.architecture == SMALL
