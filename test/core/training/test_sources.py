"""Training on extracted shards: for each recipe that its sensors allow, and a clear word where they do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import RECIPES
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.files import (
    SampleSummary,
    encode_sample,
    list_samples,
    load_sample,
    sample_path,
    save_sample,
)
from spike_depth_core.samples.shards import ShardWriter
from spike_depth_core.training.data import Draws, SampleFolders
from spike_depth_core.training.extraction import extract_unit, plan_extraction
from spike_depth_core.training.loop import LoopOptions
from spike_depth_core.training.manifest import ExtractionOptions
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.sources import Source, domains_of, parse_data, sample_sets, validation_of, validations_in
from spike_depth_core.training.stages import run_stages
from test.core.bags.recordings import write_recording
from test.core.factories import small_rig, small_sample
from test.core.training.drives import recorded_drive, write_drive

RIG = small_rig(64, 48)
SMALL = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=64 * 64)
TRUTH = "/truth/depth/image_rect"


def extracted(folder, bags, **options):
    given = {"planes": 32, "rate_hz": 0.0, "shares": (0.5, 0.5, 0.0), **options}
    for job in plan_extraction(bags, folder, ExtractionOptions(**given)):
        extract_unit(job)
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    return extracted(folder / "set", [write_drive(folder / f"{n}.mcap", 0.4, i, rig=RIG) for i, n in enumerate("ab")])


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled")
    bags = [
        write_recording(folder / f"{n}.mcap", [w for w in recorded_drive(0.4, i, RIG) if w[0] != TRUTH])
        for i, n in enumerate("cd")
    ]
    return extracted(folder / "set", bags)


def sparse_rgb(seed: int) -> DepthSample:
    """One camera, and depth at every seventh pixel."""
    sample = small_sample(seed)
    depth = sample.depth["rgb"].copy()
    depth.ravel()[np.arange(depth.size) % 7 > 0] = np.nan
    rig = dataclasses.replace(sample.rig, cameras={"rgb": sample.rig.cameras["rgb"]}, poses={}, reference="rgb")
    return DepthSample(rig, rgb=sample.rgb, depth={"rgb": depth}, meta={"sequence": "drive", "frame": seed})


def train(source: Source, recipe: str, out, steps: int = 4):
    stages = RECIPES[recipe](SMALL, 0)
    source.check(stages)
    run = TrainingRun(
        recipe=stages[0].recipe,
        options=LoopOptions(steps=steps, batch_size=2),
        data=source.data,
        validations=source.validations,
        out=out,
        device=torch.device("cpu"),
        workers=0,
        validate_every=2,
        about=source.about,
    )
    assert run_stages(stages, run)
    return load_checkpoint(out / "checkpoint.safetensors")[1]


@pytest.mark.parametrize("recipe", ["supervised", "unified", "align_and_fuse", "r2sdepth"])
def test_recipes_of_one_domain_learn_from_extracted_shards(recipe, labelled, tmp_path):
    info = train(sample_sets({"": labelled}, ("source",)), recipe, tmp_path)
    assert info.training["data"]["source"]["bags"] == ["a", "b"]
    assert info.training["data"]["source"]["samples"] == {"train": 11, "validation": 11}
    if recipe == "supervised":
        assert set(info.training["validation_abs_rel"]) == {
            f"spikes64x48_rgb96x64/{subset}" for subset in ("spikes+rgb", "spikes", "rgb")
        }


def test_a_recipe_of_two_domains_learns_from_two_sets(labelled, unlabelled, tmp_path):
    folders = parse_data([f"source={labelled}", f"target={unlabelled}"])
    domains = domains_of(RECIPES["bicross"](SMALL, 0))
    assert set(domains) == {"source", "target"}
    info = train(sample_sets(folders, domains), "bicross", tmp_path, 6)
    assert info.training["data"]["target"]["bags"] == ["c", "d"]
    with pytest.raises(ValueError, match="data is needed of source, target, found one without a name; say --data"):
        sample_sets(parse_data([str(labelled)]), domains)


def test_labels_of_the_second_domain_judge_nothing(labelled):
    source = sample_sets(parse_data([f"source={labelled}", f"target={labelled}"]), ("source", "target"))
    assert set(source.validations) == {"spikes64x48_rgb96x64"}


def test_view_synthesis_takes_no_label(unlabelled, tmp_path):
    source = sample_sets({"": unlabelled}, ("source",))
    assert source.validations == {}
    assert list(source.labelled()) == []
    train(source, "r2sdepth", tmp_path)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("supervised", "supervised cannot learn from this data: .*no samples with the true depth of .*known of none"),
        ("adu_depth", "adu_depth_teacher cannot learn from this data: .*with right-hand images; found"),
    ],
)
def test_what_a_recipe_misses_is_named_before_it_trains(recipe, message, unlabelled):
    source = sample_sets({"": unlabelled}, ("source",))
    with pytest.raises(ValueError, match=message):
        source.check(RECIPES[recipe](SMALL, 0))


def test_neighbours_are_of_the_same_sequence(labelled, tmp_path):
    """Parts of a tenth of a second: three frames, of which one has neighbours."""
    folder = extracted(tmp_path / "set", [labelled.parent / "a.mcap"], block_s=0.1, shares=(1, 0, 0))
    source = sample_sets({"": folder}, ("source",))
    draws = Draws(source.data, RECIPES["r2sdepth"](SMALL, 0)[0].recipe, 1, 20, seed=0)
    for step in range(20):
        (draw,) = draws.draw(step)
        own = load_sample(draw.paths[0])
        for offset, (path,) in draw.neighbours.items():
            beside = load_sample(path)
            assert beside.meta["sequence"] == own.meta["sequence"]
            assert (beside.time_ns - own.time_ns) == offset * 33_333_333


def test_only_labelled_samples_are_drawn_for_labels(tmp_path):
    drive = recorded_drive(0.4, 0, RIG)
    last = sorted(w[3] for w in drive if w[0] == TRUTH)[5]
    half = write_recording(tmp_path / "half.mcap", [w for w in drive if w[0] != TRUTH or w[3] < last])
    source = sample_sets({"": extracted(tmp_path / "set", [half], shares=(1, 0, 0))}, ("source",))
    draws = Draws(source.data, RECIPES["supervised"](SMALL, 0)[0].recipe, 2, 50, seed=0)
    seen = {path.key for step in range(50) for draw in draws.draw(step) for path in draw.paths}
    assert len(seen) == 5
    (folder,) = source.data["source"].folders
    assert len(folder.paths) == 11
    assert len(validation_of(folder.folder).batches[0]) == 5
    assert sum(1 for _ in source.labelled()) == 5


def test_sample_files_of_a_data_set_are_learned_from(tmp_path):
    """As `convert dataset` leaves them: RGB with sparse depth, in `train`, and others in `validation`."""
    for split, count in (("train", 5), ("validation", 3)):
        folder = tmp_path / "kitti" / split
        folder.mkdir(parents=True)
        for i in range(count):
            save_sample(sample_path(folder, i), sparse_rgb(i))
    info = train(sample_sets({"": tmp_path / "kitti"}, ("source",)), "supervised", tmp_path / "out")
    assert info.training["data"] == {"source": {"folder": "kitti", "samples": {"train": 5, "validation": 3}}}
    assert set(info.training["validation_abs_rel"]) == {"kitti/rgb"}
    assert validations_in(tmp_path / "kitti").keys() == {"kitti"}


def files_of(folder, change, count=8):
    """A set of sample files, each as `change` makes it of its number and a small sample."""
    (folder / "train").mkdir(parents=True)
    for i in range(count):
        save_sample(sample_path(folder / "train", i), change(i, small_sample(i, planes=8, rig=RIG)))
    return folder


def with_truth_of(sample: DepthSample, *sensors: str) -> DepthSample:
    return dataclasses.replace(sample, depth={s: d for s, d in sample.depth.items() if s in sensors})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, s: with_truth_of(s), "train has no samples with the true depth of .*; it is known of none"),
        (lambda i, s: with_truth_of(s, "rgb"), "the true depth of spikes; it is known of rgb"),
        (
            lambda i, s: small_sample(i, planes=8, rig=small_rig(32, 48)) if i == 6 else s,
            r"0000006\.npz has spikes of 32x48 pixels, .*, where .*0000000\.npz has spikes of 64x48 pixels",
        ),
        (lambda i, s: small_sample(i, planes=16, rig=RIG) if i == 6 else s, r"0000006\.npz has spikes of .* bytes"),
        (lambda i, s: dataclasses.replace(s, rgb=None) if i == 6 else s, r"0000006\.npz has no rgb, where"),
    ],
)
def test_what_sample_files_lack_is_named_before_training(change, message, tmp_path):
    source = sample_sets({"": files_of(tmp_path, change)}, ("source",))
    with pytest.raises(ValueError, match=message):
        source.check(RECIPES["supervised"](SMALL, 0))


def test_a_file_without_a_truth_is_not_drawn_for_labels(tmp_path):
    folder = files_of(tmp_path, lambda i, s: with_truth_of(s) if i == 3 else s)
    (stage,) = RECIPES["supervised"](SMALL, 0)
    draws = Draws(sample_sets({"": folder}, ("source",)).data, stage.recipe, 4, 40, seed=0)
    drawn = {int(path.stem) for step in range(40) for draw in draws.draw(step) for path in draw.paths}
    assert drawn == {0, 1, 2, 4, 5, 6, 7}


def shard_of(root, name, labelled, unlabelled=0, width=16):
    """A folder with a shard of pictures of one grey, some of them with a truth."""
    rig = SensorRig.single("rgb", PinholeCamera.from_focal(width, 16, width), 1.5)
    with ShardWriter(root, f"{name}/000.tar") as shard:
        for i in range(labelled + unlabelled):
            depth = {"rgb": np.full((16, width), 9.0, np.float32)} if i < labelled else {}
            sample = DepthSample(rig, time_ns=i, rgb=np.zeros((16, width, 3), np.uint8), depth=depth)
            shard.add(f"{i:06d}", encode_sample(sample), SampleSummary.of(sample).to_dict())
    return root / name


def test_a_folder_that_is_rarely_drawn_and_has_no_labels_is_left_out_beforehand(tmp_path):
    folders = [shard_of(tmp_path, "many", 2400), shard_of(tmp_path, "one", 0, 1, width=24)]
    source, stages = Source({"source": SampleFolders(folders)}, {}), RECIPES["supervised"](SMALL, 0)
    (told,) = source.check(stages)
    assert "supervised leaves out a folder" in told
    assert f"{folders[1]} has no samples with the true depth of rgb" in told
    draws = Draws(source.data, stages[0].recipe, 2, 6000, seed=0)
    drawn = {draw.paths[0].shard.parent for step in range(6000) for draw in draws.draw(step)}
    assert drawn == {folders[0]}


def test_folders_are_drawn_as_often_as_they_have_samples_that_serve(tmp_path):
    folders = [shard_of(tmp_path, "all", 60), shard_of(tmp_path, "few", 20, 280, width=24)]
    recipe = RECIPES["supervised"](SMALL, 0)[0].recipe
    draws = Draws({"source": SampleFolders(folders)}, recipe, 2, 800, seed=0)
    few = sum(draws.draw(step)[0].paths[0].shard.parent == folders[1] for step in range(800))
    assert few / 800 == pytest.approx(20 / 80, abs=0.05)  # three standard deviations; of all samples it has 300 / 360
    given = Draws({"source": SampleFolders(folders, [1, 1])}, recipe, 2, 1, seed=0)
    assert list(given.data["source"].probabilities) == [0.5, 0.5]


def test_a_file_for_validation_that_is_unlike_the_others_is_named(tmp_path):
    folder = files_of(tmp_path, lambda i, s: small_sample(i, planes=16, rig=RIG) if i == 1 else s, count=2)
    with pytest.raises(ValueError, match=r"0000001\.npz has spikes of"):
        validation_of(folder / "train")


def test_sample_files_without_validation_are_not_judged(tmp_path):
    (tmp_path / "set" / "train").mkdir(parents=True)
    for i in range(3):
        save_sample(sample_path(tmp_path / "set" / "train", i), sparse_rgb(i))
    source = sample_sets(parse_data([f"source={tmp_path / 'set'}"]), ("source",))
    assert source.validations == {}
    assert len(source.data["source"]) == 3


def test_an_incomplete_or_wrong_folder_is_named(labelled, tmp_path):
    plan_extraction([labelled.parent / "a.mcap"], tmp_path / "half", ExtractionOptions(shares=(1, 0, 0)))
    with pytest.raises(ValueError, match="half is not complete: 0 of 1 parts are done"):
        sample_sets({"": tmp_path / "half"}, ("source",))
    with pytest.raises(ValueError, match="is no data set: it has neither"):
        parse_data([f"source={labelled}", f"target={tmp_path}"])
    with pytest.raises(ValueError, match="tells source twice"):
        parse_data([f"source={labelled}", f"source={labelled}"])


def test_every_sample_of_a_batch_is_what_was_drawn(labelled):
    source = sample_sets({"": labelled}, ("source",))
    draws = Draws(source.data, RECIPES["supervised"](SMALL, 0)[0].recipe, 3, 10, seed=2)
    for step in range(3):
        _, (request,), (batch,) = draws[step]
        (draw,) = draws.draw(step)
        for i, path in enumerate(draw.paths):
            sample = load_sample(path)
            np.testing.assert_array_equal(batch.depth[request.reference][i], sample.depth[request.reference])
            if "spikes" in request.sensors:
                np.testing.assert_array_equal(batch.images["spikes"][i], sample.spikes.data)
    assert len(list_samples(source.data["source"].folders[0].folder)) == 11
