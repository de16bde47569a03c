"""Sensors that lie: what is learned from them is refused at one gate or another, and depth stays as good as it was."""

from __future__ import annotations

import copy
import dataclasses
import gc

import numpy as np
import pytest
import torch

from spike_depth_core.adaptation import ACCEPTED, AdaptationEngine, GateOptions
from spike_depth_core.adaptation.agreement import edge_agreement
from spike_depth_core.adaptation.guard import mean_error
from spike_depth_core.adaptation.lessons import from_truth, network_input
from spike_depth_core.adaptation.originals import scaled_rig
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.world import World
from test.core.adaptation.toys import BOLD, SMALL, toy_network, toy_originals, toy_stream

SEEN = ("spikes", "rgb", "nir", "thermal")


@pytest.fixture(scope="module")
def street():
    """Two moments of a rendered street, by night: the harder case for edges."""
    world = World(700_302, condition="night", rig=scaled_rig(0.5), supersample=1)
    return [world.sample(4.0), world.sample(5.0)]


def agreement(sample):
    return edge_agreement(network_input(sample, "spikes", SEEN, 23_000), "spikes")


def mirrored(sample, *sensors):
    flipped = {s: np.ascontiguousarray(getattr(sample, s)[:, ::-1]) for s in sensors if s != "spikes"}
    if "spikes" in sensors:
        planes = sample.spikes.planes()[:, :, ::-1]
        flipped["spikes"] = dataclasses.replace(PackedSpikes.from_planes(planes), start_ns=sample.spikes.start_ns)
    return dataclasses.replace(sample, **flipped)


def test_edges_of_sensors_that_see_the_same_fit_and_mirrored_ones_do_not(street):
    fit = agreement(street[0])
    assert set(fit) == {"rgb", "nir", "thermal"}
    assert all(value > 0.12 for value in fit.values())
    assert all(value < 0 for value in agreement(mirrored(street[0], "spikes")).values())
    swapped = agreement(mirrored(street[0], "rgb", "thermal"))
    assert swapped["rgb"] < 0 < swapped["nir"]
    assert swapped["thermal"] < 0
    np.testing.assert_allclose(swapped["rgb"], -fit["rgb"], atol=0.05)  # by definition, but for the border
    blank = dataclasses.replace(street[0], thermal=np.full_like(street[0].thermal, 30_000))
    assert not agreement(blank)["thermal"] >= -2.0


def test_swapped_left_and_right_is_named_and_not_learned_from(street):
    network = toy_network()
    options = dataclasses.replace(BOLD, gate=GateOptions(max_uncertainty=9.0))
    engine = AdaptationEngine(network, toy_originals(), options=options)
    assert engine.observe(mirrored(street[0], "rgb")) == "rgb does not fit spikes"
    later = dataclasses.replace(street[1], time_ns=street[1].time_ns)
    assert engine.observe(mirrored(later, "spikes")).endswith("does not fit spikes")
    assert not engine.step()


def flat(value):
    return lambda image: np.full_like(image, value)


def attacked(sample: DepthSample, kind: str, first: DepthSample) -> DepthSample:
    """A moment of the stream as an attack makes it."""
    camera = sample.rig.cameras["spikes"]
    ones = PackedSpikes.from_planes(np.ones((16, camera.height, camera.width), np.uint8))
    changes = {
        "black frames": lambda: {"rgb": flat(0)(sample.rgb), "nir": flat(0)(sample.nir)},
        "saturated spikes": lambda: {"spikes": ones},
        "stuck rgb": lambda: {"rgb": first.rgb},
        "stuck spikes": lambda: {"spikes": first.spikes},
        "stuck thermal": lambda: {"thermal": first.thermal},
        "frozen clock": lambda: {"time_ns": first.time_ns},
        "one picture for an hour": lambda: {s: getattr(first, s) for s in SEEN},
    }
    return dataclasses.replace(sample, **changes[kind]())


ATTACKS = {
    "black frames": "rgb is dark",
    "saturated spikes": "spikes are saturated",
    "stuck rgb": "nothing moves",
    "stuck spikes": "spikes is stuck",
    "stuck thermal": "thermal is stuck",
    "frozen clock": "clock stands still",
    "one picture for an hour": "nothing moves",
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_stream_that_goes_bad_teaches_nothing_from_then_on(kind):
    engine = AdaptationEngine(toy_network(), toy_originals(), options=BOLD)
    good = toy_stream(6)
    assert [engine.observe(sample) for sample in good] == [ACCEPTED] * 6
    remembered = len(engine.memory), len(engine.held_out)
    bad = [attacked(sample, kind, good[-1]) for sample in toy_stream(6, 100)]
    bad = [s if kind == "frozen clock" else dataclasses.replace(s, time_ns=s.time_ns + 6_000_000_000) for s in bad]
    assert {engine.observe(sample) for sample in bad} == {ATTACKS[kind]}
    assert (len(engine.memory), len(engine.held_out)) == remembered
    later = dataclasses.replace(toy_stream(1, 300)[0], time_ns=bad[-1].time_ns + 1_000_000_000)
    assert engine.observe(later) == ACCEPTED  # and when it is well again, it goes on


def test_a_teacher_that_lies_is_rolled_back_and_depth_stays_as_it_was():
    """Everything twice as far: labels that no gate can know to be wrong. The original examples do."""
    network = toy_network()
    engine = AdaptationEngine(network, toy_originals(), options=BOLD)
    liar = copy.deepcopy(network)
    with torch.no_grad():
        liar.decoder.head.bias[0] += np.log(2.0)
    engine._teacher = liar
    for sample in toy_stream(16):
        engine.observe(sample)
        engine.step()
        engine.step()
    truth = [from_truth(s, "spikes", ("spikes",), SMALL.pixels, (0.5, 100.0)) for s in toy_stream(5, 500)]
    worse = mean_error(engine.service, truth) / mean_error(network, truth)
    assert worse <= 1.02 or engine.counts.rollbacks > 0
    assert engine.counts.rollbacks > 0
    assert mean_error(engine.service, engine.guard.original) <= 1.05 * mean_error(network, engine.guard.original)


def test_an_hour_of_it_holds_no_more_than_a_minute():
    """What is remembered is bounded: each moment has some ten tensors, and after sixteen more there are none more."""
    options = dataclasses.replace(BOLD, reservoir=4, held_out_size=2, review_every=100, original=0, replay=0)
    engine = AdaptationEngine(toy_network(), toy_originals(), options=options)

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    def run(begin, count):
        for i in range(begin, begin + count):
            sample = dataclasses.replace(toy_stream(1, i % 30)[0], time_ns=(1 + i) * 1_000_000_000)
            engine.observe(sample)
            engine.step()
        return alive()

    first = run(0, 8)
    assert run(8, 16) < first + 30
