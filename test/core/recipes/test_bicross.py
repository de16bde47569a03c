"""BiCross: who teaches whom and where, what each stage reads, and that its stages train, resume and go on."""

import math

import pytest
import torch

from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.networks.preprocess import NetworkInput
from spike_depth_core.recipes import RECIPES
from spike_depth_core.recipes.bicross import CrossDomain, CrossModality, Pretrain, TargetSupervised, bicross_stages
from spike_depth_core.recipes.recipe import Step
from spike_depth_core.recipes.teaching import MODES, Teaching
from spike_depth_core.samples.batch import collate
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.training.data import SampleFolders
from spike_depth_core.training.loop import LoopOptions, Trainer
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.stages import run_stages
from spike_depth_core.training.validation import Validation
from test.core.factories import small_sample

SMALL = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 16, 16, 24), trunk_blocks=1, pixels=32 * 64)
AVAILABLE = {"source": ("spikes", "rgb"), "target": ("spikes",)}


def start():
    torch.manual_seed(0)
    return DepthNetwork(SMALL)


def drawn(recipe, seed=0, count=2):
    """(batches, requests) of step 0, with what the requests ask for and nothing else."""
    requests = recipe.requests(0, AVAILABLE)
    batches = []
    for number, request in enumerate(requests):
        batch = collate([small_sample(seed + 10 * number + i, planes=16) for i in range(count)])
        batch.images = {s: batch.images[s] for s in request.sensors}
        batch.depth = {s: batch.depth[s] for s in request.depth}
        batches.append(batch)
    return batches, requests


def stepped(recipe, modules=None):
    """The modules with the gradients of one loss, and the loss's parts."""
    if modules is None:
        modules = recipe.modules(start())
        for module in modules.values():
            module.train(any(p.requires_grad for p in module.parameters()))
    batches, requests = drawn(recipe)
    total, parts = recipe.loss(modules, batches, requests, Step(1, 2, torch.Generator().manual_seed(3)))
    total.backward()
    return modules, parts


def moved(module):
    return any(p.grad is not None and bool((p.grad != 0).any()) for p in module.parameters())


def prediction(log_depth=None, log_scale=None, features=None):
    size = next(x for x in (log_depth, log_scale) if x is not None).shape
    zeros = torch.zeros(size)
    return Prediction(zeros if log_depth is None else log_depth, zeros if log_scale is None else log_scale, features)


# What a row is made of


def test_a_row_is_made_of_stages_that_share_the_steps():
    stages = RECIPES["bicross"](SMALL, seed=4)
    assert [stage.recipe.name for stage in stages] == ["pretrain", "cross_modality", "cross_domain"]
    assert sum(stage.share for stage in stages) == pytest.approx(1.0)
    assert {stage.keep for stage in stages} == {"last"}
    assert {stage.recipe.seed for stage in stages} == {4}
    (alone,) = bicross_stages(SMALL, stages=["cross_domain"], scp=False, crop=0.5)
    assert alone.share == 1.0
    assert alone.recipe == CrossDomain(SMALL, scp=False, crop=0.5)
    two = bicross_stages(SMALL, stages=("pretrain", "cross_modality"), gate="none", crop=0.5)
    assert [stage.recipe for stage in two] == [Pretrain(SMALL, crop=0.5), CrossModality(SMALL, gate="none", crop=0.5)]


def test_what_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"\('distil',\)"):
        bicross_stages(SMALL, stages=("distil",))
    with pytest.raises(ValueError, match=r"no setting \['gates'\]; it has .*'gate'"):
        bicross_stages(SMALL, gates="both")
    with pytest.raises(ValueError, match="found 'half'"):
        CrossModality(SMALL, gate="half")
    for recipe in (CrossModality(SMALL), CrossDomain(SMALL)):
        with pytest.raises(ValueError, match=f"{recipe.name} goes on from a network"):
            recipe.modules()
    with pytest.raises(ValueError, match=r"'source' must have .*'rgb'.*found .*'thermal'"):
        CrossModality(SMALL).requests(0, {"source": ("spikes", "thermal")})


def test_only_the_upper_bound_reads_labels_of_the_target():
    for stage in bicross_stages(SMALL):
        for request in stage.recipe.requests(0, AVAILABLE):
            assert (request.domain == "source") == bool(request.depth)
            assert request.domain in stage.recipe.domains
    (request,) = TargetSupervised(SMALL).requests(0, AVAILABLE)
    assert (request.domain, request.sensors, request.depth) == ("target", ("spikes",), ("spikes",))
    (request,) = Pretrain(SMALL).requests(0, AVAILABLE)
    assert (request.domain, request.sensors, request.depth) == ("source", ("rgb",), ("rgb",))
    assert CrossDomain(SMALL, scp=False, sca=False).domains == ("source",)
    assert len(CrossDomain(SMALL, scp=False, sca=False).requests(0, AVAILABLE)) == 1


