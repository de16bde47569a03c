"""What is remembered of a stream, and what is not learned from."""

import dataclasses

import numpy as np
import pytest

from spike_depth_core.adaptation import ACCEPTED, Gate, GateOptions, Reservoir
from spike_depth_core.spikes import PackedSpikes
from test.core.factories import small_rig, small_sample

SECOND = 1_000_000_000


def test_every_item_is_kept_as_often_as_any_other():
    """Over 2,000 seeds each of 20 items is in a reservoir of 5 a quarter of the time: 500 +- 19.4, 5 deviations."""
    kept = np.zeros(20)
    for seed in range(2000):
        reservoir: Reservoir[int] = Reservoir(5, seed)
        for item in range(20):
            reservoir.offer(item)
        assert len(set(reservoir.items)) == 5
        kept[reservoir.items] += 1
    assert np.abs(kept - 500).max() < 5 * 19.4


def test_it_is_bounded_deterministic_and_draws_without_repeating():
    first, second = Reservoir(8, 3), Reservoir(8, 3)
    for item in range(1000):
        assert first.offer(item) == second.offer(item)
    assert first.items == second.items
    assert len(first) == 8
    assert sorted(first.draw(100)) == sorted(first.items)
    assert len(set(first.draw(3))) == 3
    first.clear()
    assert (len(first), first.draw(3)) == (0, [])
    with pytest.raises(ValueError, match="at least one"):
        Reservoir(0)


def test_what_comes_after_forgetting_is_kept_as_if_nothing_had_come_before():
    """Of ten items half stay in a reservoir of five, the last as often as the first."""
    late = []
    for seed in range(100):
        reservoir: Reservoir[int] = Reservoir(5, seed)
        for item in range(100):
            reservoir.offer(item)
        reservoir.clear()
        for item in range(10):
            reservoir.offer(item)
        late += [item >= 5 for item in reservoir.items]
    assert 0.4 < np.mean(late) < 0.6  # 500 of them: four deviations


def moment(seed=0, seconds=1.0, **changes):
    return dataclasses.replace(small_sample(seed, planes=32), time_ns=round(seconds * SECOND), **changes)


def test_a_moving_well_exposed_stream_is_accepted_at_the_interval():
    gate = Gate(GateOptions(interval_s=0.2))
    said = [gate.judge(moment(i, 1 + 0.1 * i)) for i in range(6)]
    assert said == [ACCEPTED, "too soon after the last"] * 3
    assert gate.counts == {ACCEPTED: 3, "too soon after the last": 3}


RIG = small_sample(0).rig
SPIKES = RIG.cameras["spikes"]


def planes(value):
    return PackedSpikes.from_planes(np.full((32, SPIKES.height, SPIKES.width), value, np.uint8))


def flat(value, like):
    return np.full_like(like, value)


def few_spikes(count):
    """So many, in 32 planes."""
    found = np.zeros((32, SPIKES.height, SPIKES.width), np.uint8)
    found.reshape(-1)[:count] = 1
    return PackedSpikes.from_planes(found)


BASE = moment()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rgb": flat(0, BASE.rgb)}, "rgb is dark"),
        ({"rgb": flat(255, BASE.rgb)}, "rgb is saturated"),
        ({"nir": flat(0, BASE.nir)}, "nir is dark"),
        ({"thermal": flat(29_000, BASE.thermal)}, "thermal shows nothing"),
        ({"spikes": planes(1)}, "spikes are saturated"),
        ({"spikes": planes(0)}, "spikes are silent"),
        ({"spikes": few_spikes(10)}, "spikes are silent"),
        ({"nir": flat(900, BASE.nir.astype(np.uint16))}, "nir is dark"),
        ({"nir": flat(65_000, BASE.nir.astype(np.uint16))}, "nir is saturated"),
        ({"rgb": None}, "no rgb for the teacher"),
    ],
)
def test_a_sick_sensor_is_named(changes, reason):
    gate = Gate()
    assert gate.judge(moment(0, 1.0, **changes)) == reason
    assert gate.judge(moment(1, 2.0)) == ACCEPTED  # and the next healthy moment is learned from


def test_one_picture_for_an_hour_is_learned_from_once():
    gate = Gate()
    said = [gate.judge(moment(0, 1.0 + k)) for k in range(60)]
    assert said == [ACCEPTED] + ["nothing moves"] * 59


def test_a_frozen_clock_and_a_jump_are_not_learned_from():
    gate = Gate()
    assert gate.judge(moment(0, 10.0)) == ACCEPTED
    assert gate.judge(moment(1, 10.0)) == "clock stands still"
    assert gate.judge(moment(2, 3.0)) == "clock jumped"
    assert gate.judge(moment(3, 3.1)) == ACCEPTED  # anew: no interval is counted across the jump


def test_a_pause_between_moments_forgets_nothing():
    """While a budget is repaid moments are not looked at: a vehicle that stands all the while shows nothing new."""
    gate = Gate()
    assert gate.judge(moment(0, 1.0)) == ACCEPTED
    assert gate.judge(moment(0, 9.0)) == "nothing moves"
    assert gate.judge(moment(0, 2.0)) == "clock jumped"
    assert gate.judge(moment(0, 4.0)) == "nothing moves"
    assert [gate.judge(moment(1 + k, 10.0 + 6 * k)) for k in range(3)] == [ACCEPTED] * 3


def test_motion_is_told_from_the_last_moment_that_was_learned_from():
    gate = Gate()
    said = [gate.judge(moment(seed, 1.0 + k)) for k, seed in enumerate((0, 1, 1, 0, 0))]
    assert said == [ACCEPTED, ACCEPTED, "nothing moves", ACCEPTED, "nothing moves"]


def test_a_camera_that_changes_its_exposure_has_not_moved():
    gate = Gate()
    assert gate.judge(moment(0, 1.0)) == ACCEPTED
    assert gate.judge(moment(1, 2.0, rgb=BASE.rgb // 2 + 60)) == "nothing moves"


def test_a_camera_that_changes_its_size_has_a_new_picture():
    gate = Gate()
    assert gate.judge(moment(0, 1.0)) == ACCEPTED
    larger = small_sample(0, planes=32, rig=small_rig(160, 104))
    assert gate.judge(dataclasses.replace(larger, time_ns=2 * SECOND)) == ACCEPTED


def test_without_colour_whatever_has_changed_most_tells_motion():
    gate = Gate(GateOptions(teacher_sensors=("nir",)))
    assert gate.judge(moment(0, 1.0, rgb=None)) == ACCEPTED
    assert gate.judge(moment(1, 2.0, rgb=None, thermal=BASE.thermal)) == "thermal is stuck"
    assert gate.judge(moment(0, 3.0, rgb=None)) == "nothing moves"
