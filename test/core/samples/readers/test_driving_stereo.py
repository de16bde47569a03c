"""DrivingStereo in its exact layout: half and full size, sessions and weathers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.driving_stereo import DrivingStereo

SESSION = "2018-07-09-16-11-56"
HEIGHT, WIDTH = 20, 44  # half size, as the pictures' widths below 1300 are taken to be


def stem(session: str, second: int) -> str:
    return f"{session}_2018-07-09-16-12-{second:02d}-250"


def write_frames(left: Path, right: Path | None, depth: Path, stems: list[str], suffix: str = ".jpg") -> None:
    stored = np.zeros((HEIGHT, WIDTH), np.uint16)
    stored[10, 20] = 256 * 30
    for place in (left, right, depth):
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(stems):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 20 * number, np.uint8)).save(left / f"{name}{suffix}")
        if right is not None:
            Image.fromarray(np.full((HEIGHT, WIDTH, 3), 100 + number, np.uint8)).save(right / f"{name}{suffix}")
        Image.fromarray(stored).save(depth / f"{name}.png")


def write_calibration(folder: Path, session: str, focal: float = 1003.5565) -> None:
    """As the half-size files are: the last column of `P_rect_103` is that of the full size."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{session}.txt").write_text(
        f"S_101: 1762 800\nR_101: 1 0 0 0 1 0 0 0 1\nT_101: 0 0 0\n"
        f"P_rect_101: {focal} 0 455.4 0 0 {focal} 197.4 0 0 0 1 0\n"
        f"P_rect_103: {focal} 0 455.4 -1093.101 0 {focal} 197.4 0 0 0 1 0\n"
        "T_103: -5.446e-01 -4.0e-03 -7.0e-03\n"
    )


def test_training_sessions(tmp_path):
    other = "2018-07-31-11-07-48"
    for session in (other, SESSION):
        folders = [tmp_path / f"train-{kind}" / session for kind in ("left-image", "right-image", "depth-map")]
        write_frames(*folders, [stem(session, second) for second in (9, 4, 30)])
        write_calibration(tmp_path / "calib" / "half-image-calib", session)
    data = DrivingStereo(tmp_path, "train")
    assert data.frames == tuple(Frame(f"train/{s}", n) for s in (SESSION, other) for n in range(3))
    sample = data[1]
    assert sample.images == ("rgb", "rgb_right")
    assert sample.rgb[0, 0, 0] == 0  # the second in time was written first
    assert np.argwhere(np.isfinite(sample.depth["rgb"])).tolist() == [[10, 20]]
    assert sample.depth["rgb"][10, 20] == 30
    # Half the baseline of the projection matrix: the true one. 2018-07-09 16:12:09 UTC is 1531152729 s.
    np.testing.assert_allclose(sample.rig.reference_from("rgb_right")[:3, 3], [0.54466, 0, 0], atol=1e-4)
    assert sample.time_ns == 1_531_152_729_250_000_000
    assert sample.meta["file"] == stem(SESSION, 9)
    assert data.neighbour(data.frames[0], 1) == data.frames[1]
    assert data.neighbour(data.frames[2], 1) is None
    with pytest.raises(ValueError, match=r"bicross_train takes 8 sessions, missing are 2018-07-31-11-22-31, 2018-08"):
        DrivingStereo(tmp_path, "bicross_train")
    assert {f.sequence for f in DrivingStereo(tmp_path, "bicross_train", partial=True).frames} == {f"train/{other}"}


def test_the_session_that_bicross_tests_with_is_of_the_official_test(tmp_path):
    session = "2018-08-01-11-13-14"
    places = [tmp_path / f"test-{kind}" / f"{kind}-half-size" for kind in ("left-image", "right-image", "depth-map")]
    write_frames(*places, [stem(session, 1), stem(SESSION, 2)])
    write_calibration(tmp_path / "half-image-calib", session)
    data = DrivingStereo(tmp_path, "bicross_test")
    assert data.frames == (Frame(f"test/{session}", 0),)
    assert data[0].meta["file"] == stem(session, 1)


