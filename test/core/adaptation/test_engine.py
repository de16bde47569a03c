"""Online distillation on toy streams: it helps, it cannot harm, it is deterministic, and it keeps to its budget."""

import copy
import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
import torch

from spike_depth_core.adaptation import ACCEPTED, AdaptationEngine, AdaptationOptions, GateOptions, GuardOptions
from spike_depth_core.adaptation import engine as engine_module
from spike_depth_core.adaptation.guard import Guard, mean_error
from spike_depth_core.adaptation.lessons import from_truth, network_input
from spike_depth_core.adaptation.originals import scaled_rig
from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.resources import default_checkpoint
from spike_depth_core.world import World
from test.core.adaptation.toys import BOLD, SMALL, same_weights, toy_network, toy_originals, toy_stream
from test.core.factories import small_sample

ALL = ("spikes", "rgb", "nir", "thermal")


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


def test_what_runs_by_day_is_judged_too(network, original):
    """Weights as good as those in service with the students' sensors, and useless with all of them."""
    engine = AdaptationEngine(network, original, options=BOLD)
    for sample in toy_stream(9):
        engine.observe(sample)
    bad = copy.deepcopy(network)
    with torch.no_grad():
        for name, value in bad.named_parameters():
            if "rgb" in name:
                value.normal_(std=3.0)
    verdict = engine.guard.judge(bad, engine.service, engine.held_out)
    assert (verdict.live, verdict.original) == (1.0, 1.0)
    on_originals, on_the_stream = verdict.reasons
    assert "original examples with all sensors" in on_originals
    assert "held-out moments with the teacher's sensors" in on_the_stream
    asked = from_truth(original[0], "spikes", ALL, SMALL.pixels, (0.5, 100.0))  # the guard's only one: every third
    assert verdict.fused == pytest.approx(mean_error(bad, [asked]) / mean_error(network, [asked]))
    inputs = [network_input(sample, "spikes", ALL, SMALL.pixels) for sample in toy_stream(9)[2::3]]
    with torch.no_grad():
        moved = [
            float((bad(whole).depth / network(whole).depth - 1).abs()[lesson.whole.mask].mean())
            for whole, lesson in zip(inputs, engine.held_out, strict=True)
        ]
    assert verdict.drift == pytest.approx(sum(moved) / len(moved), rel=1e-4)
    engine.averaged = bad
    engine.review()
    status = engine.status()
    assert (status["swaps"], status["rollbacks"]) == (0, 1)
    assert (status["fused_ratio"], status["fused_drift"]) == (verdict.fused, verdict.drift)


@pytest.fixture(scope="module")
def streets():
    """Three moments each of streets in a town that the shipped checkpoint has not seen, on the move."""
    worlds = [World(900 + k, rig=scaled_rig(0.5), supersample=1, condition="day", town="second") for k in range(3)]
    return [[world.sample(time_s) for time_s in (3.75, 3.9, 4.0)] for world in worlds]


@pytest.fixture
def street(streets):
    return streets[0]


def taught(samples, **options):
    """The engine that has been given these moments, and its lesson or question about the last."""
    network, info = load_checkpoint(default_checkpoint())
    options = AdaptationOptions(students=(("spikes",),), **options)
    engine = AdaptationEngine(network, samples[-1:], info.depth_range, options)
    for sample in samples[:-1]:
        engine.remember(sample)
    assert engine.observe(samples[-1]) == ACCEPTED
    return engine, (*engine.memory.items, *engine.held_out)[-1]


def error(lesson, sample):
    pixels = load_checkpoint(default_checkpoint())[0].architecture.pixels
    truth = from_truth(sample, "spikes", ("spikes",), pixels, (0.5, 80.0))
    mask = lesson.mask & truth.mask
    return float((lesson.depth / truth.depth - 1).abs()[mask].mean())


def test_what_is_taught_is_nearer_to_the_truth_where_the_vehicle_knows_how_it_moves(streets):
    ratios = []
    for street in streets:
        measured = taught(street)[1]
        told = taught([dataclasses.replace(sample, world_from_reference=None) for sample in street])[1]
        unused = taught(street, parallax=None)[1]
        assert torch.equal(told.log_depth, unused.log_depth)
        assert told.whole is None
        assert measured.whole.sensors == ALL
        ratios.append([error(lesson, street[-1]) / error(told, street[-1]) for lesson in (measured, measured.whole)])
    assert np.mean(ratios) < 0.9


