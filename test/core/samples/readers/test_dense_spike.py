"""DENSE-Spike in its exact layout."""

import math

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.dense_spike import DenseSpike
from spike_depth_core.samples.readers.depth_maps import read_depth_npy

SEQUENCE = "train/train_sequence_00_town01"
HEIGHT, WIDTH = 26, 34
PLANES = 6


def planes_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (PLANES, HEIGHT, WIDTH), dtype=np.uint8)


@pytest.fixture
def root(tmp_path):
    """Three frames at 30 Hz; planes from the second on; the sky at the far plane."""
    folder = tmp_path / SEQUENCE
    for name in (f"spike/r{PLANES}", "depth/data", "rgb/frames"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        depth = np.full((HEIGHT, WIDTH), 7.5 + number, np.float32)
        depth[:5] = 1000.0
        np.save(folder / "depth" / "data" / f"depth_{number:010d}.npy", depth)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 10 * number, np.uint8)).save(
            folder / "rgb" / "frames" / f"frame_{number:010d}.png"
        )
        if number:
            np.save(folder / f"spike/r{PLANES}" / f"spike_{number:010d}.npy", planes_of(number))
    stamps = "".join(f"{number} {2.0 + number / 30:.9f}\n" for number in range(3))
    (folder / f"spike/r{PLANES}" / "timestamps.txt").write_text(stamps)
    return tmp_path


def test_a_frame_is_read_whole(root):
    data = DenseSpike(root, "train", planes=PLANES)
    assert data.frames == (Frame(SEQUENCE, 1), Frame(SEQUENCE, 2))
    sample = data[1]
    assert sample.images == ("spikes", "rgb")
    np.testing.assert_array_equal(sample.spikes.planes(), planes_of(2))
    assert sample.rgb[0, 0, 0] == 20
    assert np.isposinf(sample.depth["spikes"][:5]).all()
    assert (sample.depth["rgb"][5:] == 9.5).all()
    assert sample.time_ns == sample.spikes.end_ns == round((2 + 2 / 30) * 1e9)
    assert sample.spikes.period_ns == round(1e9 / 30 / PLANES)
    assert sample.meta == {"dataset": "DENSE-Spike", "sequence": SEQUENCE, "frame": 2}
    # 83 degrees from the left edge to the right one.
    camera = sample.rig.cameras["spikes"]
    edges = [(u - camera.cx) / camera.fx for u in (-0.5, WIDTH - 0.5)]
    assert math.degrees(math.atan(edges[1]) - math.atan(edges[0])) == pytest.approx(83)
    assert sample.rig.height == 1.7
    assert data.neighbour(data.frames[0], 1) == data.frames[1]
    assert data.neighbour(data.frames[0], -1) is None


def test_what_is_missing_or_broken_is_named(root):
    with pytest.raises(ValueError, match="there are no frames of split 'test' of dense_spike"):
        DenseSpike(root, "test", planes=PLANES)
    folder = root / SEQUENCE
    data = DenseSpike(root, "train", planes=PLANES)
    depth = folder / "depth" / "data" / f"depth_{1:010d}.npy"
    np.save(depth, np.ones((HEIGHT, WIDTH + 1), np.float32))
    with pytest.raises(ValueError, match=r"depth_0000000001.npy is 35x26 pixels, its spikes 34x26"):
        data[0]
    np.save(depth, np.ones((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(ValueError, match=r"depth_0000000001.npy: depth is a float array .* found uint8"):
        data[0]
    depth.unlink()
    with pytest.raises(OSError, match=r"depth_0000000001.npy"):
        data[0]
    stamps = folder / f"spike/r{PLANES}" / "timestamps.txt"
    for text, message in (
        ("0 1.0\n1 1.0\n", "each frame must be later"),
        ("0 1.0 3\n", "found 3 numbers"),
        ("0 now\n", "expected `index seconds` a line"),
        ("0 1.0\n", "has 1 frames, none before and at number 1"),
    ):
        stamps.write_text(text)
        with pytest.raises(ValueError, match=rf"timestamps.txt.*{message}"):
            DenseSpike(root, "train", planes=PLANES)[0]


def test_another_number_of_planes_than_the_folder_says_is_refused(root):
    data = DenseSpike(root, "train", planes=PLANES)
    path = next((root / "train").glob(f"*/spike/r{PLANES}/spike_0000000002.npy"))
    np.save(path, np.concatenate([planes_of(2), planes_of(2)]))
    with pytest.raises(ValueError, match=rf"spike_0000000002.npy: {PLANES} planes were expected, found {2 * PLANES}"):
        [sample.spikes for sample in data]


def test_infinite_depth_is_sky_where_the_sky_has_a_value(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, 1000.0, np.inf, np.nan, 0.0]]))
    found = read_depth_npy(tmp_path / "a.npy", sky=1000.0)
    np.testing.assert_array_equal(found, [[1.0, np.inf, np.inf, np.nan, np.nan]])
    assert np.isnan(read_depth_npy(tmp_path / "a.npy")[0, 2])
    with open(tmp_path / "b.npy", "wb") as file:
        np.savez(file, depth=np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"b.npy: named .npy, but it is an archive"):
        read_depth_npy(tmp_path / "b.npy")
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "c.npy").write_bytes(content.replace(b"(1", b"((", 1))
    with pytest.raises(ValueError, match=r"c.npy: not a readable .npy of depth"):
        read_depth_npy(tmp_path / "c.npy")
