"""Online distillation on toy streams: it helps, it cannot harm, it is deterministic, and it keeps to its budget."""

import copy
import dataclasses
import math

import pytest
import torch

from spike_depth_core.adaptation import ACCEPTED, AdaptationEngine, GuardOptions
from spike_depth_core.adaptation.guard import Guard, mean_error
from spike_depth_core.adaptation.lessons import from_truth
from test.core.adaptation.toys import BOLD, SMALL, same_weights, toy_network, toy_originals, toy_stream
from test.core.factories import small_sample


@pytest.fixture
def network():
    return toy_network()


@pytest.fixture(scope="module")
def original():
    return toy_originals()


def run(engine, samples, steps=2):
    for sample in samples:
        engine.observe(sample)
        for _ in range(steps):
            engine.step()
    return engine


def test_the_student_comes_closer_to_its_teacher_and_the_original_stays_as_good(network, original):
    before = copy.deepcopy(network)
    engine = run(AdaptationEngine(network, original, options=BOLD), toy_stream(40))
    assert same_weights(network, before)  # what was handed in is not touched
    assert engine.counts.swaps > 0
    lessons = engine.held_out
    assert mean_error(engine.service, lessons) < 0.9 * mean_error(before, lessons)
    assert mean_error(engine.service, engine.guard.original) <= 1.05 * mean_error(before, engine.guard.original)
    assert engine.verdict.original <= 1.05 or engine.verdict.reasons


def test_normalisation_statistics_stay_as_they_were(network, original):
    engine = run(AdaptationEngine(network, original, options=BOLD), toy_stream(15))
    assert engine.counts.steps > 10
    buffers = dict(network.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in engine.candidate.named_buffers())
    weights = dict(network.named_parameters())
    assert any(not torch.equal(value, weights[name]) for name, value in engine.candidate.named_parameters())


def test_the_same_stream_and_seed_give_the_same_weights(network, original):
    first, second = (run(AdaptationEngine(network, original, options=BOLD), toy_stream(12)) for _ in range(2))
    assert same_weights(first.candidate, second.candidate)
    other = run(AdaptationEngine(network, original, options=dataclasses.replace(BOLD, seed=1)), toy_stream(12))
    assert not same_weights(first.candidate, other.candidate)


def test_weights_that_forget_the_original_are_rolled_back_and_it_backs_off(network, original):
    strict = dataclasses.replace(BOLD, guard=GuardOptions(original_bound=-0.9, least_held_out=1, known_bound=9.0))
    engine = run(AdaptationEngine(network, original, options=strict), toy_stream(40))
    assert engine.counts.swaps == 0
    assert same_weights(engine.service, network)
    # Reviews are due at 10, 20, ...: refused, one waited for; refused at 30, two waited for; refused at 60, four.
    assert 60 <= engine.counts.steps < 110
    assert engine.counts.rollbacks == 3
    assert "original examples" in engine.verdict.reasons[-1]


def test_what_the_guard_asks_after_was_not_learned(network):
    examples = [small_sample(100 + i, planes=16) for i in range(7)]
    engine = AdaptationEngine(network, examples, options=dataclasses.replace(BOLD, held_out=3))
    asked, learned = (
        [float(lesson.log_depth.mean()) for lesson in part] for part in (engine.guard.original, engine.original)
    )
    lessons = [from_truth(sample, "spikes", ("spikes",), SMALL.pixels, (0.5, 100.0)) for sample in examples]
    means = [float(lesson.log_depth.mean()) for lesson in lessons]
    assert (asked, learned) == ([means[i] for i in (0, 3, 6)], [means[i] for i in (1, 2, 4, 5)])


def test_steps_that_explode_change_nothing(network, original):
    engine = AdaptationEngine(network, original, options=dataclasses.replace(BOLD, max_loss=1e-9))
    run(engine, toy_stream(5))
    assert (engine.counts.steps, engine.counts.skipped_steps) == (0, 10)
    assert same_weights(engine.candidate, network)


def test_a_teacher_that_answers_nan_teaches_nothing(network, original):
    engine = AdaptationEngine(network, original, options=BOLD)
    engine._teacher = copy.deepcopy(network)
    with torch.no_grad():
        engine._teacher.encoder.stems["rgb"].to_half[0].weight.fill_(math.nan)
    said = [engine.observe(sample) for sample in toy_stream(3)]
    assert said == ["the teacher's answer is not finite"] * 3
    assert not engine.step()
    assert engine.gate.counts[ACCEPTED] == 0


def test_guard_names_what_is_wrong(network, original):
    lessons = [from_truth(sample, "spikes", ("spikes",), SMALL.pixels, (0.5, 100.0)) for sample in original]
    guard = Guard(network, lessons, options=GuardOptions(least_held_out=3))
    assert guard.judge(copy.deepcopy(network), network, lessons).accepted
    assert "2 held-out moments" in guard.judge(network, network, lessons[:2]).reasons[-1]
    broken = copy.deepcopy(network)
    with torch.no_grad():
        broken.decoder.head.bias[0] = math.inf
    assert "not finite, first in decoder.head.bias" in guard.judge(broken, network, lessons).reasons[0]
    shifted = copy.deepcopy(network)
    with torch.no_grad():
        shifted.decoder.head.bias[0] += 1.5
    assert "known answer moved by 1.50" in guard.judge(shifted, network, lessons).reasons[0]
    with pytest.raises(ValueError, match="at least one example"):
        Guard(network, [])


def test_disabled_nothing_is_taken_and_reset_forgets(network, original):
    engine = AdaptationEngine(network, original, options=BOLD)
    engine.enabled = False
    assert engine.observe(toy_stream(1)[0]) == "disabled"
    assert not engine.step()
    engine.enabled = True
    run(engine, toy_stream(40))
    assert not same_weights(engine.service, network)
    engine.reset()
    assert same_weights(engine.service, network)
    assert same_weights(engine.candidate, network)
    status = engine.status()
    assert (status["remembered"], status["held_out"]) == (0, 0)
    assert status["steps"] == engine.counts.steps > 0


def test_a_moment_without_the_students_sensors_is_named(network, original):
    engine = AdaptationEngine(network, original, options=BOLD)
    assert engine.observe(dataclasses.replace(toy_stream(1)[0], spikes=None)) == "no student's sensors are there"
    with pytest.raises(ValueError, match="asked to adapt"):
        AdaptationEngine(network, original, options=dataclasses.replace(BOLD, students=(("radar",),)))
    without = dataclasses.replace(original[0], depth={})
    with pytest.raises(ValueError, match="true depth for 'spikes'"):
        AdaptationEngine(network, [without], options=BOLD)
