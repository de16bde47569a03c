"""Align and fuse: what each stage asks for, whom its losses reach, and that a network trained in both stages is one."""

import dataclasses

import pytest
import torch

from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.preprocess import NetworkInput, network_camera, prepare
from spike_depth_core.recipes import RECIPES
from spike_depth_core.recipes.align_and_fuse import Align, Fuse, align_and_fuse_stages
from spike_depth_core.recipes.recipe import Step
from spike_depth_core.samples.batch import collate
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.training.data import SampleFolders
from spike_depth_core.training.loop import LoopOptions, Trainer
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.stages import run_stages
from spike_depth_core.training.validation import Validation
from test.core.factories import small_sample

SENSORS = ("spikes", "rgb", "thermal")
SMALL = Architecture(sensors=SENSORS, widths=(8, 8, 16, 16, 16), trunk_blocks=1, pixels=64 * 96, fusion="similarity")
AVAILABLE = {"source": ("spikes", "rgb", "nir", "thermal"), "target": ("spikes", "thermal")}


@pytest.fixture(scope="module")
def batch():
    return collate([small_sample(i, planes=16) for i in range(2)])


def step(number=0, total=10):
    return Step(number, total, torch.Generator().manual_seed(number))


def read(batch, request):
    """What the loader would read of the batch for a request."""
    return dataclasses.replace(
        batch,
        images={s: batch.images[s] for s in request.sensors},
        depth={s: batch.depth[s] for s in request.depth},
    )


def loss_of(recipe, modules, batch, number=0):
    requests = recipe.requests(number, AVAILABLE)
    return recipe.loss(modules, [read(batch, requests[0])], requests, step(number))


def start(seed=0, fusion="similarity"):
    torch.manual_seed(seed)
    network = DepthNetwork(dataclasses.replace(SMALL, fusion=fusion))
    torch.nn.init.normal_(network.decoder.head.weight, std=0.05)
    return network


def test_align_asks_for_every_sensor_and_its_depth_and_draws_its_anchor():
    recipe = Align(SMALL, learn_from=("source", "target"))
    requests = [recipe.requests(i, AVAILABLE)[0] for i in range(60)]
    assert requests == [recipe.requests(i, AVAILABLE)[0] for i in range(60)]
    assert recipe.domains == ("source", "target")
    for domain, sensors in (("source", SENSORS), ("target", ("spikes", "thermal"))):
        drawn = [r for r in requests if r.domain == domain]
        assert len(drawn) > 15
        assert {r.reference for r in drawn} == set(sensors)
        assert all(r.sensors == r.depth == sensors for r in drawn)
    with pytest.raises(ValueError, match="'source' has"):
        Align(SMALL).requests(0, {"source": ("nir",)})


def test_fuse_drops_sensors_but_never_leaves_one_alone():
    requests = [Fuse(SMALL, dropout=0.5).requests(i, AVAILABLE)[0] for i in range(80)]
    sets = {r.sensors for r in requests}
    assert sets == {("spikes", "rgb"), ("spikes", "thermal"), ("rgb", "thermal"), SENSORS}
    for request in requests:
        assert request.depth[0] == request.reference
        assert len(request.depth) == 2
        assert set(request.depth) <= set(request.sensors)
    whole = [Fuse(SMALL, dropout=0.0, anchors=9).requests(i, AVAILABLE)[0] for i in range(20)]
    assert {r.sensors for r in whole} == {SENSORS}
    assert {frozenset(r.depth) for r in whole} == {frozenset(SENSORS)}
    with pytest.raises(ValueError, match="two sensors"):
        Fuse(SMALL).requests(0, {"source": ("rgb",)})


