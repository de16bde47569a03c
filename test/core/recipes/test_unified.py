"""The unified recipe: who teaches whom, where, and that it learns."""

import dataclasses
import math
from itertools import combinations

import pytest
import torch

from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.recipes.recipe import Request, Step
from spike_depth_core.recipes.teaching import Teaching
from spike_depth_core.recipes.unified import Unified
from spike_depth_core.samples.batch import collate
from spike_depth_core.training.loop import LoopOptions, Trainer
from test.core.factories import small_rig, small_sample

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1, pixels=64 * 96)
ALL = {"source": ("spikes", "rgb", "nir", "thermal")}
BOTH = {**ALL, "target": ("spikes", "rgb", "nir", "thermal")}


def answer(log_depth, log_scale, gradient=False):
    log_depth = torch.tensor([log_depth]).requires_grad_(gradient)
    return Prediction(log_depth, torch.tensor([log_scale]), [])


def test_the_teacher_counts_where_it_is_surer_and_more_where_they_disagree():
    """Two pixels: at the first the teacher is surer, at the second not. e = ln 2: focal factor (1 - 1/2)^gamma."""
    student = answer([[math.log(2.0), 3.0]], [[0.0, -2.0]], gradient=True)
    teacher = answer([[0.0, 0.0]], [[-1.0, -1.0]], gradient=True)
    there = torch.ones(1, 1, 2, dtype=torch.bool)
    loss = Unified(gamma=2.0).response(student, teacher, there, labelled=True)
    assert loss.item() == pytest.approx(0.25 * math.log(2.0))
    loss.backward()
    assert student.log_depth.grad[0, 0].tolist() == [pytest.approx(0.25), 0.0]
    assert teacher.log_depth.grad is None
    plain = Unified(gamma=0.0, gate=False).response(student, teacher, there, labelled=True)
    assert plain.item() == pytest.approx((math.log(2.0) + 3.0) / 2)


def test_nothing_is_taken_over_of_what_nobody_sees_nor_beyond_the_range():
    student = answer([[1.0, 2.0, 3.0, 4.0]], [[0.0] * 4])
    teacher = answer([[0.0, 0.0, math.log(0.4), math.log(101.0)]], [[-1.0] * 4])
    there = torch.tensor([[[True, False, True, True]]])
    for recipe in (Unified(gamma=0.0), Unified(gamma=0.0, gate=False)):
        assert float(recipe.response(student, teacher, there, True)) == 1.0
    assert float(Unified(gamma=0.0, screen=1.0).response(student, teacher, there, False)) == 1.0
    one, turned = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    own = torch.stack([one, one], dim=1).reshape(1, 2, 1, 2)
    other = torch.stack([one, turned], dim=1).reshape(1, 2, 1, 2)
    pair = dataclasses.replace(student, features=[own] * 2), dataclasses.replace(teacher, features=[other] * 2)
    left = torch.tensor([[[True, True, False, False]]])
    assert float(Unified.feature(*pair, left)) == 0.0
    assert float(Unified.feature(*pair, ~left)) == 1.0


def test_a_step_leaves_the_sky_and_the_blank_of_the_canvas_alone():
    recipe = Unified(SMALL, zoom=(0.5, 0.5))
    torch.manual_seed(0)
    modules = recipe.modules()
    batch = collate([small_sample(i, planes=16) for i in range(2)])
    batch.depth["rgb"][:, : batch.depth["rgb"].shape[1] // 2] = math.inf
    asked = []
    recipe.response = lambda student, teacher, there, labelled: asked.append(there) or torch.zeros(())
    (request,) = recipe.requests(0, ALL)
    request = dataclasses.replace(request, reference="rgb", sensors=("spikes", "rgb"), depth=("rgb",))
    recipe.loss(modules, [batch], [request], Step(0, 2, torch.Generator().manual_seed(3)))
    assert asked
    assert all(0.08 < there.float().mean() < 0.18 for there in asked)  # half of a quarter, less rounding to strides


def test_without_labels_the_surest_share_of_the_batch_counts():
    student = answer([[1.0, 2.0, 3.0, 4.0]], [[0.0] * 4])
    teacher = answer([[0.0] * 4], [[3.0, 1.0, 2.0, 0.0]])
    there = torch.ones(1, 1, 4, dtype=torch.bool)
    assert float(Unified(gamma=0.0, screen=0.5).response(student, teacher, there, False)) == pytest.approx((2 + 4) / 2)


def test_aligned_features_cost_less_than_swapped_halves():
    shared, specific = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 1.0, 0, 0])
    good = torch.cat([shared, specific]).reshape(1, 8, 1, 1)
    other = torch.cat([shared, -specific]).reshape(1, 8, 1, 1)
    bad = torch.cat([specific, shared]).reshape(1, 8, 1, 1)
    recipe = Unified()
    assert recipe.align([good, other]) < 0.01 < recipe.align([good, bad])
    assert recipe.align([good]) == 0