def test_pictures_of_the_other_size_are_not_taken_for_those_asked_for(tmp_path):
    places = [tmp_path / "foggy" / f"{kind}-half-size" for kind in ("left-image", "right-image", "depth-map")]
    write_frames(*places, [stem(SESSION, 1)], ".png")
    assert len(DrivingStereo(tmp_path, "foggy", size="half")) == 1
    with pytest.raises(ValueError, match="there are no frames of split 'foggy'"):
        DrivingStereo(tmp_path, "foggy", size="full")


def test_weathers_come_in_two_sizes(tmp_path):
    stems = [stem(SESSION, second) for second in range(10)]
    for size in ("full", "half"):
        folders = [tmp_path / "foggy" / f"{kind}-{size}-size" for kind in ("left-image", "right-image", "depth-map")]
        write_frames(*folders, stems if size == "half" else stems[:1], ".png")
    write_calibration(tmp_path / "half-image-calib", SESSION, 900.0)
    write_calibration(tmp_path / "full-image-calib", SESSION, 1800.0)
    assert len(DrivingStereo(tmp_path, "foggy")) == 10
    assert len(DrivingStereo(tmp_path, "foggy", size="full")) == 1
    train, test = (DrivingStereo(tmp_path, f"foggy_{part}") for part in ("train", "test"))
    assert [frame.number for frame in train.frames + test.frames] == list(range(10))
    assert len(train) == 8
    assert test[0].meta["condition"] == "foggy"
    assert test[0].rig.cameras["rgb"].fx == 900  # small pictures take the calibration of small pictures
    wide = np.zeros((HEIGHT, 1400), np.uint16)
    for kind in ("left-image", "right-image"):
        Image.new("RGB", (1400, HEIGHT)).save(tmp_path / "foggy" / f"{kind}-full-size" / f"{stems[0]}.png")
    Image.fromarray(wide).save(tmp_path / "foggy" / "depth-map-full-size" / f"{stems[0]}.png")
    assert DrivingStereo(tmp_path, "foggy", size="full")[0].rig.cameras["rgb"].fx == 1800


def test_test_frames_without_right_hand_pictures(tmp_path):
    write_frames(
        tmp_path / "test-left-image" / "left-image-half-size",
        None,
        tmp_path / "test-depth-map" / "depth-map-half-size",
        [stem(SESSION, 1)],
    )
    write_calibration(tmp_path / "unpacked" / "test-calib" / "half-image-calib", SESSION)
    assert DrivingStereo(tmp_path, "test")[0].images == ("rgb",)


def test_what_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(ValueError, match="no frames of split 'rainy' of driving_stereo"):
        DrivingStereo(tmp_path, "rainy")
    with pytest.raises(ValueError, match="size of driving_stereo is half or full, found 'double'"):
        DrivingStereo(tmp_path, "rainy", size="double")
    folders = [tmp_path / "rainy" / f"{kind}-half-size" for kind in ("left-image", "right-image", "depth-map")]
    write_frames(*folders, [stem(SESSION, 1), stem(SESSION, 2)])
    with pytest.raises(ValueError, match=rf"there is no calibration half-image-calib/{SESSION}.txt"):
        DrivingStereo(tmp_path, "rainy")[0]
    write_calibration(tmp_path / "half-image-calib", SESSION)
    (folders[2] / f"{stem(SESSION, 2)}.png").unlink()
    with pytest.raises(ValueError, match=rf"there is no depth-map {stem(SESSION, 2)} in .*rainy"):
        DrivingStereo(tmp_path, "rainy")[1]
    Image.fromarray(np.ones((4, 4), np.uint16)).save(folders[2] / f"{stem(SESSION, 1)}.png")
    with pytest.raises(ValueError, match=r"-250.png is 4x4 pixels, its picture 44x20"):
        DrivingStereo(tmp_path, "rainy")[0]
    (tmp_path / "half-image-calib" / f"{SESSION}.txt").write_text("P_rect_101: 1 2\n")
    with pytest.raises(ValueError, match=r"P_rect_101 takes 12 values, found 2"):
        DrivingStereo(tmp_path, "rainy")[0]