def test_all_sensors_and_their_truths_see_one_road(batch):
    """Mirrored or not, zoomed or not: from each sensor's place, its own height over the slope of the ray."""
    recipe = Align(SMALL)
    for number in range(4):
        (request,) = recipe.requests(number, AVAILABLE)
        inputs, truth = recipe.places(read(batch, request), request, step(number).generator)
        for place, sensor in enumerate(request.depth):
            height = inputs.seen_from(sensor).height
            slope = (torch.arange(truth.shape[2])[None, :] - inputs.camera[:, 3:]) / inputs.camera[:, 1:2]
            own = truth[:, place]
            known = torch.isfinite(own) & (own < 20)
            assert known.float().mean() > 0.1
            # The truth is the sensor's nearest pixel; its ray may be off by half a pixel.
            half_pixel = 0.5 / batch.cameras[sensor][0, 1]
            off = 1.65 / own - slope[:, :, None] * 1.65 / height[:, None, None]
            if sensor != "thermal":  # the factory's road is 1.65 m below every camera, also below the higher one
                assert (off[known].abs() <= 1.05 * half_pixel).all()


def test_align_teaches_all_but_the_fusion(batch):
    recipe = Align(SMALL)
    modules = recipe.modules(start())
    total, parts = loss_of(recipe, modules, batch)
    assert set(parts) == {"l1", "edges", "sky", "uncertainty", "global", "local"}
    assert all(torch.isfinite(value) for value in parts.values())
    assert float(parts["local"].detach()) > 0
    contrast = 0.5 * parts["global"] + 0.5 * parts["local"]
    supervised = parts["l1"] + 0.5 * parts["edges"] + 0.2 * parts["sky"] + 0.1 * parts["uncertainty"]
    torch.testing.assert_close(total, supervised + recipe.align_weight * contrast)
    total.backward()
    for name, parameter in modules["student"].named_parameters():
        if name.startswith("fusions") or "nir" in name:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def contrast_gradients(recipe, batch, number=0):
    """By sensor, the gradient of (global term, local term) by its features at 1/16."""
    (request,) = recipe.requests(number, AVAILABLE)
    student = recipe.modules(start())["student"]
    inputs, _ = recipe.places(read(batch, request), request, step(number).generator)
    with torch.no_grad():
        features = {s: student.encode(inputs.alone(s))[s] for s in request.sensors}
        depth = {
            s: student.decode({s: f}, inputs.camera, inputs.seen_from(s).height).depth for s, f in features.items()
        }
    leaves = {s: f[3].requires_grad_() for s, f in features.items()}
    parts = recipe.alignment(features, depth, inputs, step().generator)
    found = {}
    for name in ("global", "local"):
        gradients = torch.autograd.grad(parts[name], list(leaves.values()), retain_graph=True, allow_unused=True)
        found[name] = {s: g is not None and bool((g != 0).any()) for s, g in zip(leaves, gradients, strict=True)}
        halves = {s: g[:, :8] for s, g in zip(leaves, gradients, strict=True) if g is not None}
        found[f"{name} shared"] = {s: bool((g != 0).any()) for s, g in halves.items()}
    return request.reference, found


def test_gradients_reach_both_sides_or_as_published_the_anchor_alone(batch):
    anchor, found = contrast_gradients(Align(SMALL), batch)
    assert all(all(reached.values()) for reached in found.values())
    published = Align(
        SMALL, gradients="anchor", query="rgb", elsewhere=0, occlusion=None, prefer={"thermal": 1.0, **_none()}
    )
    anchor, found = contrast_gradients(published, batch)
    assert anchor == "thermal"
    assert found["local"] == {"spikes": False, "rgb": False, "thermal": True}
    assert found["global shared"] == {"spikes": True, "rgb": False, "thermal": True}


def _none():
    return {"spikes": 0.0, "rgb": 0.0, "nir": 0.0}


def test_features_are_compared_where_the_anchors_depth_puts_them():
    """Maps of the same plane from two places: aligned when warped, at odds when the places are forgotten, and out of
    the comparison where the other sensor's depth says that it sees something else."""
    recipe = Align(SMALL, strides=(2,), query="spikes", elsewhere=8)
    size, depth = (64, 96), torch.full((1, 64, 96), 8.0)
    camera = torch.tensor([[80.0, 80.0, 47.5, 31.5]])
    centre = torch.tensor([[0.8, 0.0, 0.0]])  # 8 pixels at 8 m, 4 at 1/2
    images = {s: torch.ones(1, 2, *size) for s in ("spikes", "thermal")}
    centres = {"spikes": torch.zeros(1, 3), "thermal": centre}
    inputs = NetworkInput(images, camera, torch.full((1,), 1.65), centres, "spikes")
    wide = torch.rand(1, 8, 32, 60, generator=torch.Generator().manual_seed(0))
    features = {"spikes": [wide[..., :48]], "thermal": [wide[..., 4:52]]}
    depths = {"spikes": depth, "thermal": depth}

    def local(**changes):
        given = {"depth": depths, "inputs": inputs, **changes}
        return float(recipe.alignment(features, generator=step().generator, **given)["local"])

    here = dataclasses.replace(inputs, centres=dict.fromkeys(centres, torch.zeros(1, 3)))
    assert local() < local(inputs=here) - 1.0
    hidden = {**depths, "thermal": torch.full_like(depth, 3.0)}
    assert local(depth=hidden) == 0.0


