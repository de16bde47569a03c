"""The camera model against arithmetic on paper, and its two implementations against each other."""

import numpy as np
import pytest
import torch

from spike_depth_core.spikes import PackedSpikes, RealtimeSpikeCamera, SpikeCamera, SpikeCameraParameters, spike_counts
from spike_depth_core.spikes.camera import pack_planes

IDEAL = SpikeCameraParameters.ideal()


def noisy(**changed) -> SpikeCameraParameters:
    """Shot noise only."""
    quiet = dict(dark_rate=0.0, gain_spread=0.0, dark_spread=0.0, hot_fraction=0.0, dead_fraction=0.0)
    return SpikeCameraParameters(**(quiet | {"electrons": 200.0} | changed))


def torch_planes(camera: SpikeCamera, light: np.ndarray, planes: int) -> np.ndarray:
    packed = camera(torch.from_numpy(light)[None, None], planes)[0].numpy()
    return PackedSpikes(packed, light.shape[1]).planes()


@pytest.mark.parametrize(("gain", "threshold"), [(1.0, 1.0), (0.5, 2.0)])
def test_constant_light_fires_floor_exact_counts(gain, threshold):
    light = (np.arange(96, dtype=np.float32) / 64).reshape(6, 16)  # exact in binary; the last third saturates
    rate = np.minimum(1.0, light * (gain / threshold))
    camera = SpikeCamera(1, 6, 16, SpikeCameraParameters.ideal(gain, threshold))
    planes = np.concatenate([torch_planes(camera, light, count) for count in (1, 30, 69)])
    for count in (1, 7, 31, 64, 100):
        np.testing.assert_array_equal(planes[:count].sum(0), np.floor(count * rate))


def test_the_light_of_a_spike_is_what_passed_since_the_last():
    # A third of a threshold a plane, then a half: the charge left over is kept.
    camera = SpikeCamera(1, 1, 1, IDEAL)
    light = torch.tensor([0.375, 0.5]).view(1, 2, 1, 1)
    fired = camera(light, 4)[0, :, 0, 0].numpy()
    assert fired.tolist() == [0, 0, 1, 0, 1, 0, 1, 0]  # charge .375 .75 1.125 .5 | 1. .5 1. .5


def test_compiled_and_torch_cameras_fire_the_same_spikes_without_noise():
    levels = np.random.default_rng(0).integers(0, 40_000, (5, 23, 37)).astype(np.float32) / 2**15
    slow, fast = SpikeCamera(1, 23, 37, IDEAL), RealtimeSpikeCamera(23, 37, IDEAL)
    for light in levels:
        np.testing.assert_array_equal(fast.expose(light, 41).planes(), torch_planes(slow, light, 41))


@pytest.mark.parametrize("rate", [0.004, 0.05, 0.4])
def test_shot_noise_has_the_variance_of_counted_electrons(rate):
    # n electrons a spike: counts of T r spikes vary by T r / n, and by 1/6 from where they begin and end.
    planes, side, electrons = 2000, 64, 50.0
    light = np.full((side, side), rate, np.float32)
    expected = planes * rate / electrons + 1 / 6
    tolerance = 5 * expected * np.sqrt(2 / side**2)
    for fired in (
        torch_planes(SpikeCamera(1, side, side, noisy(electrons=electrons)), light, planes).sum(0),
        spike_counts(RealtimeSpikeCamera(side, side, noisy(electrons=electrons)).expose(light, planes), [planes])[0],
    ):
        assert abs(fired.mean() - planes * rate) < 5 * np.sqrt(expected / side**2)
        # When the count's own spread is below a spike, where in its cycle a pixel began decides.
        phase = planes * rate % 1
        edge = 0.0 if planes * rate / electrons > 0.5 else abs(phase * (1 - phase) - 1 / 6)
        assert abs(fired.var() - expected) < tolerance + edge


def test_pixels_far_apart_have_noise_of_their_own():
    """More pixels than the table of noise has entries: where it begins anew, nothing may repeat."""
    height, width, planes = 320, 512, 64
    light = np.full((height, width), 0.7, np.float32)
    camera = RealtimeSpikeCamera(height, width, noisy())
    counts = spike_counts(camera.expose(light, planes), [planes])[0].ravel().astype(float)
    for distance in (1 << 16, 1 << 17):
        pairs = counts.size - distance
        found = np.corrcoef(counts[:pairs], counts[distance:])[0, 1]
        assert abs(found) < 5 / np.sqrt(pairs)


@pytest.mark.parametrize("camera_type", ["torch", "compiled"])
def test_bright_light_fires_every_plane_and_no_more(camera_type):
    light = np.full((16, 16), 3.0, np.float32)
    if camera_type == "torch":
        planes = torch_planes(SpikeCamera(1, 16, 16, noisy()), light, 50)
    else:
        planes = RealtimeSpikeCamera(16, 16, noisy()).expose(light, 50).planes()
    assert planes[1:].all()


