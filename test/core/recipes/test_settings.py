"""A recipe's settings as text: each becomes what the recipe takes, and what it does not take is named."""

import pytest

from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import RECIPES
from spike_depth_core.recipes.settings import settings_of
from spike_depth_core.recipes.teaching import Teaching

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1)


def settings(recipe, *given):
    return settings_of(recipe, RECIPES[recipe], SMALL, given)


def test_each_is_of_the_kind_that_the_recipe_takes():
    given = "motion=odometry", "teaching=online", "gate=false", "depth_weight=2", "offsets=[-2, -1]", "fused_share=0.3"
    found = settings("r2sdepth", *given)
    assert found == {
        "motion": "odometry",
        "teaching": Teaching("online"),
        "gate": False,
        "depth_weight": 2.0,
        "offsets": (-2, -1),
        "fused_share": 0.3,
    }
    stages = RECIPES["r2sdepth"](SMALL, 0, **found)
    assert [stage.share for stage in stages] == [0.3, 0.7]
    assert all(stage.recipe.motion == "odometry" for stage in stages)
    assert stages[1].recipe.teaching == Teaching("online")


def test_a_teacher_may_have_its_decay_and_a_mapping_keeps_what_is_not_said():
    assert settings("bicross", "self_teaching={mode: ema, decay: 0.9}") == {"self_teaching": Teaching("ema", 0.9)}
    found = settings("unified", "prefer={rgb: 2}")["prefer"]
    assert found == {"spikes": 0.4, "rgb": 2, "nir": 0.08, "thermal": 0.12}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_can_be_asked(recipe):
    assert settings(recipe, "jitter=0.25") == {"jitter": 0.25}
    assert all(stage.recipe.jitter == 0.25 for stage in RECIPES[recipe](SMALL, 0, jitter=0.25))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gate", "a setting is NAME=VALUE, found 'gate'"),
        ("seed=3", "unified has no setting 'seed'; it has align_weight, .*unlabelled_weight, zoom"),
        ("gate=3", "gate is true or false, True by default, found 3"),
        ("gamma=strong", "gamma is a number, 0.5 by default, found 'strong'"),
        ("zoom=2", r"zoom is a list, \(0.9, 1.15\) by default, found 2"),
        ("prefer={lidar: 1}", "prefer has spikes, rgb, nir, thermal, found lidar"),
        ("teaching=alone", "a teacher's mode is one of .* found 'alone'"),
        ("teaching={decoy: 1}", "teaching has mode, decay, found {'decoy': 1}"),
        ("gamma=.nan", "gamma is a finite number, 0.5 by default, found nan"),
        ("prefer={rgb: .inf}", r"prefer.rgb is a finite number, .* found inf"),
        ("zoom=[]", r"zoom is 2 numbers, \(0.9, 1.15\) by default, found \[\]"),
        ("zoom=[[1], 2]", r"zoom\[0\] is a number, 0.9 by default, found \[1\]"),
        ("zoom=2020-13-45", "zoom is no value: '2020-13-45'"),
        ("zoom=[1", r"zoom is no value: '\[1'"),
    ],
)
def test_what_cannot_be_is_named(given, said):
    with pytest.raises(ValueError, match=said):
        settings("unified", given)
