"""What parallax says of a depth map, on walls whose pictures are known in closed form."""

import pytest
import torch

from spike_depth_core.inference.motion_stereo import (
    LIVE,
    MotionStereoOptions,
    OtherMoment,
    corrected,
)
from spike_depth_core.networks.depth_network import Prediction
from spike_depth_core.networks.preprocess import NetworkInput

HEIGHT, WIDTH, FOCAL = 64, 96, 60.0
CAMERA = torch.tensor([[FOCAL, FOCAL, 47.5, 31.5]])
ROWS, COLUMNS = torch.meshgrid(torch.arange(HEIGHT) - 31.5, torch.arange(WIDTH) - 47.5, indexing="ij")
WALL = 8.0  # metres


def pattern(x, y):
    """Brightness of a wall at metres across it: waves from 0.4 to 2 m long, in all directions."""
    generator = torch.Generator().manual_seed(3)
    total = torch.zeros_like(x)
    for k in range(24):
        length, turn, phase = torch.rand(3, generator=generator)
        wave = 2 * torch.pi / (0.4 + 1.6 * length)
        turn = 2 * torch.pi * turn
        total = total + torch.sin(wave * (x * torch.cos(turn) + y * torch.sin(turn)) + 6.28 * phase + k)
    return total / 3


def view(place, wall=WALL, centre=(0.0, 0.0, 0.0), sensor="thermal", pictured=pattern):
    """What a sensor at `centre` of a camera at `place` sees of the wall, ahead and level."""
    x, y, z = (p + c for p, c in zip(place, centre, strict=True))
    distance = wall - z
    picture = pictured(COLUMNS / FOCAL * distance + x, ROWS / FOCAL * distance + y)
    image = torch.stack([picture, torch.ones_like(picture)])[None]
    return NetworkInput({sensor: image}, CAMERA, torch.ones(1), {sensor: torch.tensor([centre])}, sensor)


def moved(place, **options):
    """The moment from another place, and the motion to it."""
    motion = torch.eye(4)[None]
    motion[0, :3, 3] = -torch.tensor(place)
    return OtherMoment(view(place, **options), motion)


def told(depth, scale=0.3):
    log_depth = torch.full((1, HEIGHT, WIDTH), float(depth)).log()
    return Prediction(log_depth, torch.full_like(log_depth, scale).log(), [])


INSIDE = (slice(None), slice(16, -16), slice(24, -24))


@pytest.mark.parametrize("place", [(0.5, 0.0, 0.0), (0.0, 0.0, -2.0), (0.3, 0.1, 0.8)], ids=["aside", "back", "on"])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("options", [MotionStereoOptions(), LIVE], ids=["thorough", "live"])
def test_a_wall_comes_to_where_it_stands(place, factor, options):
    found, evidence = corrected(told(WALL * factor), view((0, 0, 0)), [moved(place)], options)
    assert evidence.said[INSIDE].float().mean() > 0.85
    # A tenth is between two hypotheses; straight ahead, where pictures do not move, nothing can be told.
    error = (found.log_depth - torch.tensor(WALL).log()).abs()[INSIDE]
    assert error.median() < 0.05 * options.shrink  # of pictures of half the size half as sharply
    assert error.mean() < 0.25 * abs(torch.tensor(factor).log()) + 0.05
    assert found.log_scale[INSIDE].mean() < told(1).log_scale.mean() - 0.5


def test_who_was_sure_is_moved_less():
    sure, unsure = (
        corrected(told(WALL * 1.4, scale), view((0, 0, 0)), [moved((0.3, 0, 0))], MotionStereoOptions(weight=5.0))[0]
        for scale in (0.05, 0.5)
    )
    truth = torch.tensor(WALL).log()
    assert (sure.log_depth - truth)[INSIDE].mean() > (unsure.log_depth - truth)[INSIDE].mean() + 0.1


def test_brightness_and_contrast_do_not_count():
    plain, _ = corrected(told(10.0), view((0, 0, 0)), [moved((0.5, 0, 0))])
    dim, _ = corrected(told(10.0), view((0, 0, 0)), [moved((0.5, 0, 0), pictured=lambda x, y: 3 * pattern(x, y) - 2)])
    assert torch.allclose(plain.log_depth, dim.log_depth, atol=2e-2)


def test_what_does_not_move_with_the_vehicle_says_nothing():
    """Of the sky, of a car that keeps pace, of dirt on the lens."""
    still = view((0, 0, 0))
    motion = moved((0.5, 0, 0)).other_from_asked
    before = told(10.0)
    found, evidence = corrected(before, still, [OtherMoment(still, motion)])
    assert not evidence.said[INSIDE].any()
    assert torch.equal(found.log_depth[INSIDE], before.log_depth[INSIDE])
    assert torch.equal(found.log_scale[INSIDE], before.log_scale[INSIDE])


