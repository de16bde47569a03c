"""Window statistics against naive twins on unpacked planes, and against a real recording's picture."""

from unittest import mock

import numpy as np
import pytest
import torch

from spike_depth_core.spikes import (
    NETWORK_CHANNELS,
    PackedSpikes,
    SpikeWindow,
    bitslice,
    interval_image,
    network_input,
    network_input_torch,
    read_spikes,
    spike_counts,
    write_spikes,
)
from spike_depth_core.spikes.windows import _network_input_expanded


def random_planes(seed: int, shape: tuple[int, int, int], rate: float) -> np.ndarray:
    # A different rate for each pixel, from never to always.
    random = np.random.default_rng(seed)
    rates = np.minimum(1.0, rate * random.gamma(0.7, 1.4, shape[1:]))
    rates[0, :3] = 0.0
    rates[1, :3] = 1.0
    return (random.random(shape) < rates).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "windows"),
    [((1, 3, 8), [1]), ((37, 5, 13), [3, 37, 8, 8]), ((300, 40, 129), [16, 300, 64]), ((9, 2, 2048), [9])],
)
def test_counts_are_those_of_the_unpacked_planes(shape, windows):
    planes = random_planes(0, shape, 0.3)
    counts = spike_counts(PackedSpikes.from_planes(planes), windows)
    assert counts.dtype == np.uint16
    for window, count in zip(windows, counts, strict=True):
        np.testing.assert_array_equal(count, planes[-window:].sum(0))


def test_counts_beyond_a_byte():
    planes = np.ones((1000, 2, 9), np.uint8)
    planes[5] = 0
    assert np.all(spike_counts(PackedSpikes.from_planes(planes), [1000]) == 999)


@pytest.mark.parametrize("window", [0, 11, -1])
def test_windows_that_do_not_fit_are_refused(window):
    spikes = PackedSpikes.from_planes(np.zeros((10, 2, 8), np.uint8))
    with pytest.raises(ValueError, match=f"1 to 10 planes long, found {window}"):
        spike_counts(spikes, [5, window])


