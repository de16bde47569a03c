"""A training run learns, resumes to the bit after being stopped, and skips what is not finite."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from spike_depth_core.cli.main import app
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.metrics import frame_metrics
from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint, read_info, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.recipes import Recipe, Request, Stage, Supervised
from spike_depth_core.samples.batch import collate
from spike_depth_core.samples.files import list_samples, load_sample, sample_path, save_sample
from spike_depth_core.training import distributed
from spike_depth_core.training import run as run_module
from spike_depth_core.training.data import Draws, SampleFolder, SampleFolders
from spike_depth_core.training.ema import ExponentialMovingAverage
from spike_depth_core.training.journal import read_log
from spike_depth_core.training.loop import LoopOptions, Trainer, learning_rate, read_metadata
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.stages import placed, run_stages
from spike_depth_core.training.validation import Validation, mean_abs_rel
from test.core.factories import small_sample

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    for i in range(8):
        save_sample(sample_path(folder, i), small_sample(i, planes=32))
    return folder


def make_run(folder, out, steps=60, **changes):
    return TrainingRun(
        recipe=Supervised(SMALL),
        options=LoopOptions(steps=steps, batch_size=4, learning_rate=5e-3, ema_decay=0.9),
        data={"source": SampleFolders([folder])},
        validations={"small": Validation(folder, [("spikes",), ("rgb",)])},
        out=out,
        device=torch.device("cpu"),
        workers=0,
        validate_every=10,
        **changes,
    )


def test_it_learns_the_road(folder, tmp_path):
    run = make_run(folder, tmp_path)
    run.recipe = Supervised(SMALL, zoom=(1.0, 1.0), jitter=0.0)  # sixty steps are few
    assert run()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = [line["validation"]["small/spikes"] for line in lines if "validation" in line]
    assert min(scores) < 0.8 * scores[0]
    network, info = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert info.training["validation_abs_rel"]["small/spikes"] == pytest.approx(min(scores), abs=0.2)
    assert network.architecture == SMALL


@pytest.mark.parametrize("calibrated", [True, False])
def test_it_is_judged_by_what_is_served(folder, tmp_path, monkeypatch, calibrated):
    monkeypatch.setattr(Supervised, "calibrated", calibrated)
    make_run(folder, tmp_path, steps=10)()
    told = read_log(tmp_path)[-1]["validation"]["small/rgb"]
    network, info = load_checkpoint(tmp_path / "checkpoint.safetensors")
    errors: dict[bool, list[float]] = {True: [], False: []}
    for sample in map(load_sample, list_samples(folder)):
        for kind, found in errors.items():
            info.calibrated = kind
            depth = DepthEstimator(network, info).estimate(sample, "rgb", ("rgb",)).depth
            found.append(frame_metrics(depth, sample.depth["rgb"])["abs_rel"])
    assert told == pytest.approx(np.mean(errors[calibrated]), rel=0.01)
    assert abs(np.mean(errors[True]) / np.mean(errors[False]) - 1) > 0.03


def test_stopped_and_resumed_it_ends_with_the_same_weights_and_the_same_curve(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "LOG_EVERY", 4)  # stops fall between what is logged
    make_run(folder, tmp_path / "whole", steps=12)()
    parts = make_run(folder, tmp_path / "parts", steps=12, time_limit_s=0.0)
    calls = 0
    while not parts():  # a limit of no time at all: one step a call
        calls += 1
        with open(tmp_path / "parts" / "log.jsonl", "a") as log:  # killed after it logged, before the state was saved
            log.write(json.dumps({"step": 99, "validation": {"small/spikes": 0.0}, "mean": 0.0}) + "\n")
    assert calls == 11
    whole, pieces = (load_checkpoint(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "parts"))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, pieces.state_dict()[key]), key
    curves = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert [line["step"] for line in curves[0]] == [4, 8, 10, 12, 12]
    assert curves[1] == curves[0]


def test_it_stops_when_validation_gets_no_better(folder, tmp_path, monkeypatch):
    scores = iter([0.5, 0.3, 0.4, 0.3, 0.35, 0.2])
    monkeypatch.setattr(TrainingRun, "_validate", lambda self, network: {"a": next(scores)})
    run = make_run(folder, tmp_path, steps=60, patience=3)
    run.validate_every = 2
    assert run()
    assert [line["mean"] for line in run.log_lines()] == [0.5, 0.3, 0.4, 0.3, 0.35]
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1].training["step"] == 4
    assert run()  # it has stopped for good
    assert len(run.log_lines()) == 5


def test_without_validation_the_last_weights_are_kept(folder, tmp_path):
    run = make_run(folder, tmp_path, steps=4)
    run.validations = {}
    run.validate_every = 2
    assert run()
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1].training["step"] == 4


def test_a_state_of_another_training_is_refused(folder, tmp_path):
    make_run(folder, tmp_path, steps=2)()
    with pytest.raises(ValueError, match="another training: options"):
        make_run(folder, tmp_path, steps=3)()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": Supervised(SMALL, sky_weight=0.5)}, r"recipe.sky_weight was 0\.2, is now 0\.5"),
        ({"recipe": Supervised(dataclasses.replace(SMALL, pixels=2048))}, "architecture.pixels was 40960, is now 2048"),
        ({"parent": "abc"}, "origin.parent was None, is now abc"),
    ],
)
def test_a_state_of_other_settings_is_refused(folder, tmp_path, changes, said):
    make_run(folder, tmp_path, steps=2)()
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(make_run(folder, tmp_path, steps=2), **changes)()


def test_a_state_of_other_samples_is_refused(folder, tmp_path):
    make_run(folder, tmp_path, steps=2)()
    fewer = {"source": SampleFolders([SampleFolder(folder, 6)])}
    with pytest.raises(ValueError, match=r"samples\.source.* was 8, is now 6"):
        dataclasses.replace(make_run(folder, tmp_path, steps=2), data=fewer)()


@dataclasses.dataclass
class Countdown(Supervised):
    """Its loss is 1, 2, 3, 4; the third has no finite gradient, and the fourth a part of its own."""

    def loss(self, modules, batches, requests, step):
        value = torch.tensor(float(step.number + 1)) + 0 * modules["student"].decoder.head.weight.sum()
        return (value * torch.nan if step.number == 2 else value), ({"own": value} if step.number == 3 else {})


def test_a_line_of_the_log_is_the_mean_of_the_steps_that_were_not_skipped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "LOG_EVERY", 4)
    run = make_run(folder, tmp_path, steps=4, time_limit_s=0.0)
    run.recipe, run.validations = Countdown(SMALL), {}
    while not run():  # the sums of the steps before a stop are in the state
        pass
    (line,) = read_log(tmp_path)
    assert (line["skipped"], line["loss"], line["own"]) == (1, pytest.approx(7 / 3, abs=1e-5), 4)
    assert run.skipped == 1


def test_a_training_in_which_nothing_was_learned_ends_with_an_error(folder, tmp_path):
    class Lost(Countdown):
        def loss(self, *given):
            value, parts = super().loss(*given)
            return value * torch.nan, parts

    run = make_run(folder, tmp_path, steps=2)
    run.recipe = Lost(SMALL)
    with pytest.raises(ValueError, match="nothing was learned, as in all 2 steps the loss or its gradient was not fin"):
        run()
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_state_that_is_cut_is_named(folder, tmp_path):
    run = make_run(folder, tmp_path, steps=2)
    Trainer(run.recipe, run.options).save(tmp_path / "state.safetensors")
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"state\.safetensors is not a training's state"):
        run()


def test_a_state_of_other_samples_of_the_same_names_and_sizes_is_refused(tmp_path):
    """One pixel of one picture differs, and the folder is the same."""
    samples = tmp_path / "samples"
    samples.mkdir()
    for i in range(4):
        save_sample(sample_path(samples, i), small_sample(i, planes=32))
    make_run(samples, tmp_path / "out", steps=2)()
    make_run(samples, tmp_path / "out", steps=2)()
    before = sample_path(samples, 3).stat().st_size
    other = load_sample(sample_path(samples, 3))
    other.rgb[10, 20] ^= 1
    save_sample(sample_path(samples, 3), other)
    assert sample_path(samples, 3).stat().st_size == before
    with pytest.raises(ValueError, match=r"another training: origin\.digests\.source\.samples was .*, is now"):
        make_run(samples, tmp_path / "out", steps=2)()


def test_a_state_from_before_samples_were_told_by_their_checksums_is_taken_up(folder, tmp_path):
    run = make_run(folder, tmp_path, steps=2, time_limit_s=0.0)
    assert not run()
    state = tmp_path / "state.safetensors"
    about = read_metadata(state)
    del about["origin"]["digests"]
    save_file(load_file(state), state, {"about": json.dumps(about)})
    assert run()


def test_a_gradient_that_is_not_finite_changes_nothing():
    trainer = Trainer(Supervised(SMALL), LoopOptions(steps=4))
    before = {k: v.clone() for k, v in trainer.student.state_dict().items() if v.is_floating_point()}
    batch = collate([small_sample(i, planes=16) for i in range(2)])
    batch.images["thermal"][:] = torch.nan
    trainer.step([batch], [Request("thermal", ("thermal",), ("thermal",))])
    assert trainer.skipped == 1
    after = trainer.student.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())  # statistics of normalisation too


def test_the_draw_of_a_step_depends_on_its_number_alone(folder):
    data, recipe = {"source": SampleFolders([folder])}, Supervised(SMALL)
    first, second = (Draws(data, recipe, 4, 100, seed=1) for _ in range(2))
    assert [first.draw(i) for i in (7, 3)] == [second.draw(i) for i in (7, 3)]
    assert len({first.draw(i)[0].paths for i in range(50)}) > 40
    requests = [first.draw(i)[0].request for i in range(200)]
    assert {("spikes",), ("rgb",), ("thermal",), ("spikes", "rgb", "nir", "thermal")} <= {r.sensors for r in requests}
    for request in requests:
        assert request.reference in request.sensors
        assert request.depth == (request.reference,)


def test_learning_rate_rises_then_falls_to_a_hundredth():
    options = LoopOptions(steps=1000, learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(i, options) for i in range(1000)]
    assert np.argmax(rates) in (99, 100)
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_average_of_constant_weights_is_them_and_follows_by_its_decay():
    network = torch.nn.Linear(2, 1, bias=False)
    average = ExponentialMovingAverage(network, decay=0.9)
    start = network.weight.detach().clone()
    average.update(network, 1000)
    torch.testing.assert_close(average.network.weight, start)
    with torch.no_grad():
        network.weight.add_(1.0)
    average.update(network, 1000)
    torch.testing.assert_close(average.network.weight, start + 0.1)


class TwoDomains(Supervised):
    """Asks for labelled source frames, and for target frames with the ones before and after, without labels."""

    name = "two_domains"
    domains = ("source", "target")

    def requests(self, step, available):
        target = Request("rgb", ("rgb", "spikes"), domain="target", neighbours=(-1, 1))
        return (*super().requests(step, available), target)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    for i in range(8):
        sample = small_sample(i, planes=16)
        meta = {**sample.meta, "sequence": i // 4, "frame": i % 4}
        save_sample(sample_path(folder, i), dataclasses.replace(sample, time_ns=i, meta=meta))
    return folder


def test_neighbours_are_of_the_same_sequence_and_target_labels_stay_unread(folder, sequences):
    data = {"source": SampleFolders([folder]), "target": SampleFolders([sequences])}
    draws = Draws(data, TwoDomains(SMALL), 3, 40, seed=0)
    inner = {1, 2, 5, 6}  # of eight frames in two sequences of four
    seen = set()
    for step in range(40):
        _, draw = draws.draw(step)
        index = [int(path.stem) for path in draw.paths]
        seen |= set(index)
        for offset in (-1, 1):
            assert [int(path.stem) - offset for path in draw.neighbours[offset]] == index
    assert seen == inner
    _, _, batches = draws[3]
    assert [len(batch) for batch in batches] == [3, 3]
    assert not batches[1].depth
    assert set(batches[1].neighbours) == {-1, 1}
    assert batches[1].neighbours[1].images["rgb"].shape == batches[1].images["rgb"].shape
    moved = batches[1].to("meta")
    assert moved.neighbours[1].images["rgb"].is_meta
    with pytest.raises(ValueError, match=r"no data for \['target'\]"):
        Draws({"source": data["source"]}, TwoDomains(SMALL), 3, 40, seed=0)
    with pytest.raises(ValueError, match="no sequence"):
        Draws({"source": data["source"], "target": data["source"]}, TwoDomains(SMALL), 3, 40, seed=0).draw(0)


class Following(Supervised):
    """A second module that no gradient reaches and that is moved after each step."""

    name = "following"

    def modules(self, start=None):
        modules = super().modules(start)
        modules["teacher"] = copy.deepcopy(modules["student"]).requires_grad_(False)
        modules["extra"] = torch.nn.Linear(2, 1)
        return modules

    def loss(self, modules, batches, requests, step):
        assert modules["student"].training
        assert not modules["teacher"].training
        total, parts = super().loss(modules, batches, requests, step)
        return total + modules["extra"].weight.square().sum(), {**parts, "progress": torch.tensor(step.progress)}

    def after_step(self, modules, step):
        modules["teacher"].load_state_dict(modules["student"].state_dict())


def test_stages_hand_their_student_on_and_modules_for_training_stay_behind(folder, tmp_path):
    stages = (Stage(Supervised(SMALL), 0.5, "last"), Stage(Following(SMALL), 0.5, "last"))
    run = make_run(folder, tmp_path, steps=8)
    seen = []
    assert run_stages(stages, run, lambda done, values: seen.append(done))
    assert seen == list(range(1, 9))
    first = load_checkpoint(tmp_path / "1_supervised" / "checkpoint.safetensors")[1]
    network, last = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert last.parent == first.sha256
    assert last.training["recipe"] == "following"
    assert network.state_dict().keys() == run.recipe.modules()["student"].state_dict().keys()
    assert run_stages(stages, run)  # all is done: nothing changes
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1].sha256 == last.sha256


def test_after_several_stages_it_is_told_what_the_training_began_with(folder, tmp_path):
    stages = (Stage(Supervised(SMALL), 0.5, "last"), Stage(Following(SMALL), 0.5, "last"))
    first = save_checkpoint(tmp_path / "first.safetensors", DepthNetwork(SMALL), CheckpointInfo(SMALL))
    run = make_run(folder, tmp_path / "run", steps=2, start=DepthNetwork(SMALL), parent=first.sha256)
    run.validations = {}
    assert run_stages(stages, run)
    last = tmp_path / "run" / "checkpoint.safetensors"
    assert read_info(last).training["init"] == first.sha256
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "validation").symlink_to(folder)
    blend = ["blend", tmp_path / "first.safetensors", last, "--share", 1, "--data", tmp_path / "data"]
    done = CliRunner().invoke(app, [*map(str, blend), "--out", str(tmp_path / "blended")])
    assert done.exit_code == 0, done.output


def test_a_stage_is_as_long_and_as_hard_as_it_says(folder, tmp_path):
    stages = (Stage(Supervised(SMALL), 0.75), Stage(Supervised(SMALL), 0.25, learning_rate=0.2))
    run = make_run(folder, tmp_path, steps=8)
    assert run_stages(stages, run)
    first, second = (
        load_checkpoint(tmp_path / f"{n}_supervised" / "checkpoint.safetensors")[1].training["options"] for n in (1, 2)
    )
    assert (first["steps"], second["steps"]) == (6, 2)
    assert first["learning_rate"] == run.options.learning_rate
    assert second["learning_rate"] == pytest.approx(0.2 * run.options.learning_rate)
    with pytest.raises(ValueError, match="learning rate"):
        Stage(Supervised(SMALL), learning_rate=0.0)


def test_no_stage_sees_the_samples_of_another_again(folder):
    options = LoopOptions(steps=40, seed=7)
    drawn, looks = [], []
    for number in range(3):
        stage, own = placed(Stage(Supervised(SMALL, seed=7)), number, options)
        draws = Draws({"source": SampleFolders([folder])}, stage.recipe, 2, 40, own.seed)
        drawn.append([(draw.paths, draw.request) for step in range(40) for draw in draws.draw(step)])
        trainer = Trainer(stage.recipe, own)
        trainer.recipe.loss = lambda modules, batches, requests, step: (
            looks.append(torch.rand((), generator=step.generator)) or (modules["student"].decoder.head.weight.sum(), {})
        )
        trainer.step([], [])
        if number == 0:
            assert (stage.recipe.seed, own.seed) == (7, 7)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert sum(a == b for a, b in zip(drawn[one], drawn[other], strict=True)) < 20
    assert len(set(map(float, looks))) == 3


def test_every_module_with_gradients_learns_and_the_others_follow(folder):
    recipe: Recipe = Following(SMALL)
    trainer = Trainer(recipe, LoopOptions(steps=4, learning_rate=1e-2))
    draws = Draws({"source": SampleFolders([folder])}, recipe, 2, 4, seed=0)
    before = trainer.modules["extra"].weight.detach().clone()
    for step in range(2):
        _, requests, batches = draws[step]
        trainer.step(batches, requests)
    assert trainer.modules["extra"].weight.square().sum() < before.square().sum()
    student, teacher = (trainer.modules[name].state_dict() for name in ("student", "teacher"))
    assert all(torch.equal(student[k], teacher[k]) for k in student)


def test_every_process_gets_as_many_samples(folder, monkeypatch):
    for processes, expected in ((3, 6), (4, 8)):
        monkeypatch.setattr(distributed, "place", lambda n=processes: (n - 1, n))
        draws = Draws({"source": SampleFolders([folder])}, Supervised(SMALL), 12, 10, seed=0)
        assert len(draws.draw(0)[0].paths) == expected
    monkeypatch.setattr(distributed, "place", lambda: (8, 9))
    with pytest.raises(ValueError, match="8 samples that can be learned from, fewer than there are processes, 9"):
        Draws({"source": SampleFolders([folder])}, Supervised(SMALL), 18, 10, seed=0).draw(0)


def test_validation_looks_evenly_over_all_samples(tmp_path):
    for i in range(7):
        save_sample(sample_path(tmp_path, i), dataclasses.replace(small_sample(i, planes=8), time_ns=i))
    for limit, expected in ((4, [0, 2, 4, 6]), (7, list(range(7))), (50, list(range(7)))):
        found = Validation(tmp_path, [("rgb",)], limit=limit)
        assert sum(len(batch) for batch in found.batches) == len(expected)
        pictures = torch.cat([batch.images["rgb"] for batch in found.batches])
        assert all(
            (picture.numpy() == small_sample(i, 8).rgb).all() for picture, i in zip(pictures, expected, strict=True)
        )


def test_a_frame_without_a_truth_in_range_is_no_perfect_one(folder):
    samples = [small_sample(i, planes=8) for i in range(2)]
    blank = dataclasses.replace(samples[1], depth={s: np.full_like(d, np.inf) for s, d in samples[1].depth.items()})
    torch.manual_seed(0)
    network, cpu = DepthNetwork(SMALL).eval(), torch.device("cpu")
    whole = mean_abs_rel(network, [collate([samples[0], blank])], "rgb", ("rgb",), cpu)
    assert whole == pytest.approx(mean_abs_rel(network, [collate(samples[:1])], "rgb", ("rgb",), cpu), rel=1e-4)
    assert whole > 0.01
    assert np.isnan(mean_abs_rel(network, [collate([blank])], "rgb", ("rgb",), cpu))