def test_weights_in_service_are_corrected_and_the_first_ones_teach_what_nothing_corrects(street):
    network, info = load_checkpoint(default_checkpoint())
    nearer = copy.deepcopy(network)
    with torch.no_grad():
        nearer.decoder.head.bias[0] -= 0.2
    found = []
    for samples in (street, [dataclasses.replace(sample, world_from_reference=None) for sample in street]):
        options = AdaptationOptions(students=(("spikes",),), held_out=1)
        engine = AdaptationEngine(network, samples[-1:], info.depth_range, options)
        engine.serve(nearer)
        for sample in samples[:-1]:
            engine.remember(sample)
        assert engine.observe(samples[-1]) == ACCEPTED
        found.append(engine.held_out[-1].whole)
    measured, told = found
    inputs = network_input(street[-1], "spikes", ALL, network.architecture.pixels)
    torch.testing.assert_close(measured.evidence.told, nearer(inputs).log_depth)
    torch.testing.assert_close(told.log_depth, network(inputs).log_depth)


def test_motion_that_is_not_so_teaches_something_else(street):
    """Poses are used, and used the right way round."""
    still = [dataclasses.replace(sample, world_from_reference=np.eye(4)) for sample in street]
    assert taught(still)[1].whole is None  # there is no parallax in it
    backwards = [
        dataclasses.replace(sample, world_from_reference=np.linalg.inv(sample.world_from_reference))
        for sample in street
    ]
    assert error(taught(backwards)[1], street[-1]) > error(taught(street)[1], street[-1])


def test_only_pictures_that_are_in_step_with_the_moment_are_compared(street):
    late = [
        dataclasses.replace(sample, offsets_ns={sensor: 30_000_000 * k for sensor in sample.sensors})
        for k, sample in enumerate(street)
    ]
    assert taught(late)[1].whole is None


def test_all_sensors_are_judged_by_what_is_measured(street):
    engine, _ = taught(street, held_out=1)
    bad = copy.deepcopy(engine.service)
    with torch.no_grad():
        for name, value in bad.named_parameters():
            if "rgb" in name:
                value.normal_(std=3.0)
    verdict = engine.guard.judge(bad, engine.service, [engine.held_out[0]] * 4)
    assert verdict.measured > 1.2
    assert math.isnan(verdict.drift)
    assert "with the teacher's sensors parallax disagrees x" in " ".join(verdict.reasons)


def test_of_the_original_training_students_and_all_sensors_learn_in_turn(network, original):
    engine = AdaptationEngine(
        network, [*original, *original], options=dataclasses.replace(BOLD, original=3, held_out=4)
    )
    engine.observe(toy_stream(1)[0])
    seen = Counter()

    def count(_, given):
        images = given[0].images
        seen[tuple(images)] += len(images["spikes"])

    engine.candidate.register_forward_pre_hook(count)
    engine.step()
    assert seen == {("spikes",): 4, ALL: 1}  # the newest, a remembered one, and of three original ones two


def test_a_teacher_that_is_nowhere_surer_is_not_heard(network, original):
    engine = AdaptationEngine(network, original, options=dataclasses.replace(BOLD, teacher_sensors=("spikes",)))
    assert engine.observe(toy_stream(1)[0]) == "the teacher is nowhere surer than the student"
    assert not engine.memory.items


def test_every_student_is_taught_and_judged_whatever_their_number(network):
    students = tuple(("spikes", *others) for others in ((), ("rgb",), ("nir",), ("thermal",), ("rgb", "nir")))
    options = dataclasses.replace(BOLD, students=students, held_out=len(students))
    engine = AdaptationEngine(network, [small_sample(i, planes=16) for i in range(26)], options=options)
    for sample in toy_stream(25):
        assert engine.observe(sample) == ACCEPTED
    for lessons in (engine.guard.original[:5], engine.held_out, engine.original[:5], engine.memory.items[:5]):
        assert {lesson.sensors for lesson in lessons} == set(students)


def test_steps_that_explode_change_nothing(network, original):
    engine = AdaptationEngine(network, original, options=dataclasses.replace(BOLD, max_loss=1e-9))
    run(engine, toy_stream(10))
    assert (engine.counts.steps, engine.counts.skipped_steps) == (0, 20)
    assert same_weights(engine.candidate, network)
    assert engine.counts.swaps == 0  # by weights that are those in service already


def test_weights_that_are_in_service_already_are_not_judged_again(network, original):
    easy = dataclasses.replace(BOLD, review_every=10_000, guard=GuardOptions(9.0, 9.0, 9.0, 1, 9.0, 9.0))
    engine = run(AdaptationEngine(network, original, options=easy), toy_stream(6))
    assert engine.review().accepted
    served = engine.service
    assert engine.review() is None
    assert engine.service is served
    assert (engine.counts.reviews, engine.counts.swaps) == (1, 1)
    nowhere = dataclasses.replace(easy, learning_rate=0.0)
    still = run(AdaptationEngine(network, original, options=nowhere), toy_stream(6))
    assert still.counts.steps > 0
    assert still.review() is None


