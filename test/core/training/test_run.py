"""A training run learns, resumes to the bit after being stopped, and skips what is not finite."""

import json

import numpy as np
import pytest
import torch

from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import Supervised
from spike_depth_core.samples.batch import collate
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.training.data import Draws, SampleFolders
from spike_depth_core.training.ema import ExponentialMovingAverage
from spike_depth_core.training.loop import LoopOptions, Trainer, learning_rate
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.validation import Validation
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
        folders=SampleFolders([folder]),
        validations={"small": Validation(folder, [("spikes",), ("rgb",)])},
        out=out,
        device=torch.device("cpu"),
        workers=0,
        validate_every=10,
        **changes,
    )


def test_it_learns_the_road(folder, tmp_path):
    assert make_run(folder, tmp_path)()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = [line["validation"]["small/spikes"] for line in lines if "validation" in line]
    assert scores[-1] < 0.6 * scores[0]
    network, info = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert info.training["validation_abs_rel"]["small/spikes"] == pytest.approx(min(scores), abs=0.2)
    assert network.architecture == SMALL


def test_stopped_and_resumed_it_ends_with_the_same_weights(folder, tmp_path):
    make_run(folder, tmp_path / "whole", steps=12)()
    parts = make_run(folder, tmp_path / "parts", steps=12, time_limit_s=0.0)
    calls = 0
    while not parts():  # a limit of no time at all: one step a call
        calls += 1
    assert calls == 11
    whole, pieces = (load_checkpoint(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "parts"))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, pieces.state_dict()[key]), key


def test_a_state_of_another_training_is_refused(folder, tmp_path):
    make_run(folder, tmp_path, steps=2)()
    with pytest.raises(ValueError, match="another training: options"):
        make_run(folder, tmp_path, steps=3)()


def test_a_gradient_that_is_not_finite_changes_nothing():
    trainer = Trainer(Supervised(SMALL), LoopOptions(steps=4))
    before = {k: v.clone() for k, v in trainer.network.named_parameters()}
    batch = collate([small_sample(i, planes=16) for i in range(2)])
    batch.images["thermal"][:] = torch.nan
    trainer.step(batch, "thermal")
    assert trainer.skipped == 1
    assert all(torch.equal(v, before[k]) for k, v in trainer.network.named_parameters())


def test_the_draw_of_a_step_depends_on_its_number_alone(folder):
    folders, recipe = SampleFolders([folder]), Supervised(SMALL)
    first, second = (Draws(folders, recipe, 4, 100, seed=1) for _ in range(2))
    assert [first.draw(i) for i in (7, 3)] == [second.draw(i) for i in (7, 3)]
    assert len({first.draw(i).paths for i in range(50)}) > 40
    used = {first.draw(i).sensors for i in range(200)}
    assert {("spikes",), ("rgb",), ("thermal",), ("spikes", "rgb", "nir", "thermal")} <= used
    for i in range(200):
        assert first.draw(i).reference in first.draw(i).sensors


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