def test_a_shared_network_that_is_not_aligned_and_one_of_a_single_sensor(batch):
    recipe = Align(SMALL, align_weight=0.0)
    _, parts = loss_of(recipe, recipe.modules(start()), batch)
    assert set(parts) == {"l1", "edges", "sky", "uncertainty"}
    single = Align(dataclasses.replace(SMALL, sensors=("rgb",)))
    total, parts = loss_of(single, single.modules(), batch)
    assert set(parts) == {"l1", "edges", "sky", "uncertainty"}
    total.backward()


@pytest.mark.parametrize("fusion", ["similarity", "similarity:thermal", "selective"])
def test_fuse_teaches_the_fusion_alone(batch, fusion):
    architecture = dataclasses.replace(SMALL, fusion=fusion)
    trainer = Trainer(Fuse(architecture, dropout=0.0), LoopOptions(steps=4, learning_rate=1e-2), start=start())
    before = {k: v.clone() for k, v in trainer.student.state_dict().items()}
    requests = trainer.recipe.requests(0, AVAILABLE)
    for _ in range(2):  # the module's head starts at zero: what lies before it moves from the second step on
        values = trainer.step([read(batch, requests[0])], requests)
    assert "geometry" in values
    assert trainer.skipped == 0
    for name, value in trainer.student.state_dict().items():
        moved = not torch.equal(value, before[name])
        if name.startswith("fusions.") and name.endswith("score.2.bias"):
            continue  # of the selective fusion: its softmax does not notice it
        assert moved == name.startswith("fusions."), name  # statistics of normalisation stand still as well
    assert trainer.student.architecture.fusion == fusion


def test_fuse_leaves_each_sensor_alone_as_it_was(batch):
    aligned = start().eval()
    trainer = Trainer(Fuse(SMALL), LoopOptions(steps=2, learning_rate=1e-1), start=start())
    requests = trainer.recipe.requests(0, AVAILABLE)
    trainer.step([read(batch, requests[0])], requests)
    for sensor in SENSORS:
        camera, size = network_camera(batch.cameras[sensor], *batch.sizes[sensor], SMALL.pixels)
        inputs = prepare(batch, sensor, (sensor,), camera, size)
        with torch.no_grad():
            torch.testing.assert_close(trainer.student.eval()(inputs).log_depth, aligned(inputs).log_depth)


def test_the_better_anchor_teaches_the_other():
    """L_geo compares with the anchor of the least supervised loss, and moves the other one only."""
    recipe = Fuse(SMALL)
    camera = torch.tensor([[80.0, 80.0, 47.5, 31.5]])
    centres = {"spikes": torch.zeros(1, 3), "rgb": torch.tensor([[0.1, 0.0, 0.0]])}
    inputs = NetworkInput({}, camera, torch.ones(1), centres, "spikes")
    views = [inputs, inputs.seen_from("rgb")]
    logs = [torch.full((1, 64, 96), 2.0, requires_grad=True), torch.full((1, 64, 96), 2.1, requires_grad=True)]
    answers = [SimplePrediction(log) for log in logs]
    loss = recipe.geometry(("spikes", "rgb"), views, answers, [torch.tensor(0.4), torch.tensor(0.2)])
    # |e^2.1 - e^2| / (e^2.1 + e^2) = tanh(0.05)
    assert float(loss.detach()) == pytest.approx(float(torch.tanh(torch.tensor(0.05))), rel=1e-4)
    loss.backward()
    assert logs[1].grad is None
    assert (logs[0].grad < 0).float().mean() > 0.9  # it should grow