# Across modality


@pytest.mark.parametrize("mode", MODES)
def test_who_learns_across_modality(mode):
    modules, parts = stepped(CrossModality(SMALL, teaching=Teaching(mode)))
    student, teacher = modules["student"], modules["teacher"]
    assert moved(student.encoder.stems["spikes"])
    assert moved(student.encoder.to_eighth.conv)
    assert moved(modules["project_rgb"])
    assert moved(modules["project_spikes"])
    assert moved(teacher) == (mode in ("online", "mutual"))
    assert moved(student.encoder.stems["rgb"]) == (mode == "ema")
    assert ("rgb" in parts) == (mode != "frozen")
    assert 0 < float(parts["kept"]) < 1


def test_a_teacher_that_does_not_learn_sees_the_picture_as_it_is():
    told = {}
    for jitter in (0.0, 0.5):
        recipe = CrossModality(SMALL, jitter=jitter)
        modules = recipe.modules(start())
        for name in ("teacher", "student"):
            modules[name].register_forward_pre_hook(
                lambda _, inputs, key=(name, jitter): told.update({key: inputs[0].images})
            )
        stepped(recipe, modules)
    assert set(told["teacher", 0.5]) == {"rgb"}
    assert torch.equal(told["teacher", 0.0]["rgb"], told["teacher", 0.5]["rgb"])
    assert not torch.equal(told["student", 0.0]["spikes"], told["student", 0.5]["spikes"])


@pytest.mark.parametrize("part", ["ckd", "fkd"])
def test_a_mutual_teacher_is_drawn_to_its_student_and_an_online_one_is_not(part):
    def gradient(mode, weight):
        switches = {"ckd": False, "fkd": False, part: True, f"{part}_weight": weight}
        modules, _ = stepped(CrossModality(SMALL, teaching=Teaching(mode), **switches))
        return modules["teacher"].trunk[0].conv.weight.grad

    assert torch.equal(gradient("online", 0.0), gradient("online", 1.0))
    assert not torch.equal(gradient("mutual", 0.0), gradient("mutual", 1.0))


def test_the_student_starts_from_what_rgb_has_taught():
    network = start()
    taught = {k: v.clone() for k, v in network.state_dict().items()}
    modules = CrossModality(SMALL, ckd=False).modules(network)
    assert set(modules) == {"student", "teacher"}
    student, teacher = (modules[name].state_dict() for name in ("student", "teacher"))
    assert all(torch.equal(teacher[k], taught[k]) for k in taught)
    new = [k for k in student if not torch.equal(student[k], taught[k.replace("spikes", "rgb")])]
    assert new == ["encoder.stems.spikes.to_half.0.weight"]


def test_the_gate_asks_both():
    sure, unsure = torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]), torch.tensor([[[0.5, 0.1, 0.4, 0.2]]])
    everywhere = torch.ones(1, 1, 4, dtype=torch.bool)

    def gated(gate, valid=everywhere):
        return CrossModality(SMALL, gate=gate, sure=0.5, unsure=0.5).gated(unsure, sure, valid)[0, 0].tolist()

    assert gated("teacher") == [True, True, False, False]
    assert gated("student") == [True, False, True, False]
    assert gated("both") == [True, False, False, False]
    assert gated("relative") == [True, False, True, False]  # by 0.2, 2, 0.75, 2
    assert gated("none") == [True] * 4
    hidden = everywhere.clone()
    hidden[..., 0] = False
    assert gated("both", hidden) == [False, False, True, False]  # two of the three left are sure, two unsure


