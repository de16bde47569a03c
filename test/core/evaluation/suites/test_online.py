"""Drives through a change of domain: what changes when, and that the findings are what the moments say."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from spike_depth_core.adaptation import AdaptationOptions, GateOptions
from spike_depth_core.adaptation.originals import rendered_originals, scaled_rig
from spike_depth_core.evaluation.suites import newcomer
from spike_depth_core.evaluation.suites.domains import domain_of
from spike_depth_core.evaluation.suites.online import (
    PRESETS,
    SCENARIOS,
    Learner,
    OnlinePreset,
    Scenario,
    TaughtByTruth,
    drive,
    findings,
    run_scenario,
    summary,
    turned,
    write_online_page,
)
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.checkpoint import CheckpointInfo
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.spikes import spike_counts
from spike_depth_core.world import World
from test.core.adaptation.toys import BOLD, toy_network, toy_originals, toy_stream

SHORT = OnlinePreset(1.0, 2.0, 1.0, 2.0, 1, 0.25, 2)


def test_findings_by_hand():
    def moments(phase, start, count, frozen, adapted, fused):
        """Each second one is twice as hard, and has nothing with all sensors: it must not count there."""
        easy = {"frozen": frozen, "adapted": adapted, "by_truth": 0.2}
        hard = {name: 2 * error for name, error in easy.items()}
        both = ({**easy, "teacher": 0.1, "fused": fused}, hard)
        return [{"phase": phase, "time_s": float(start + i), **both[i % 2]} for i in range(count)]

    before = moments("before", 0, 40, 0.2, 0.2, 0.1)
    new, after = moments("new", 40, 120, 0.4, 0.3, 0.09), moments("after", 160, 40, 0.2, 0.21, 0.13)
    found = findings([*before, *new, *after])
    assert found["gain"] == pytest.approx(0.25)
    assert found["loss"] == pytest.approx(0.05)
    assert found["worst"] == pytest.approx(0.05)
    assert (found["teacher_gain"], found["truth_gain"]) == (pytest.approx(0.75), pytest.approx(0.5))
    assert (found["fused_gain"], found["fused_worst"]) == (pytest.approx(0.1), pytest.approx(0.3))
    assert [w["fused"] for w in found["windows"]] == pytest.approx([0.1] * 2 + [0.09] * 6 + [0.13] * 2)
    assert [round(w["start_s"]) for w in found["windows"]] == list(range(0, 200, 20))
    assert found["begins_s"] == {"new": new[0]["time_s"], "after": after[0]["time_s"]}
    assert found["abs_rel"]["adapted"] == pytest.approx(1.5 * (40 * 0.2 + 120 * 0.3 + 40 * 0.21) / 200)


def test_the_worst_window_is_any_and_not_of_a_grid():
    steady = {"frozen": 0.2, "by_truth": 0.2, "teacher": 0.1, "fused": 0.1}
    errors = [0.24 if 30 <= k < 50 else 0.2 for k in range(100)]  # half of either of two windows of a grid
    phases = ["before"] * 20 + ["new"] * 60 + ["after"] * 20
    moments = [
        {"phase": phase, "time_s": 5.0 + k, "adapted": error, **steady}
        for k, (phase, error) in enumerate(zip(phases, errors, strict=True))
    ]
    assert findings(moments)["worst"] == pytest.approx(0.2)
    moments[-1]["adapted"] = 0.2 + 20 * 0.2 * 0.3  # the last moment counts, too
    assert findings(moments)["worst"] == pytest.approx(0.3)


def test_the_table_has_mean_and_spread_over_drives_of_a_scenario():
    def result(scenario, gain, error):
        shares = dict.fromkeys(("teacher_gain", "truth_gain", "loss", "worst", "fused_gain", "fused_worst"), 0.5)
        status = {"swaps": 2, "rollbacks": 1}
        errors = {"frozen": error, "adapted": error / 2}
        return {"scenario": {"name": scenario}, "abs_rel": errors, "status": status, "gain": gain, **shares}

    columns, rows = summary([result("night", 0.1, 0.2), result("rain", 0.3, 0.1), result("night", 0.2, 0.4)])
    night, rain = (dict(zip(columns, row, strict=True)) for row in rows)
    assert (night["scenario"], rain["scenario"]) == ("night", "rain")
    assert (night["frozen"], night["adapted"]) == ("0.300 ± 0.141", "0.150 ± 0.071")
    assert night["gain"] == "+15.0% ± 7.1%"
    assert (night["swaps"], night["roll-backs"]) == ("4", "2")
    assert (rain["gain"], rain["loss"]) == ("+30.0%", "+50.0%")


def test_the_newcomer_has_seen_the_vehicle_by_day_in_the_first_town_alone():
    (name,) = newcomer.SUITE.domains
    preset = newcomer.preset_for("small", 0.5)
    domain = domain_of(name, newcomer.SUITE.domains[name], preset)
    assert domain.town == "first"
    assert {(look.condition, look.weather) for look in domain.looks} == {("day", "clear")}
    assert {s: (c.height, c.width) for s, c in domain.rig.cameras.items()} == {
        s: (c.height, c.width) for s, c in scaled_rig(0.5).cameras.items()
    }
    scenes = [World(1, rig=scaled_rig(0.25), **scenario.world).scene for scenario in SCENARIOS]
    known = [s for s in scenes if (s.town.name, s.condition, s.weather) == ("first", "day", None)]
    assert len(known) == 2  # where only the camera or the rig is another
    assert {s.meta["condition"] for s in rendered_originals(3, 0.1, conditions=newcomer.CONDITIONS)} == {"day"}


def test_a_turned_rig_turns_all_but_the_reference_by_the_angle():
    rig = scaled_rig(0.25)
    moved = turned(rig, 2.0)
    np.testing.assert_array_equal(moved.reference_from("spikes"), rig.reference_from("spikes"))
    relative = np.linalg.inv(rig.reference_from("rgb")) @ moved.reference_from("rgb")
    assert np.degrees(np.arccos((np.trace(relative[:3, :3]) - 1) / 2)) == pytest.approx(2.0)
    np.testing.assert_allclose(moved.reference_from("rgb")[:3, 3], rig.reference_from("rgb")[:3, 3])


def test_the_drive_changes_when_it_should_and_time_goes_on():
    scenario = Scenario("night with a weak camera", {"condition": "night"}, {"gain": 0.5, "dead_fraction": 0.1}, 1.0)
    moments = list(drive(scenario, SHORT, 700_100))
    assert [phase for phase, _, _ in moments] == ["before"] * 2 + ["new"] * 4 + ["after"] * 2
    times = [sample.time_ns for _, sample, _ in moments]
    assert times == sorted(set(times))
    assert all(sample.spikes.end_ns == sample.time_ns for _, sample, _ in moments)
    assert {sample.meta["condition"] for phase, sample, _ in moments if phase == "new"} == {"night"}
    assert len({id(sample.rig) for _, sample, _ in moments}) == 1  # what the vehicle believes does not change
    for _, sample, earlier in moments:
        assert [sample.time_ns - glance.time_ns for glance in earlier] == [250_000_000, 100_000_000]
        assert all(glance.world_from_reference is not None for glance in (sample, *earlier))
    silent = [int((spike_counts(s.spikes, [256])[0] == 0).sum()) for _, s, _ in moments]
    assert min(silent[2:6]) > 0.09 * 100 * 62
    assert max(silent[:2]) < 0.05 * 100 * 62


def test_the_scenarios_are_of_different_worlds_that_there_are():
    scenes = [World(1, rig=scaled_rig(0.25), **scenario.world).scene for scenario in SCENARIOS]
    looks = [(scene.town.name, scene.condition, scene.weather.kind if scene.weather else "") for scene in scenes]
    assert looks[:3] == [("first", "night", ""), ("second", "day", ""), ("first", "day", "rain")]
    assert len({(look, *s.spikes.items(), s.turned_deg) for look, s in zip(looks, SCENARIOS, strict=True)}) == 5


def test_who_is_taught_by_truth_learns_it_wherever_it_is_known_and_is_judged_by_it():
    def with_truth(sample):
        """7 m below the upper third, and nothing known there."""
        depth = np.full_like(sample.depth["spikes"], 7.0)
        depth[: len(depth) // 3] = np.nan
        return dataclasses.replace(sample, depth={"spikes": depth})

    engine = TaughtByTruth(toy_network(), toy_originals(), options=BOLD)
    for sample in toy_stream(6):
        assert engine.observe(with_truth(sample)) == "accepted"
    assert (len(engine.memory), len(engine.held_out)) == (4, 2)
    for lesson in (*engine.memory.items, *engine.held_out):
        assert lesson.sensors == ("spikes",)
        assert "rgb" in lesson.whole.sensors
        for learned in (lesson, lesson.whole):
            torch.testing.assert_close(learned.depth[learned.mask], torch.full((int(learned.mask.sum()),), 7.0))
            assert float(learned.mask.float().mean()) == pytest.approx(2 / 3, abs=0.03)
    asked = engine.held_out[-1].whole.evidence
    for metres in (7.0, 9.0, 5.0):  # by how far in log-depth an answer is off
        regret = asked.regret(torch.full_like(asked.told, metres).log())[asked.said]
        torch.testing.assert_close(regret, torch.full_like(regret, abs(math.log(metres / 7.0))))


def test_a_short_drive_end_to_end(tmp_path):
    torch.manual_seed(0)
    network = DepthNetwork(Architecture(widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=64 * 96)).eval()
    before = copy.deepcopy(network.state_dict())
    learner = Learner("a network", DepthEstimator(network, CheckpointInfo(network.architecture)), network, ("day",))
    options = AdaptationOptions(
        students=(("spikes",),), gate=GateOptions(max_uncertainty=9.0, motion=0.0), review_every=3
    )
    result = run_scenario(Scenario("night", {"condition": "night"}), SHORT, learner, 700_200, options)
    assert len(result["moments"]) == 8
    assert all(m["frozen"] > 0 for m in result["moments"])
    first = result["moments"][0]
    assert first["frozen"] == pytest.approx(first["adapted"]) == pytest.approx(first["by_truth"])
    assert first["frozen"] != pytest.approx(first["teacher"])
    assert first["teacher"] == pytest.approx(first["fused"])
    assert ["fused" in m for m in result["moments"]] == [True, False] * 4
    assert result["status"]["moments"]["accepted"] > 0
    assert result["status"]["measured_moments"] == result["status"]["moments"]["accepted"]
    assert result["status"]["steps"] > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    write_online_page([result], tmp_path, "spike-depth benchmark --suite online")
    assert "| night |" in (tmp_path / "online.md").read_text()
    assert (tmp_path / "online_0_night.png").stat().st_size > 5000
    kept = json.loads((tmp_path / "online.json").read_text())["results"]
    assert "moments" not in kept[0]
    write_online_page(kept, tmp_path / "again", "spike-depth benchmark --suite online")  # of what was kept alone
    assert (tmp_path / "again" / "online.md").read_text() == (tmp_path / "online.md").read_text()
    assert dataclasses.asdict(PRESETS["smoke"])["scale"] == 0.25
