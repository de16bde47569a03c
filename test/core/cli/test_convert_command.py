"""`spike-depth convert` from the outside: files in, files out, errors in one line."""

import resource
from pathlib import Path

import numpy as np
import pytest
import zstandard
from typer.testing import CliRunner

from spike_depth_core.bags import BagReader, BagWriter, messages, types
from spike_depth_core.bags.recording import record_spikes, spikes_of_bag
from spike_depth_core.cli.main import app
from spike_depth_core.spikes import PackedSpikes, read_spikes, write_spikes
from spike_depth_core.spikes.video import linear_grey, spikes_from_frames

VIDEO = Path(__file__).resolve().parents[4] / "shared" / "data" / "video" / "highway_960x540.mp4"


def run(*arguments: object):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.fixture
def planes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (20, 10, 16), dtype=np.uint8)


def test_there_and_back(tmp_path, planes):
    np.save(tmp_path / "a.npy", planes)
    result = run(tmp_path / "a.npy", tmp_path / "b.dat", "--target-layout", "with_head")
    assert result.exit_code == 0, result.output
    assert "20 planes of 16x10 pixels" in result.output.replace("\n", "")
    result = run(
        tmp_path / "b.dat", tmp_path / "c.npz", "--width", 16, "--height", 10, "--layout", "with_head",
        "--first", 5, "--count", 4, "--period-ns", 25_000,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    spikes = read_spikes(tmp_path / "c.npz")
    np.testing.assert_array_equal(spikes.planes(), planes[5:9])
    assert spikes.period_ns == 25_000


def test_errors_are_one_line_and_leave_nothing(tmp_path, planes):
    np.save(tmp_path / "a.npy", planes)
    for arguments, message in (
        ([tmp_path / "a.npy", tmp_path / "b.txt"], "spikes are written to .dat, .npy, .npz"),
        ([tmp_path / "a.npy", tmp_path / "a.npy"], "choose another name"),
        ([tmp_path / "a.npy", tmp_path / "b.dat", "--first", 18, "--count", 5], "no planes 18 to 22"),
        ([tmp_path / "none.dat", tmp_path / "b.dat"], "there is no file"),
        ([tmp_path / "none.dat", tmp_path / "b.dat"], "none.dat"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert message in result.output.replace("\n", "")
        assert "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_light_between_frames_is_linear_in_light():
    # From black to white in 128 planes: an ideal camera with gain g has collected g * 128 / 2.
    frames = [np.full((40, 40, 3), level, np.uint8) for level in (0, 255, 188)]
    first, second = list(spikes_from_frames(frames, 25.0))
    counts = first.planes().sum(0)
    assert set(np.unique(counts)) == {38, 39}  # of 0.6 * 64 = 38.4, by what a pixel had at first
    assert abs(counts.mean() - 38.4) < 0.05
    middle = 0.6 * 128 * (1 + linear_grey(frames[2])[0, 0]) / 2
    assert abs(second.planes()[:, 0, 0].sum() - middle) < 1.5
    assert first.period_ns == round(1e9 / 25 / 128)
    assert second.start_ns == first.end_ns


def test_equal_pixels_do_not_fire_together():
    """A camera that is switched on is in the midst of its intervals: as many pixels fire in each plane."""
    frames = [np.full((64, 64, 3), 188, np.uint8)] * 2  # half the light
    (spikes,) = spikes_from_frames(frames, 25.0)
    np.testing.assert_allclose(spikes.planes().mean((1, 2)), 0.6 * 0.503, atol=0.05)
    (same,), (other,) = (spikes_from_frames(frames, 25.0, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(same.data, spikes.data)
    assert (other.planes() != spikes.planes()).mean() > 0.3  # of two independent ones 0.42


def test_grey_is_linear_light():
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    grey = linear_grey(ramp)[0]
    assert grey[0] == 0
    assert abs(grey[255] - 1) < 1e-6
    assert abs(grey[188] - 0.5029) < 1e-3  # half the light is sRGB 188
    assert abs(linear_grey(np.uint8([[[0, 255, 0]]]))[0, 0] - 0.7152) < 1e-6


@pytest.mark.skipif(not VIDEO.exists(), reason=f"no sample video at {VIDEO}")
@pytest.mark.parametrize("camera", ["ideal", "physical"])
def test_a_video_becomes_spikes(tmp_path, camera):
    pytest.importorskip("av")
    result = run(
        VIDEO, tmp_path / "v.dat", "--width", 96, "--height", 56, "--first", 3, "--count", 3, "--camera", camera
    )
    assert result.exit_code == 0, result.output
    spikes = read_spikes(tmp_path / "v.dat", 56, 96)
    assert len(spikes) == 2 * 128
    from spike_depth_core.spikes.video import read_video

    _, frames = read_video(VIDEO, 56, 96)
    frame = [next(frames) for _ in range(5)][4]
    rate = spikes.planes()[64:192].mean(0)
    assert np.corrcoef(rate.ravel(), linear_grey(frame).ravel())[0, 1] > 0.98


def test_what_is_no_video_is_refused(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_text("not a video")
    result = run(tmp_path / "a.mp4", tmp_path / "b.dat")
    assert result.exit_code == 2
    assert "not a video" in result.output


def test_a_video_that_is_damaged_is_named(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for level in range(0, 240, 4):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    begin = content.index(b"movi") + 26  # within the first frame
    content[begin : begin + 400] = bytes(400)
    path.write_bytes(content)
    result = run(path, tmp_path / "b.dat")
    assert result.exit_code == 2
    assert "a.avi: damaged behind frame" in " ".join(result.output.split())
    assert not (tmp_path / "b.dat").exists()


def test_the_period_that_is_asked_for_is_that_of_any_source(tmp_path):
    planes = np.random.default_rng(0).integers(0, 2, (150, 8, 16), dtype=np.uint8)
    spikes = PackedSpikes.from_planes(planes, 50_000, 700)
    write_spikes(tmp_path / "a.npz", spikes)
    run(tmp_path / "a.npz", tmp_path / "b.mcap")
    for source in ("a.npz", "b.mcap"):
        for target in (f"{source}.npz", f"{source}.mcap"):
            result = run(tmp_path / source, tmp_path / target, "--first", 70, "--period-ns", 20_000)
            assert result.exit_code == 0, result.output
            assert "50,000 planes/s" in result.output
    for name in ("a.npz.npz", "b.mcap.npz"):
        found = read_spikes(tmp_path / name)
        assert (found.period_ns, found.start_ns) == (20_000, 700 + 70 * 20_000)
        np.testing.assert_array_equal(found.data, spikes.data[70:])
    for name in ("a.npz.mcap", "b.mcap.mcap"):
        parts = list(spikes_of_bag(BagReader(tmp_path / name)))
        assert [part.period_ns for part in parts] == [20_000] * 2
        assert parts[1].start_ns == parts[0].end_ns


@pytest.mark.skipif(not VIDEO.exists(), reason=f"no sample video at {VIDEO}")
def test_the_period_that_is_asked_for_is_that_of_a_video_too(tmp_path):
    pytest.importorskip("av")
    result = run(VIDEO, tmp_path / "v.npz", "--width", 16, "--height", 8, "--count", 3, "--period-ns", 20_000)
    assert result.exit_code == 0, result.output
    assert read_spikes(tmp_path / "v.npz").period_ns == 20_000


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_into_a_bag_and_back(tmp_path, suffix):
    spikes = PackedSpikes.from_planes(np.random.default_rng(0).integers(0, 2, (150, 8, 16), dtype=np.uint8))
    write_spikes(tmp_path / "a.dat", spikes)
    run(tmp_path / "a.dat", tmp_path / f"b{suffix}", "--height", 8, "--width", 16)
    run(tmp_path / f"b{suffix}", tmp_path / "c.dat")
    assert (tmp_path / "c.dat").read_bytes() == (tmp_path / "a.dat").read_bytes()
    run(tmp_path / f"b{suffix}", tmp_path / "d.npz", "--first", 60, "--count", 10)
    assert np.array_equal(read_spikes(tmp_path / "d.npz").data, spikes.data[60:70])
    (tmp_path / f"b{suffix}.zstd").write_bytes(zstandard.compress((tmp_path / f"b{suffix}").read_bytes()))
    run(tmp_path / f"b{suffix}.zstd", tmp_path / "e.dat")
    assert (tmp_path / "e.dat").read_bytes() == (tmp_path / "a.dat").read_bytes()


def test_what_of_a_bag_cannot_be_read_is_told(tmp_path):
    spikes = PackedSpikes.from_planes(np.random.default_rng(0).integers(0, 2, (640, 64, 64), dtype=np.uint8))
    with BagWriter(tmp_path / "a.mcap") as bag:
        record_spikes(iter([spikes]), bag)
    content = (tmp_path / "a.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(content[: len(content) // 2])
    result = run(tmp_path / "cut.mcap", tmp_path / "cut.dat")
    assert result.exit_code == 0, result.output
    read = read_spikes(tmp_path / "cut.dat", 64, 64)
    assert 0 < len(read) < 640
    np.testing.assert_array_equal(read.data, spikes.data[: len(read)])
    told = result.output.replace("\n", " ")
    for text in ("cut.mcap", "cut short: at byte", "% of the file"):
        assert text in told


@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz", ".mcap", ".db3"])
def test_where_planes_are_missing_nothing_is_written(tmp_path, suffix):
    spikes = PackedSpikes.from_planes(np.random.default_rng(0).integers(0, 2, (640, 8, 16), dtype=np.uint8))
    target = tmp_path / f"b{suffix}"
    with BagWriter(tmp_path / "gap.mcap") as bag:
        for seq in (*range(7), 8, 9):
            part = spikes.slice(64 * seq, 64 * seq + 64)
            bag.write("/s", types.SPIKE_PACKET, messages.spikes_to_message(part, seq, "s"), part.end_ns)
    result = run(tmp_path / "gap.mcap", target)
    assert result.exit_code == 2
    assert "packet 8 follows on 6" in result.output.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["gap.mcap"]
    if suffix not in (".mcap", ".db3"):  # which are never overwritten
        target.write_bytes(b"an earlier recording")
        assert run(tmp_path / "gap.mcap", target).exit_code == 2
        assert target.read_bytes() == b"an earlier recording"


@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz", ".mcap", ".db3"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, suffix):
    planes = np.random.default_rng(0).integers(0, 2, (200, 250, 400), dtype=np.uint8)
    write_spikes(tmp_path / "a.dat", PackedSpikes.from_planes(planes))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # where the recording takes 2.5 MB
    try:
        result = run(tmp_path / "a.dat", tmp_path / f"b{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 2
    assert f"b{suffix} cannot be written" in result.output.replace("\n", "")
    assert "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.dat"]


@pytest.mark.parametrize(
    ("source", "target", "options", "only"),
    [
        ("a.npy", "b.dat", ["--camera", "physical", "--seed", 4], "a video that is read"),
        ("a.dat", "b.npz", ["--planes-per-frame", 64], "a video that is read"),
        ("a.npy", "b.dat", ["--layout", "sps100"], "a .dat that is read"),
        ("a.mcap", "b.npy", ["--height", 8, "--width", 16], "a file of planes or a video that is read"),
        ("a.dat", "b.npz", ["--target-layout", "upright"], "a .dat that is written"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(tmp_path, source, target, options, only):
    spikes = PackedSpikes.from_planes(np.zeros((64, 250, 400), np.uint8))
    if source == "a.mcap":
        with BagWriter(tmp_path / source) as bag:
            record_spikes(iter([spikes]), bag)
    else:
        write_spikes(tmp_path / source, spikes)
    result = run(tmp_path / source, tmp_path / target, *options)
    assert result.exit_code == 2
    assert f"{', '.join(options[::2])}: only of {only}, found" in result.output.replace("\n", " ")
    assert not (tmp_path / target).exists()
