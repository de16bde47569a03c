"""`spike-depth simulate --bag`: a rendered drive as a bag that plays back with its truth."""

from __future__ import annotations

import numpy as np
import pytest

from spike_depth_core.bags import BagReader, messages
from spike_depth_core.bags.playback import Playback, PlayedMoment, rig_of_bag
from spike_depth_core.bags.recording import about_drive
from spike_depth_core.bags.sensors import find_sensors, find_truth
from spike_depth_core.cli.record_simulation import record_simulation
from spike_depth_core.world import World
from test.core.factories import small_rig


def test_a_rendered_drive_is_recorded_with_its_truth(tmp_path):
    path = tmp_path / "a.mcap"
    record_simulation(path, 5, 0.1, "dusk", small_rig(32, 24), 1.0, workers=0)
    bag = BagReader(path)
    assert bag.damage == []
    assert {"seed": 5, "condition": "dusk"}.items() <= about_drive(bag).items()
    topics = find_sensors(bag)
    assert set(topics.images) == {"spikes", "rgb", "nir", "thermal"}
    rig = rig_of_bag(bag)
    world = World(5, "dusk", small_rig(32, 24), supersample=1)
    assert rig.height == pytest.approx(world.rig.height)
    truth = find_truth(bag)
    events = list(Playback(bag, topics, rig, 64).play([truth]))
    depths = [messages.depth_image(event.decode()) for event in events if not isinstance(event, PlayedMoment)]
    assert len(depths) == 3
    expected = world.render(1.0 + 1 / 30, ["spikes"])["spikes"].depth
    np.testing.assert_allclose(depths[1], expected, rtol=1e-5)
    assert any(event.moment.spikes is not None for event in events if isinstance(event, PlayedMoment))
    with pytest.raises(ValueError, match="exists already"):
        record_simulation(path, 5, 0.1, "dusk", small_rig(32, 24), 1.0, workers=0)