def naive_interval(planes: np.ndarray, plane: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    _, height, width = planes.shape
    interval = np.zeros((height, width), int)
    age = np.full((height, width), reach + 1)
    for y in range(height):
        for x in range(width):
            fired = np.flatnonzero(planes[:, y, x])
            before = fired[(fired <= plane) & (fired >= plane - reach)]
            after = fired[(fired > plane) & (fired <= plane + reach)]
            if before.size:
                age[y, x] = plane - before[-1]
                if after.size:
                    interval[y, x] = after[0] - before[-1]
    return interval, age


@pytest.mark.parametrize(("plane", "reach"), [(30, 7), (30, 200), (0, 4), (59, 3), (58, 20)])
@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_interval_image_is_that_of_the_spike_times(plane, reach, rate):
    planes = random_planes(1, (60, 9, 11), rate)
    image = interval_image(PackedSpikes.from_planes(planes), plane, reach)
    interval, age = naive_interval(planes, plane, reach)
    np.testing.assert_array_equal(image.interval, interval)
    np.testing.assert_array_equal(image.age, age)


def naive_network_input(planes: np.ndarray) -> np.ndarray:
    """The formulas of the docstring, pixel by pixel."""
    planes = planes[-256:].astype(int)
    n, height, width = planes.shape
    short, long = min(16, n), min(64, n)
    p = (planes.sum(0) + 0.5) / (n + 1)
    m = np.log2(p).mean()
    out = np.empty((len(NETWORK_CHANNELS), height, width))
    for y in range(height):
        for x in range(width):
            pixel, rate = planes[:, y, x], p[y, x]
            box = planes[:, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
            fired = np.flatnonzero(pixel)
            interval = fired[-1] - fired[-2] if fired.size > 1 else 1 / rate
            silence = n - 1 - fired[-1] if fired.size else n
            out[:, y, x] = (
                np.log2(rate) - m,
                np.log2((pixel[-long:].sum() + 1) / (long + 1 / rate)) - m,
                np.log2((pixel[-short:].sum() + 1) / (short + 1 / rate)) - m,
                np.log2((pixel[:long].sum() + 1) / (long + 1 / rate)) - m,
                np.log2((box.sum() + 0.5) / (box.size + 1)) - m,
                -np.log2(interval) - m,
                np.log2((silence + 0.5) * rate) / 2,
                (np.log2(rate) + 4) / 4,
            )
    return out


@pytest.mark.parametrize(("planes", "rate"), [(1, 0.3), (20, 0.3), (100, 0.02), (256, 0.01), (300, 0.4)])
def test_network_input_follows_its_formulas(planes, rate):
    stack = random_planes(2, (planes, 12, 19), rate)
    spikes = PackedSpikes.from_planes(stack)
    expected = naive_network_input(stack)
    compiled = network_input(spikes)
    assert compiled.dtype == np.float32
    np.testing.assert_allclose(compiled, expected, atol=2e-5)
    packed = torch.from_numpy(spikes.data)[None, -256:]
    np.testing.assert_allclose(_network_input_expanded(packed, 19)[0].numpy(), expected, atol=2e-5)


def test_network_input_of_a_batch_is_that_of_each_sample():
    samples = [PackedSpikes.from_planes(random_planes(seed, (70, 6, 20), 0.2)) for seed in range(3)]
    batch = torch.from_numpy(np.stack([sample.data for sample in samples]))
    expected = np.stack([network_input(sample) for sample in samples])
    np.testing.assert_array_equal(network_input_torch(batch, 20).numpy(), expected)
    np.testing.assert_allclose(_network_input_expanded(batch, 20).numpy(), expected, atol=2e-5)


def test_network_input_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="at least one spike plane"):
        network_input(PackedSpikes(np.empty((0, 4, 1), np.uint8), 8))
    with pytest.raises(ValueError, match=r"uint8 \[B, T, H, 2\] for a width of 16, found torch.float32"):
        network_input_torch(torch.zeros(1, 4, 4, 2), 16)


def test_network_input_hardly_depends_on_the_light_level():
    # The same picture under light that differs by a factor of four: two octaves, all of which belong to `level`.
    from spike_depth_core.spikes import RealtimeSpikeCamera, SpikeCameraParameters

    light = np.linspace(0.05, 0.2, 64 * 64, dtype=np.float32).reshape(64, 64)
    images = [
        network_input(RealtimeSpikeCamera(64, 64, SpikeCameraParameters.ideal()).expose(scale * light, 256))
        for scale in (1.0, 4.0)
    ]
    rate, level = NETWORK_CHANNELS.index("rate_256"), NETWORK_CHANNELS.index("level")
    assert np.abs(images[1][rate] - images[0][rate]).max() < 0.1
    np.testing.assert_allclose((images[1][level] - images[0][level]).mean(), 2 / 4, atol=0.02)


def test_a_stream_has_the_statistics_of_its_last_planes():
    stack = random_planes(3, (150, 7, 21), 0.2)
    window = SpikeWindow(7, 21, capacity=64)
    random = np.random.default_rng(4)
    done = 0
    while done < len(stack):
        step = min(int(random.integers(1, 90)), len(stack) - done)
        part = PackedSpikes.from_planes(stack[done : done + step], start_ns=done * 50_000)
        assert window.add(part)
        done += step
        held = PackedSpikes.from_planes(stack[max(0, done - 64) : done])
        assert len(window) == len(held)
        assert window.end_ns == done * 50_000
        np.testing.assert_array_equal(window.counts([1, len(held)]), spike_counts(held, [1, len(held)]))
        np.testing.assert_array_equal(window.network_input(), network_input(held))
        age = len(held) // 3
        ours, theirs = window.interval_image(age, 20), interval_image(held, len(held) - 1 - age, 20)
        np.testing.assert_array_equal(ours.interval, theirs.interval)
        np.testing.assert_array_equal(ours.age, theirs.age)


def test_a_stream_forgets_what_came_before_a_gap():
    window = SpikeWindow(4, 8)
    ones = np.ones((10, 4, 8), np.uint8)
    assert window.add(PackedSpikes.from_planes(ones))
    assert window.add(PackedSpikes.from_planes(ones, start_ns=10 * 50_000 + 20_000))  # jitter
    assert len(window) == 20
    assert not window.add(PackedSpikes.from_planes(ones[:3], start_ns=10_000_000))
    assert len(window) == 3
    with pytest.raises(ValueError, match="8x4 pixels, found planes of 8x5"):
        window.add(PackedSpikes.from_planes(np.zeros((1, 5, 8), np.uint8)))


rows = bitslice._rows


def test_only_the_planes_that_are_asked_for_are_read(tmp_path):
    """Of a mapped recording the others stay in the file."""
    planes = np.random.default_rng(0).integers(0, 2, (3000, 16, 64), dtype=np.uint8)
    write_spikes(tmp_path / "a.dat", PackedSpikes.from_planes(planes))
    recording = read_spikes(tmp_path / "a.dat", 16, 64)
    copied = []
    with mock.patch.object(bitslice, "_rows", side_effect=lambda data: copied.append(len(data)) or rows(data)):
        counts = spike_counts(recording, [16, 5])
        image = interval_image(recording, 1000, 20)
        tensor = network_input(recording)
    assert max(copied) <= 256
    np.testing.assert_array_equal(counts[0], planes[-16:].sum(0))
    part = interval_image(PackedSpikes.from_planes(planes[900:1100]), 100, 20)
    np.testing.assert_array_equal(image.interval, part.interval)
    np.testing.assert_array_equal(tensor, network_input(PackedSpikes.from_planes(planes[-256:])))