def test_pixel_features_are_drawn_where_the_gate_is_open():
    torch.manual_seed(0)
    features = [[torch.randn(2, 3, 4, 6) for _ in range(4)] for _ in range(2)]
    scales = [torch.randn(2, 64, 96) for _ in range(2)]
    student, teacher = (prediction(log_scale=s, features=f) for s, f in zip(scales, features, strict=True))
    seen = torch.rand(2, 64, 96) < 0.97
    loss, kept = CrossModality(SMALL, sure=0.4, unsure=0.7).fine(student, teacher, seen)

    # by hand: blocks of 16 x 16 pixels, seen by more than half, ranked by mean uncertainty
    positions = [(b, y, x) for b in range(2) for y in range(4) for x in range(6)]

    def mean(scale, b, y, x):
        return float((2**0.5 * scale[b, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16].exp()).mean())

    unsure = sorted(positions, key=lambda p: -mean(scales[0], *p))[: math.ceil(0.7 * 48)]
    sure = sorted(positions, key=lambda p: mean(scales[1], *p))[: math.ceil(0.4 * 48)]
    chosen = [p for p in positions if p in unsure and p in sure]
    apart = [
        sum(float(features[0][3][b, c, y, x] - features[1][3][b, c, y, x]) ** 2 for c in range(3)) / 3
        for b, y, x in chosen
    ]
    assert float(loss) == pytest.approx(sum(apart) / len(chosen), rel=1e-4)
    assert float(kept) == pytest.approx(len(chosen) / 48)


def test_global_features_are_told_from_those_of_other_pictures():
    """The loss is that of the right pairs: with the student's pictures in another order it is another."""
    recipe = CrossModality(SMALL)
    modules = recipe.modules(start()).eval()
    torch.manual_seed(1)
    maps = [torch.randn(3, 24, 2, 3) for _ in range(2)]
    z_rgb, z_spikes = (modules[f"project_{s}"](x).detach() for s, x in zip(("rgb", "spikes"), maps, strict=True))
    logits = z_rgb @ z_spikes.T
    expected = -sum(math.log(float(torch.softmax(logits[i], 0)[i])) for i in range(3)) / 3
    student, teacher = (prediction(log_scale=torch.zeros(1), features=[x]) for x in (maps[1], maps[0]))
    assert float(recipe.coarse(modules, student, teacher).detach()) == pytest.approx(expected, rel=1e-4)


# Across domain


def one_sensor(seen):
    image = torch.stack([torch.zeros_like(seen, dtype=torch.float32), seen.float()], dim=1)
    return NetworkInput({"spikes": image}, torch.ones(len(seen), 4), torch.ones(len(seen)))


def test_pseudo_labels_are_the_surest_half_of_what_is_seen_and_within_range():
    torch.manual_seed(0)
    recipe = CrossDomain(SMALL)
    label = torch.rand(2, 8, 10) * 3 + 1
    label[0, 0], label[0, 1] = math.log(0.1), math.log(200.0)  # too near, too far
    seen = torch.ones(2, 8, 10, dtype=torch.bool)
    seen[:, :, 0] = False
    scale = torch.randn(2, 8, 10)
    teacher = prediction(label, scale)
    taught = torch.randn(2, 8, 10, requires_grad=True)
    loss, kept = recipe.pseudo_loss(prediction(taught), teacher, one_sensor(seen))
    usable = [(b, y, x) for b, y, x in seen.nonzero().tolist() if not (b == 0 and y < 2)]
    chosen = sorted(usable, key=lambda p: float(scale[p]))[: math.ceil(len(usable) / 2)]
    error = torch.tensor([float(taught.detach()[p] - label[p]) for p in chosen])
    expected = float((error.var(correction=0) + 0.15 * error.mean() ** 2).sqrt())
    assert float(loss.detach()) == pytest.approx(expected, abs=1.1e-3)
    assert float(kept) == pytest.approx(len(chosen) / 160)
    loss.backward()
    assert {tuple(p) for p in taught.grad.nonzero().tolist()} == set(chosen)


@pytest.mark.parametrize("mode", MODES)
def test_who_learns_across_domain(mode):
    modules, parts = stepped(CrossDomain(SMALL, self_teaching=Teaching(mode), ramp=0.0))
    assert moved(modules["student"])
    assert moved(modules["discriminator"])
    assert moved(modules["teacher"]) == (mode in ("online", "mutual"))
    assert ("teacher" in parts) == (mode in ("online", "mutual"))
    assert 0 < float(parts["kept"]) <= 0.5
    assert 0 <= float(parts["domain_told"]) <= 1


@pytest.mark.parametrize(("scp", "sca"), [(True, False), (False, True), (False, False)])
def test_each_part_of_the_last_stage_is_switched_off_with_its_modules(scp, sca):
    modules, parts = stepped(CrossDomain(SMALL, scp=scp, sca=sca))
    assert set(modules) == {"student"} | ({"teacher"} if scp else set()) | ({"discriminator"} if sca else set())
    assert ("scp" in parts, "sca" in parts) == (scp, sca)


