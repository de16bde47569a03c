"""What a student is to learn of a teacher: something where that is the surer of the two, elsewhere to stay."""

import dataclasses

import torch

from spike_depth_core.adaptation.lessons import Lesson, alike, by_the_better, from_teacher, network_input, restricted
from spike_depth_core.networks.depth_network import Prediction
from spike_depth_core.networks.preprocess import stacked
from test.core.adaptation.toys import toy_network
from test.core.factories import small_sample

ALL = ("spikes", "rgb", "nir", "thermal")


def prediction(log_depth, log_scale):
    return Prediction(log_depth, log_scale, [])


def nowhere(like):
    return torch.zeros_like(like, dtype=torch.bool)


def said(inputs, depth):
    answer = prediction(depth, torch.zeros_like(depth))
    return from_teacher(inputs, "spikes", ALL, answer, 5)


def test_the_surer_of_both_is_learned_from():
    inputs = network_input(small_sample(0, planes=16), "spikes", ALL, 64 * 96)
    size = inputs.images["spikes"].shape[-2:]
    teacher, own = torch.full((1, *size), 2.0), torch.full((1, *size), 1.0)
    teachers, owns = torch.full((1, *size), -1.0), torch.full((1, *size), -1.0)
    owns[:, :, :10] = -0.5  # the teacher is surer on the left, the student on the right
    owns[:, :, -10:] = -1.5
    owns[:, :, 10:-10] = -1.0  # nobody is in between: the student stays by what it says
    lesson, heard = by_the_better(said(inputs, teacher), teachers, nowhere(own), prediction(own, owns), 1.0)
    seen = inputs.images["spikes"][:, -1] > 0.5
    assert torch.equal(lesson.mask, seen)
    assert (lesson.log_depth[:, :, :10] == 2.0).all()
    assert (lesson.log_depth[:, :, 10:] == 1.0).all()
    assert torch.equal(heard[:, :, :10], seen[:, :, :10])
    assert not heard[:, :, 10:].any()


def test_what_both_are_unsure_of_is_no_lesson():
    inputs = network_input(small_sample(0, planes=16), "spikes", ALL, 64 * 96)
    size = inputs.images["spikes"].shape[-2:]
    depth = torch.zeros(1, *size)
    scale = torch.arange(depth.numel(), dtype=torch.float32).view(1, *size) / depth.numel()
    lesson, heard = by_the_better(said(inputs, depth), scale, nowhere(depth), prediction(depth, scale + 0.5), 0.25)
    seen = inputs.images["spikes"][:, -1] > 0.5
    assert abs(float(lesson.mask.sum() / seen.sum()) - 0.25) < 0.01
    assert float(scale[lesson.mask].max()) < float(scale[seen & ~lesson.mask].min())
    assert torch.equal(heard, lesson.mask)


def test_an_answer_that_is_not_finite_teaches_nothing():
    inputs = network_input(small_sample(0, planes=16), "spikes", ALL, 64 * 96)
    size = inputs.images["spikes"].shape[-2:]
    own, scale = torch.zeros(1, *size), torch.zeros(1, *size)
    own[:, 20, 30] = torch.nan
    teacher = said(inputs, torch.ones(1, *size))
    lesson, heard = by_the_better(teacher, scale - 1.0, nowhere(own), prediction(own, scale), 1.0)
    assert not lesson.mask[:, 20, 30].any()
    assert torch.isfinite(lesson.log_depth).all()
    assert heard.sum() == lesson.mask.sum()


def test_what_is_measured_is_learned_from_whoever_is_surer():
    inputs = network_input(small_sample(0, planes=16), "spikes", ALL, 64 * 96)
    size = inputs.images["spikes"].shape[-2:]
    teacher, own = torch.full((1, *size), 2.0), torch.full((1, *size), 1.0)
    teachers, owns = torch.full((1, *size), -1.0), torch.full((1, *size), -2.0)
    measured = nowhere(own)
    measured[:, :, :30] = True
    lesson, heard = by_the_better(said(inputs, teacher), teachers, measured, prediction(own, owns), 1.0)
    assert (lesson.log_depth[measured] == 2.0).all()
    assert (lesson.log_depth[~measured] == 1.0).all()
    assert torch.equal(heard, lesson.mask & measured)


def test_lessons_that_the_network_takes_together_are_answered_as_one_by_one():
    network = toy_network().eval()
    lessons = []
    for seed, (sensors, pixels) in enumerate(
        [(("spikes",), 64 * 96), (ALL, 64 * 96), (("spikes",), 32 * 64), (("spikes",), 64 * 96), (ALL, 64 * 96)]
    ):
        inputs = network_input(small_sample(seed, planes=16), "spikes", sensors, pixels)
        if seed == 3:  # seen by one sensor of a moment that all have seen
            inputs = restricted(network_input(small_sample(seed, planes=16), "spikes", ALL, pixels), sensors)
        # Of cameras of their own: what belongs to whom is not to be mixed up.
        inputs = dataclasses.replace(inputs, camera=inputs.camera * (1 + 0.1 * seed), height=inputs.height + 0.2 * seed)
        size = inputs.images["spikes"].shape[-2:]
        lessons.append(Lesson(inputs, torch.zeros(1, *size), torch.ones(1, *size, dtype=torch.bool), "live", seed))
    groups = alike(lessons)
    assert sorted([lesson.time_ns for lesson in group] for group in groups) == [[0, 3], [1, 4], [2]]
    for group in groups:
        together = network(stacked([lesson.inputs for lesson in group]))
        for row, lesson in enumerate(group):
            alone = network(lesson.inputs)
            assert torch.allclose(together.log_depth[row], alone.log_depth[0], atol=1e-5)
            assert torch.allclose(together.log_scale[row], alone.log_scale[0], atol=1e-5)