def test_what_nearly_keeps_pace_is_not_taken_for_something_far():
    """A bus that overtakes slowly: where what stands is passed by half a metre, it is by 0.15."""
    asked, before = view((0, 0, 0)), told(WALL)
    other = OtherMoment(view((0.15, 0, 0)), moved((0.5, 0, 0)).other_from_asked)
    believed, _ = corrected(before, asked, [other], MotionStereoOptions(beyond=1.0))
    assert (believed.log_depth - before.log_depth)[INSIDE].mean() > 0.3
    found, evidence = corrected(before, asked, [other])
    assert not evidence.said[INSIDE].any()
    assert torch.equal(found.log_depth[INSIDE], before.log_depth[INSIDE])


def test_a_blank_wall_says_nothing():
    def blank(x, y):
        return torch.zeros_like(x)

    before = told(10.0)
    found, evidence = corrected(before, view((0, 0, 0), pictured=blank), [moved((0.5, 0, 0), pictured=blank)])
    assert not evidence.said.any()
    assert not corrected(before, view((0, 0, 0)), [moved((0.5, 0, 0), pictured=blank)])[1].said.any()
    assert torch.allclose(found.log_depth, before.log_depth, atol=1e-4)
    assert torch.allclose(found.log_scale, before.log_scale, atol=1e-4)


def test_a_sensor_beside_the_reference_is_looked_up_at_its_own_place():
    beside = (0.4, -0.2, -2.0)  # two metres behind: it sees the wall from farther away
    asked = view((0, 0, 0), centre=beside)
    found, _ = corrected(told(WALL * 1.3), asked, [moved((0.5, 0, 0), centre=beside)])
    assert (found.log_depth - torch.tensor(WALL).log()).abs()[INSIDE].median() < 0.05


def test_what_no_other_moment_has_is_not_compared():
    before = told(10.0)
    found, evidence = corrected(before, view((0, 0, 0)), [moved((0.5, 0, 0), sensor="nir")])
    assert found is before
    assert not evidence.said.any()
    both = view((0, 0, 0))
    both.images["nir"], both.centres["nir"] = both.images["thermal"] * 0, both.centres["thermal"]
    one, _ = corrected(before, view((0, 0, 0)), [moved((0.5, 0, 0))])
    two, _ = corrected(before, both, [moved((0.5, 0, 0))])
    assert torch.equal(one.log_depth, two.log_depth)


def test_no_more_sensors_are_compared_than_are_asked_for():
    both, other = view((0, 0, 0)), moved((0.5, 0, 0))
    noise = torch.rand(1, 2, HEIGHT, WIDTH)
    for inputs in (both, other.inputs):
        inputs.images["nir"], inputs.centres["nir"] = noise, torch.zeros(1, 3)
    first = MotionStereoOptions(sensors=1)
    found, _ = corrected(told(10.0), both, [other], first)
    alone, _ = corrected(told(10.0), view((0, 0, 0)), [moved((0.5, 0, 0))], first)
    everything, _ = corrected(told(10.0), both, [other])
    assert torch.equal(found.log_depth, alone.log_depth)
    assert not torch.equal(found.log_depth, everything.log_depth)


def test_regret_is_least_at_the_wall_and_asked_between_what_was_tried():
    _, evidence = corrected(told(WALL * 1.2), view((0, 0, 0)), [moved((0.5, 0, 0))])
    truth = torch.full((1, HEIGHT, WIDTH), WALL).log()

    def regret(log_depth):
        return evidence.regret(log_depth)[INSIDE].mean()

    assert regret(truth) < 0.5 * regret(truth + 0.15)
    assert regret(truth) < 0.5 * regret(truth - 0.15)
    step = evidence.offsets[1] - evidence.offsets[0]
    tried = [evidence.told + evidence.offsets[k] for k in (2, 3)]
    least = evidence.error.amin(dim=0, keepdim=True)
    for k, log_depth in zip((2, 3), tried, strict=True):
        torch.testing.assert_close(evidence.regret(log_depth), evidence.error[k : k + 1] - least, atol=1e-5, rtol=1e-4)
    between = 0.75 * evidence.error[2] + 0.25 * evidence.error[3]
    torch.testing.assert_close(evidence.regret(tried[0] + 0.25 * step), between - least, atol=1e-5, rtol=1e-4)
    far = evidence.regret(truth + 5)
    torch.testing.assert_close(far, evidence.error[-1:] - least)  # beyond what was tried it is the last of it
    broken = truth.clone()
    broken[0, 3, 4] = torch.nan
    assert torch.isnan(evidence.regret(broken)).nonzero().tolist() == [[0, 3, 4]]  # and no index out of bounds