@pytest.mark.parametrize("mixed", [True, False])
def test_statistics_follow_the_target_only_where_they_are_to(mixed):
    recipe = CrossDomain(SMALL, mix_statistics=mixed)
    modules = recipe.modules(start()).train()
    before = {name: value.clone() for name, value in modules["student"].named_buffers() if "running" in name}
    stepped(recipe, modules)
    after = dict(modules["student"].named_buffers())
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert bool(changed) == mixed


def test_without_source_labels_the_source_moves_nothing():
    def gradient(**settings):
        modules, _ = stepped(CrossDomain(SMALL, sca=False, **settings))
        return modules["student"].decoder.head.weight.grad

    assert torch.count_nonzero(gradient(source_weight=0.0, scp_weight=0.0)) == 0
    assert torch.count_nonzero(gradient(source_weight=0.0)) > 0


def test_the_teacher_sees_the_picture_as_it_is_unless_it_is_to_see_what_the_student_sees():
    def looks(same_view):
        recipe = CrossDomain(SMALL, sca=False, same_view=same_view, zoom=(1.0, 1.0))
        seen = {}
        modules = recipe.modules(start())
        for name, module in modules.items():
            module.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0].images["spikes"]}))
        stepped(recipe, modules)
        return seen

    apart, same = looks(False), looks(True)
    assert torch.equal(same["student"], same["teacher"])
    assert not torch.equal(apart["student"], apart["teacher"])
    assert torch.equal(apart["student"][:, -1], apart["teacher"][:, -1])  # one camera, mirrored alike


def test_reversal_rises_as_published_or_is_there_from_the_start():
    def strength(number, **settings):
        return CrossDomain(SMALL, reversal=0.2, **settings).strength(Step(number, 100, torch.Generator()))

    assert strength(0) == 0
    assert strength(50) == pytest.approx(0.2 * math.tanh(2.5))  # 2 / (1 + e^-x) - 1 is tanh(x / 2)
    assert strength(0, ramp=0.0) == strength(99, ramp=0.0) == 0.2


# Training


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {}
    for domain, first in (("source", 0), ("target", 100)):
        found[domain] = tmp_path_factory.mktemp(domain)
        for i in range(6):
            save_sample(sample_path(found[domain], i), small_sample(first + i, planes=16))
    return found


def test_features_come_nearer_to_the_teachers_and_depth_to_the_truth():
    recipe = CrossModality(SMALL, ckd=False, gate="none", fkd_weight=1.0)
    trainer = Trainer(recipe, LoopOptions(steps=24, learning_rate=5e-3), start=start())
    batches, requests = drawn(recipe, count=4)
    history = [trainer.step(batches, requests) for _ in range(24)]

    def mean(name, steps):
        return sum(float(values[name]) for values in steps) / len(steps)

    for name in ("fkd", "l1"):
        assert mean(name, history[-4:]) < 0.8 * mean(name, history[:4]), name


def test_an_interrupted_stage_goes_on_to_the_same_weights(tmp_path):
    recipe = CrossDomain(SMALL)
    batches, requests = drawn(recipe)
    whole = Trainer(recipe, LoopOptions(steps=4), start=start())
    for step in range(3):
        if step == 2:
            whole.save(tmp_path / "state")
        whole.step(batches, requests)
    taken_up = Trainer(recipe, LoopOptions(steps=4), start=start())
    taken_up.load(tmp_path / "state")
    taken_up.step(batches, requests)
    for key, value in whole.modules.state_dict().items():
        assert torch.equal(value, taken_up.modules.state_dict()[key]), key
    student, teacher = (whole.modules[name].decoder.head.weight for name in ("student", "teacher"))
    assert not torch.equal(student, teacher)  # it follows, and is not the student
    assert not torch.equal(teacher, start().decoder.head.weight)


def test_the_three_stages_hand_their_student_on(folders, tmp_path):
    stages = bicross_stages(SMALL)
    run = TrainingRun(
        recipe=stages[0].recipe,
        options=LoopOptions(steps=6, batch_size=2),
        data={domain: SampleFolders([folder]) for domain, folder in folders.items()},
        validations={"source": Validation(folders["source"], [("spikes",)], limit=2)},
        out=tmp_path,
        device=torch.device("cpu"),
        workers=0,
    )
    assert run_stages(stages, run)
    parents = [
        load_checkpoint(tmp_path / name / "checkpoint.safetensors")[1]
        for name in ("1_pretrain", "2_cross_modality", "3_cross_domain")
    ]
    assert [info.parent for info in parents] == [None, parents[0].sha256, parents[1].sha256]
    network, last = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert last.sha256 == parents[2].sha256
    assert network.state_dict().keys() == start().state_dict().keys()
