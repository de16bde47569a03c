"""Pictures: the scales mean what they say, and the files can be opened by others."""

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.evaluation import pictures
from spike_depth_core.spikes import PackedSpikes


def test_depth_colours_are_even_in_log_depth_and_fixed():
    depth = np.geomspace(2, 80, 50, dtype=np.float32)[None]
    whole = pictures.colorize_depth(depth)
    # The colour of a depth does not depend on what else is in the picture.
    assert (pictures.colorize_depth(depth[:, 30:31]) == whole[:, 30:31]).all()
    red, _, blue = whole[0].astype(int).T
    assert red[0] > 150 > blue[0]
    assert blue[-1] > 150 > red[-1]
    # 5 m and 50 m are easily told apart, from each other and from their neighbours at 3.5 and 70 m.
    few = pictures.colorize_depth(np.array([[3.5, 5, 50, 70]]))[0].astype(int)
    assert np.abs(np.diff(few, axis=0)).sum(axis=1).min() > 40


def test_sky_unknown_and_range_ends():
    depth = np.array([[np.inf, np.nan, 0.0, -1.0, 0.5, 2.0, 80.0, 300.0]])
    picture = pictures.colorize_depth(depth)[0]
    assert tuple(picture[0]) == pictures.SKY
    assert all(tuple(picture[i]) == pictures.UNKNOWN for i in (1, 2, 3))
    assert (picture[4] == picture[5]).all()
    assert (picture[6] == picture[7]).all()


def test_error_sign():
    truth = np.array([[10.0, 10.0, 10.0, np.inf, np.nan]])
    picture = pictures.colorize_error(np.array([[6.0, 10.0, 14.0, 30.0, 30.0]]), truth)[0].astype(int)
    assert picture[0, 2] > picture[0, 0] + 50  # too near: blue
    assert np.ptp(picture[1]) < 5  # right: no colour
    assert picture[2, 0] > picture[2, 2] + 50  # too far: red
    assert tuple(picture[3]) == pictures.SKY
    assert tuple(picture[4]) == pictures.UNKNOWN


def test_thicken_keeps_the_nearest():
    depth = np.zeros((5, 7), np.float32)
    depth[2, 2], depth[2, 4] = 30.0, 5.0
    grown = pictures.thicken(depth)
    assert grown[2, 3] == 5.0
    assert grown[1, 1] == 30.0
    assert np.isnan(grown[0]).all()
    assert np.isfinite(grown).sum() == 15
    # Other values at the same points grow into the same squares.
    like = pictures.thicken_like(np.arange(35.0).reshape(5, 7), depth)
    assert (np.isnan(like) == np.isnan(grown)).all()
    assert like[1, 1] == depth.shape[1] * 2 + 2
    assert like[2, 3] == depth.shape[1] * 2 + 4


def test_spike_image_is_ordered_by_rate_and_counts_no_more_than_asked():
    planes = np.zeros((300, 4, 8), np.uint8)
    planes[::2, :2] = 1  # half of all planes
    planes[:, 2] = 1  # all of them
    planes[:200, 3] = 1  # none of the last 100
    image = pictures.spike_image(PackedSpikes.from_planes(planes), 100)[..., 0]
    assert image[2, 0] == 255
    assert image[0, 0] == round(255 * 0.5 ** (1 / 2.2))
    assert image[3, 0] == 0
    assert pictures.spike_image(PackedSpikes.from_planes(planes), 1000)[3, 0, 0] > 200  # 300 planes, no overflow


def test_spike_image_exposes_longer_in_the_dark():
    planes = np.zeros((256, 4, 8), np.uint8)
    planes[100, :, :4] = 1  # the left half fires once, long before the last 64 planes
    dark = pictures.spike_image(PackedSpikes.from_planes(planes))[..., 0]
    assert (dark[:, :4] == 255).all()
    assert (dark[:, 4:] == 0).all()
    planes[-64::2, :, 4:] = 1  # light enough now: only the last 64 planes count
    light = pictures.spike_image(PackedSpikes.from_planes(planes))[..., 0]
    assert (light[:, :4] == 0).all()
    assert (light[:, 4:] == 255).all()


def test_grid_places_every_cell_and_is_even():
    red, green = (np.full((10, 20, 3), color, np.uint8) for color in ((250, 0, 0), (0, 250, 0)))
    sheet = pictures.grid([[("a", red), None], [("b", green), ("a long label " * 9, red)]], cell_width=101)
    assert sheet.shape[0] % 2 == 0
    assert sheet.shape[1] % 2 == 0
    count = lambda color: int((sheet == np.array(color, np.uint8)).all(axis=2).sum())  # noqa: E731
    assert count((250, 0, 0)) == 2 * count((0, 250, 0)) > 0
    assert count((0, 250, 0)) == 101 * 50  # 10 * 101 / 20, rounded to even


@pytest.mark.parametrize(("height", "width"), [(1, 4000), (4000, 1), (30, 10)])
def test_grid_shows_all_of_a_picture_that_is_a_line(height, width):
    sheet = pictures.grid([[("a", np.full((height, width, 3), (250, 0, 0), np.uint8))]], cell_width=100)
    rows, columns = np.nonzero((sheet == np.array((250, 0, 0), np.uint8)).all(axis=2))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == {1: (1, 100), 4000: (300, 1), 30: (300, 100)}[height]


@pytest.mark.parametrize("make", [pictures.depth_bar, pictures.error_bar, pictures.uncertainty_bar])
def test_bars_fill_the_width_asked(make):
    assert make(300).shape == (34, 300, 3)
    assert pictures.bars(1001, ("depth", "error", "uncertainty")).shape == (34, 1001, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_video_can_be_read_back(tmp_path, suffix):
    frames = [np.full((32, 48, 3), 40 * i, np.uint8) for i in range(5)]
    path = pictures.write_video(tmp_path / f"a{suffix}", iter(frames), 10)
    if path.suffix == ".mp4":
        av = pytest.importorskip("av")
        with av.open(str(path)) as container:
            read = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    else:
        with Image.open(path) as gif:
            read = []
            for i in range(gif.n_frames):
                gif.seek(i)
                read.append(np.asarray(gif.convert("RGB")))
    assert [round(float(r.mean())) for r in read] == pytest.approx([40 * i for i in range(5)], abs=4)


def test_video_errors(tmp_path):
    with pytest.raises(ValueError, match="at least one picture"):
        pictures.write_video(tmp_path / "a.gif", [], 10)
    with pytest.raises(ValueError, match=r"a\.avi"):
        pictures.write_video(tmp_path / "a.avi", [], 10)


def test_png_roundtrip(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    pictures.write_png(tmp_path / "deep" / "a.png", picture)
    assert (np.asarray(Image.open(tmp_path / "deep" / "a.png")) == picture).all()