def test_fixed_pattern_and_dark_current_are_those_of_the_parameters():
    parameters = noisy(gain_spread=0.1, dark_rate=0.01, dark_spread=0.3, electrons=float("inf"))
    gain, dark = parameters.fixed_pattern(100, 100, seed=3)
    assert abs(gain.std() - 0.1) < 0.005
    assert abs(np.log(dark).std() - 0.3) < 0.015
    assert abs(np.median(dark) - 0.01) < 0.0005
    planes = 4096
    fired = RealtimeSpikeCamera(100, 100, parameters, seed=3).expose(np.full((100, 100), 0.1, np.float32), planes)
    rates = spike_counts(fired, [planes])[0] / planes
    np.testing.assert_allclose(rates, 0.1 * gain + dark, atol=1.5 / planes)
    black = RealtimeSpikeCamera(100, 100, parameters, seed=3).expose(np.zeros((100, 100), np.float32), planes)
    np.testing.assert_allclose(spike_counts(black, [planes])[0] / planes, dark, atol=1.5 / planes)


def test_hot_and_dead_pixels():
    parameters = noisy(hot_fraction=0.02, dead_fraction=0.03)
    light = np.full((100, 100), 0.1, np.float32)
    rates = torch_planes(SpikeCamera(1, 100, 100, parameters, seed=1), light, 200).mean(0)
    assert 0.01 < (rates > 0.3).mean() < 0.03
    assert 0.02 < (rates == 0).mean() < 0.04


def test_seeds_repeat_and_differ():
    light = np.full((8, 24), 0.3, np.float32)
    for make in (
        lambda seed: torch_planes(SpikeCamera(1, 8, 24, seed=seed), light, 64),
        lambda seed: RealtimeSpikeCamera(8, 24, seed=seed).expose(light, 64).planes(),
    ):
        np.testing.assert_array_equal(make(5), make(5))
        assert (make(5) != make(6)).any()


def test_planes_follow_in_time():
    camera = RealtimeSpikeCamera(4, 8, period_ns=25_000, start_ns=100)
    light = np.zeros((4, 8), np.float32)
    assert camera.expose(light, 10).start_ns == 100
    out = np.empty((3, 4, 1), np.uint8)
    spikes = camera.expose(light, 3, out)
    assert spikes.start_ns == 100 + 10 * 25_000
    assert spikes.data is out


def test_packing_is_that_of_packed_spikes():
    planes = np.random.default_rng(0).integers(0, 2, (3, 4, 19), dtype=np.uint8)
    packed = pack_planes(torch.from_numpy(planes)).numpy()
    np.testing.assert_array_equal(packed, PackedSpikes.from_planes(planes).data)


def test_wrong_light_and_parameters_are_refused():
    with pytest.raises(ValueError, match=r"light \[2, L, 4, 8\], found \(1, 3, 4, 8\)"):
        SpikeCamera(2, 4, 8)(torch.zeros(1, 3, 4, 8))
    with pytest.raises(ValueError, match=r"float32 \[4, 8\], found float64 \(4, 8\)"):
        RealtimeSpikeCamera(4, 8).expose(np.zeros((4, 8)), 3)
    with pytest.raises(ValueError, match="at least 16 photoelectrons, found 3"):
        SpikeCameraParameters(electrons=3)
    with pytest.raises(ValueError, match="spread at least 0 and finite"):
        SpikeCameraParameters(gain_spread=float("nan"))
    with pytest.raises(ValueError, match=r"light \[1, L, 4, 8\], found \(1, 0, 4, 8\)"):
        SpikeCamera(1, 4, 8)(torch.zeros(1, 0, 4, 8))
    with pytest.raises(ValueError, match="gain and threshold must be positive"):
        SpikeCameraParameters(gain=0)


@pytest.mark.parametrize("electrons", [100.0, 800.0])
@pytest.mark.parametrize("light", [0.6, 0.9, 0.97, 1.0])
def test_both_cameras_fire_as_often_near_saturation(light, electrons):
    """What a plane collects above a threshold is not lost: the next one has it."""
    planes, height, width = 512, 16, 64
    parameters = noisy(electrons=electrons)
    field = np.full((height, width), light, np.float32)
    compiled = RealtimeSpikeCamera(height, width, parameters).expose(field, planes).planes().mean()
    assert torch_planes(SpikeCamera(1, height, width, parameters), field, planes).mean() == pytest.approx(
        compiled, abs=0.012
    )


def test_charge_above_a_threshold_is_kept_from_call_to_call():
    camera = SpikeCamera(1, 1, 1, noisy(electrons=100.0))
    dark = torch.zeros(1, 1, 1, 1)
    camera._charge[:] = 250.0
    assert [int(camera(dark, 1)) for _ in range(4)] == [1, 1, 0, 0]
    camera(torch.full((1, 1, 1, 1), 9.0), 50)
    assert camera(dark, 5).sum() <= 1  # of all that light a pixel has held one threshold