@dataclasses.dataclass
class SimplePrediction:
    log_depth: torch.Tensor

    @property
    def depth(self):
        return self.log_depth.exp()


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="'both', 'anchor'"):
        Align(SMALL, gradients="none")
    with pytest.raises(ValueError, match="strides"):
        Align(SMALL, strides=(32,))
    with pytest.raises(ValueError, match="dropout"):
        Fuse(SMALL, dropout=1.0)
    with pytest.raises(ValueError, match="anchors"):
        Fuse(SMALL, anchors=0)
    with pytest.raises(ValueError, match="starts from"):
        Fuse(SMALL).modules()
    with pytest.raises(ValueError, match="no weights"):
        Fuse(dataclasses.replace(SMALL, fusion="mean")).modules(start())
    with pytest.raises(ValueError, match="fuse_share"):
        align_and_fuse_stages(SMALL, fuse_share=1.5)


def test_a_row_is_made_of_one_stage_or_both():
    both = RECIPES["align_and_fuse"](Architecture(), seed=3, crop=0.5, align={"align_weight": 0.1})
    assert [(stage.recipe.name, stage.share) for stage in both] == [("align", 0.6), ("fuse", 0.4)]
    assert {stage.recipe.architecture.fusion for stage in both} == {"similarity"}
    assert {(stage.recipe.seed, stage.recipe.crop) for stage in both} == {(3, 0.5)}
    assert both[0].recipe.align_weight == 0.1
    (alone,) = align_and_fuse_stages(Architecture(), fuse_share=0.0)
    assert (alone.recipe.name, alone.share) == ("align", 1.0)
    (attached,) = align_and_fuse_stages(Architecture(), fuse_share=1.0, fusion="selective", fuse={"dropout": 0.0})
    assert attached.recipe == Fuse(Architecture(), dropout=0.0)


def training(folder, out, steps, **changes):
    small = dataclasses.replace(SMALL, pixels=32 * 64)
    run = TrainingRun(
        recipe=Align(small),
        options=LoopOptions(steps=steps, batch_size=2, learning_rate=1e-2, ema_decay=0.8),
        data={"source": SampleFolders([folder])},
        validations={"small": Validation(folder, [("spikes",), ("spikes", "rgb", "thermal")], limit=4)},
        out=out,
        device=torch.device("cpu"),
        workers=0,
        validate_every=5,
        **changes,
    )
    return align_and_fuse_stages(small, fuse_share=1 / 3), run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    for i in range(6):
        save_sample(sample_path(folder, i), small_sample(i, planes=16))
    return folder


def test_both_stages_train_and_end_in_one_network(folder, tmp_path):
    stages, run = training(folder, tmp_path, 30)
    assert run_stages(stages, run)
    network, info = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert network.architecture.fusion == "similarity"
    assert info.training["recipe"] == "fuse"
    _, first = training(folder, tmp_path / "1_align", 20)
    scores = [line["mean"] for line in first.log_lines() if "validation" in line]
    assert min(scores) < 0.9 * scores[0]  # with so few samples and such a rate, the last need not be the best


def test_stopped_and_resumed_they_end_with_the_same_weights(folder, tmp_path):
    stages, run = training(folder, tmp_path / "whole", 6)
    assert run_stages(stages, run)
    stages, run = training(folder, tmp_path / "pieces", 6, time_limit_s=0.0)
    calls = 0
    while not run_stages(stages, run):  # a limit of no time at all: one step a call
        calls += 1
    assert calls >= 4
    whole, pieces = (load_checkpoint(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "pieces"))
    assert all(torch.equal(v, pieces.state_dict()[k]) for k, v in whole.state_dict().items())


def test_depth_without_truth_for_a_sensor_is_unknown(batch):
    recipe = Align(SMALL)
    (request,) = recipe.requests(0, AVAILABLE)
    given = read(batch, request)
    given.depth = {s: d for s, d in given.depth.items() if s != "thermal"}
    _, truth = recipe.places(given, request, step().generator)
    place = request.depth.index("thermal")
    assert torch.isnan(truth[:, place]).all()
    assert torch.isfinite(truth[:, request.depth.index("spikes")]).any()