def test_a_review_that_is_asked_for_does_not_shorten_the_wait(network, original):
    strict = dataclasses.replace(BOLD, guard=GuardOptions(original_bound=-0.9, least_held_out=1, known_bound=9.0))
    engine = AdaptationEngine(network, original, options=dataclasses.replace(strict, back_off=2))
    stream = toy_stream(40)
    run(engine, stream[:5])
    assert engine.counts.rollbacks == 1
    run(engine, stream[5:6])
    for _ in range(3):
        assert engine.review() is None
    assert engine.waiting == 2
    run(engine, stream[6:15])
    assert engine.waiting == 0
    assert engine.counts.reviews == 1


def test_a_teacher_that_answers_nan_teaches_nothing(network, original):
    engine = AdaptationEngine(network, original, options=BOLD)
    engine._teacher = copy.deepcopy(network)
    with torch.no_grad():
        engine._teacher.encoder.stems["rgb"].to_half[0].weight.fill_(math.nan)
    said = [engine.observe(sample) for sample in toy_stream(3)]
    assert said == ["the teacher's answer is not finite"] * 3
    assert not engine.step()
    assert engine.gate.counts[ACCEPTED] == 0


def test_a_teacher_that_does_not_see_with_the_students_sensors_teaches_them(network, original):
    options = dataclasses.replace(BOLD, teacher_sensors=("rgb", "nir"))
    engine = AdaptationEngine(network, original, options=options)
    sample = toy_stream(1)[0]
    assert engine.observe(sample) == ACCEPTED
    (lesson,) = engine.memory.items
    assert lesson.sensors == ("spikes",)
    said, own = (network(network_input(sample, "spikes", s, SMALL.pixels)) for s in (("rgb", "nir"), ("spikes",)))
    surer = said.log_scale < own.log_scale
    assert torch.equal(lesson.log_depth, torch.where(surer, said.log_depth, own.log_depth))
    assert surer[lesson.mask].any()
    for sample in toy_stream(7)[1:]:
        engine.observe(sample)
    verdict = engine.guard.judge(copy.deepcopy(network), network, engine.held_out)
    assert (verdict.reasons, verdict.drift) == ((), 0.0)  # as the teacher, it says what the teacher says
    strict = dataclasses.replace(options, gate=GateOptions(max_uncertainty=2.0, alignment=2.0))
    said = AdaptationEngine(network, original, options=strict).observe(sample)
    assert said == "rgb does not fit spikes"


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


def test_a_moment_without_any_of_the_teachers_sensors_is_named(network, original):
    options = dataclasses.replace(BOLD, teacher_sensors=("nir",))
    engine = AdaptationEngine(network, original, options=options)
    assert engine.observe(dataclasses.replace(toy_stream(1)[0], nir=None)) == "no nir for the teacher"


def test_an_original_example_that_says_nothing_is_named(network, original):
    far = dataclasses.replace(original[1], time_ns=12_345_000_000, depth={"spikes": original[1].depth["spikes"] + 200})
    with pytest.raises(ValueError, match=r"at 12\.345 s .* from 0\.5 to 100 m"):
        AdaptationEngine(network, [original[0], far], options=BOLD)


def test_original_examples_teach_those_students_whose_sensors_they_have(network, original):
    options = dataclasses.replace(BOLD, students=(("spikes",), ("spikes", "thermal")))
    cold = [dataclasses.replace(sample, thermal=None) for sample in original]
    engine = AdaptationEngine(network, cold, options=options)
    assert {lesson.sensors for lesson in (*engine.original, *engine.guard.original)} == {("spikes",)}
    with pytest.raises(ValueError, match="no student's sensors"):
        AdaptationEngine(network, [dataclasses.replace(original[0], spikes=None)], options=options)


@pytest.mark.parametrize(("bound", "refused"), [(-0.5, True), (-2.0, False)])
def test_pictures_without_edges_fit_where_no_fit_is_asked_for(monkeypatch, bound, refused):
    monkeypatch.setattr(engine_module, "edge_agreement", lambda *_: {"rgb": math.nan})
    options = dataclasses.replace(BOLD, gate=GateOptions(max_uncertainty=2.0, alignment=bound))
    engine = AdaptationEngine(toy_network(), toy_originals(), options=options)
    assert (engine.observe(toy_stream(1)[0]) == "rgb does not fit spikes") == refused
