"""What recipes ask of domains: images, sequences, and whether plain streets will do."""

import dataclasses

import pytest

from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import RECIPES, Stage, Supervised
from spike_depth_core.training.domain_data import domain_folder
from spike_depth_core.training.domain_needs import DomainNeeds, needed_domain, needs_of, streets_suffice

SENSORS = ("spikes", "rgb", "nir", "thermal")
NEEDS = {
    "supervised": {"source": DomainNeeds(SENSORS, 1)},
    "unified": {"source": DomainNeeds(SENSORS, 1)},
    "align_and_fuse": {"source": DomainNeeds(SENSORS, 1)},
    "bicross": {"source": DomainNeeds(("spikes", "rgb"), 1), "target": DomainNeeds(("spikes",), 1)},
    "r2sdepth": {"source": DomainNeeds(("spikes", "rgb"), 3)},
    "adu_depth": {"source": DomainNeeds(("spikes", "rgb", "spikes_right", "rgb_right"), 1)},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_gets_what_its_stages_ask_for(recipe):
    needs = needs_of(RECIPES[recipe](Architecture(), 0))
    assert needs == NEEDS[recipe]
    assert streets_suffice(needs) == (recipe in ("supervised", "unified", "align_and_fuse"))


def test_settings_change_what_is_asked_for():
    both = needs_of(RECIPES["unified"](Architecture(), 0, unlabelled=True))
    assert set(both) == {"source", "target"}
    far = needs_of(RECIPES["r2sdepth"](Architecture(), 0, offsets=(-2, 1)))
    assert far["source"].frames == 4
    rgb = needs_of(RECIPES["adu_depth"](Architecture(sensors=("rgb",)), 0))
    assert rgb["source"].images == ("rgb", "rgb_right")


def test_a_domain_that_the_world_lacks_is_named():
    class Elsewhere(Supervised):
        domains = ("moon",)

    with pytest.raises(ValueError, match="found 'moon'"):
        needs_of((Stage(Elsewhere()),))


def test_the_domain_is_as_needed_and_no_larger_than_the_network():
    needs = DomainNeeds(("spikes", "rgb"), 3)
    domain = needed_domain("source", needs, 100 * 160)
    camera = domain.rig.cameras["spikes"]
    assert (camera.height, camera.width, domain.sensors, domain.frames) == (100, 160, ("spikes", "rgb"), 3)
    assert needed_domain("source", needs, 10**9).rig.cameras["spikes"].height == 250
    assert str(needs) == "spikes, rgb, sequences of 3 frames"


def test_a_folder_tells_domains_with_other_settings_apart():
    domain = needed_domain("target", DomainNeeds(("spikes",), 1), 1000)
    folder = domain_folder("data", domain)
    assert folder == domain_folder("data", needed_domain("target", DomainNeeds(("spikes",), 1), 1000))
    assert folder.name.startswith("target_")
    changes = ({"frames": 2}, {"sensors": ("rgb",)}, {"rate_hz": 5.0}, {"looks": domain.looks[:1]})
    others = {domain_folder("data", dataclasses.replace(domain, **change)) for change in changes}
    assert len({folder, *others}) == 5