def test_subsets_begin_with_the_fullest_and_hold_the_reference():
    recipe = Unified(SMALL)
    every = ("spikes", "rgb", "nir", "thermal")
    for reference in every:
        seen = set()
        for number in range(100):
            fullest, alone, *between = recipe.subsets(every, reference, Step(number, 100, torch.Generator()))
            assert (fullest, alone) == (every, (reference,))
            seen |= set(between)
        pairs_and_triples = [
            set(chosen) | {reference} for k in (1, 2) for chosen in combinations(set(every) - {reference}, k)
        ]
        assert sorted(map(sorted, seen)) == sorted(map(sorted, pairs_and_triples))
    assert recipe.subsets(("rgb",), "rgb", Step(0, 1, torch.Generator())) == [("rgb",)]


@pytest.mark.parametrize("mode", ["online", "mutual", "ema", "frozen"])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_it_learns_with_every_kind_of_teacher(mode, unlabelled):
    recipe = Unified(SMALL, teaching=Teaching(mode), unlabelled=unlabelled, jitter=0.0)
    torch.manual_seed(0)
    trainer = Trainer(recipe, LoopOptions(steps=24, learning_rate=3e-3), start=DepthNetwork(SMALL))
    assert ("teacher" in trainer.modules) == (mode in ("ema", "frozen"))
    # The truth is a road 1.65 m below; told 1 m, the network has ln 1.65 to learn.
    rig = dataclasses.replace(small_rig(), height=1.0)
    batch = collate([small_sample(i, planes=16, rig=rig) for i in range(2)])

    @torch.no_grad()
    def error():
        """Of every sensor alone and of all, each in its own frame."""
        errors = []
        for reference, sensors in (*((s, (s,)) for s in ALL["source"]), ("spikes", ALL["source"])):
            inputs, _, truth = recipe.view(batch, Request(reference, sensors, (reference,)), torch.Generator())
            errors.append((trainer.student.eval()(inputs).log_depth - truth.log())[torch.isfinite(truth)].abs().mean())
        trainer.student.train()
        return float(torch.stack(errors).mean())

    before = error()
    for step in range(24):
        requests = recipe.requests(step, BOTH)
        assert len(requests) == 1 + unlabelled
        trainer.step([batch] * len(requests), requests)
    assert trainer.skipped == 0
    assert error() < 0.7 * before


def test_subsets_are_fused_by_similarity_too():
    """Fusion by similarity asks where the sensors stand."""
    recipe = Unified(dataclasses.replace(SMALL, fusion="similarity"), missing=0.0)
    trainer = Trainer(recipe, LoopOptions(steps=12, learning_rate=5e-3))
    batch = collate([small_sample(i, planes=16) for i in range(2)])
    for step in range(3):
        (request,) = recipe.requests(step, ALL)
        assert torch.isfinite(trainer.step([batch], [request])["loss"])
    assert trainer.skipped == 0


def test_requests_keep_the_reference_and_read_no_label_of_the_target():
    recipe = Unified(SMALL, unlabelled=True, missing=0.5)
    kept = set()
    for step in range(60):
        source, target = recipe.requests(step, BOTH)
        assert source.reference in source.sensors
        assert source.depth == (source.reference,)
        assert target.depth == ()
        assert target.domain == "target"
        kept.add(len(source.sensors))
    assert kept == {1, 2, 3, 4}
    assert Unified(SMALL).requests(0, ALL)[0].domain == "source"
