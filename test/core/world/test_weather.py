"""Fog and rain against the laws they are said to follow."""

import dataclasses
import math

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.world import build_scene, render
from spike_depth_core.world.lamps import lamp_airlight, lamp_pattern, phase
from spike_depth_core.world.lighting import BEAM, OMNI
from spike_depth_core.world.weather import WEATHERS, Weather, draw_weather, drop_slope

CAMERA = PinholeCamera(64, 40, 42.0, 42.0, 31.5, 18.0)


def ray_lengths(camera=CAMERA):
    """Metres along the ray for each metre of depth, [H, W]."""
    u, v = np.meshgrid(*(np.arange(n) for n in (camera.width, camera.height)))
    return np.sqrt(((u - camera.cx) / camera.fx) ** 2 + ((v - camera.cy) / camera.fy) ** 2 + 1.0)


def look(scene):
    return render(scene, CAMERA, scene.world_from_reference, 2.0)


def without_veil(scene):
    """The same light in empty air."""
    light = dataclasses.replace(scene.light, veil=np.zeros(4), thermal_veil=0.0, veil_height=0.0, rain=0.0)
    scene.light, scene.light_vector = light, light.vector()
    return scene


@pytest.mark.parametrize("weather", [Weather.fog(80.0), Weather.fog(900.0), Weather.rain(40.0)], ids=str)
def test_the_air_dims_and_adds_as_koschmieder_says(weather):
    scene = build_scene(4, "day", weather=weather, layout="town")
    seen = look(scene)
    bare = look(without_veil(build_scene(4, "day", weather=weather, layout="town")))
    hit = np.isfinite(seen.depth)
    # Wet ground mirrors; what it mirrors is the same in both.
    path = (ray_lengths() * seen.depth)[hit, None]
    extinction = scene.light.veil
    through = np.exp(-extinction * path)
    expected = bare.radiance[hit] * through + scene.light.airlight * (1.0 - through)
    np.testing.assert_allclose(seen.radiance[hit], expected, rtol=2e-4, atol=1e-6)
    through = np.exp(-scene.light.thermal_veil * path[:, 0])
    expected = scene.light.air + (bare.temperature[hit] - scene.light.air) * through
    np.testing.assert_allclose(seen.temperature[hit], expected, rtol=1e-5)
    np.testing.assert_array_equal(seen.depth, bare.depth)


def test_visibility_is_where_a_fiftieth_of_the_contrast_is_left():
    for metres in (50.0, 300.0, 2000.0):
        assert math.exp(-Weather.fog(metres).extinction[1] * metres) == pytest.approx(0.02, rel=1e-3)


def test_infrared_sees_farther_in_light_fog_and_no_farther_in_dense():
    light, dense = Weather.fog(1220.0), Weather.fog(200.0)
    assert dense.extinction[3] == dense.extinction[1]
    assert 0.7 < light.extinction[3] / light.extinction[1] < 0.85  # 0.85 um: (0.85 / 0.55) ** -(0.16 * 1.22 + 0.34)
    assert light.thermal_extinction / light.extinction[1] == pytest.approx(1.22 / 8.0)
    assert dense.thermal_extinction == pytest.approx(dense.extinction[1], rel=0.06)
    middle = Weather.fog(610.0)
    assert middle.thermal_extinction / middle.extinction[1] == pytest.approx(0.61 / 2.4)


@pytest.mark.parametrize("rate", [2.0, 25.0, 100.0])
def test_rain_dims_by_the_cross_section_of_its_drops(rate):
    diameters = np.linspace(0.0, 20.0, 200_001)  # mm
    density = 8000.0 * np.exp(-4.1 * rate**-0.21 * diameters)  # 1 / m^3 / mm
    expected = np.trapezoid(2.0 * math.pi / 4.0 * (diameters * 1e-3) ** 2 * density, diameters)
    weather = Weather.rain(rate)
    np.testing.assert_allclose(weather.extinction, expected, rtol=1e-4)
    assert weather.thermal_extinction == pytest.approx(expected, rel=1e-4)
    assert drop_slope(rate) == pytest.approx(4.1 * rate**-0.21)
    if rate == 25.0:
        # Atlas, "Optical extinction by rainfall", J. Meteorology 1953: visibility 11.6 R^-0.63 km.
        assert 3912.0 / (weather.extinction[1] * 1000.0) == pytest.approx(11.6e3 * rate**-0.63, rel=0.2)


def test_a_fogged_sky_is_the_air_at_the_horizon():
    scene = build_scene(9, "day", weather=Weather.fog(60.0), layout="highway")
    seen = look(scene)
    sky = ~np.isfinite(seen.depth)
    assert sky.sum() > 100
    np.testing.assert_allclose(seen.radiance[sky], np.broadcast_to(scene.light.airlight, (sky.sum(), 4)), rtol=0.02)
    np.testing.assert_allclose(seen.temperature[sky], scene.light.air, atol=0.2)


def test_fog_hides_far_things_by_night_too():
    contrasts = []
    for weather in (Weather.clear(), Weather.fog(60.0)):
        seen = look(build_scene(3, "night", weather=weather, layout="town"))
        far = np.isfinite(seen.depth) & (seen.depth > 40.0)
        values = seen.radiance[far][:, 1]
        contrasts.append(np.percentile(values, 90) / np.percentile(values, 10))
        assert far.sum() > 50
    assert contrasts[0] > 2.0 * contrasts[1]


@pytest.mark.parametrize("kind", [OMNI, BEAM])
def test_light_of_lamps_in_the_air_is_the_integral_along_the_line_of_sight(kind):
    axis = np.array([0.97, 0.2, -0.03])
    lamp = np.array([9.0, 1.5, 2.0, 3.0, 2.0, 1.0, 2.5, *axis / np.linalg.norm(axis), kind, 90.0, 9.0])
    position, veil = np.array([0.0, 0.0, 1.6]), 0.02
    rotation = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # looks along +x
    camera = PinholeCamera(109, 67, 70.0, 70.0, 54.0, 33.0)
    depth = np.full((67, 109), np.inf, np.float32)
    depth[:, :54] = 25.0
    depth[:30] = 4.0
    got = np.zeros((67, 109, 4), np.float32)
    lamp_airlight(rotation, position, 70.0, 70.0, 54.0, 33.0, lamp[None], veil, depth, got)
    for v, u in ((33, 27), (48, 66), (15, 33), (60, 9), (36, 102)):
        ray = rotation @ np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0])
        length = np.linalg.norm(ray)
        end = min(depth[v, u], 150.0) * length
        steps = 20_000
        s = (np.arange(steps) + 0.5) * end / steps
        total = 0.0
        for distance in s:
            r = lamp[:3] - position - distance * ray / length
            away = np.linalg.norm(r)
            outwards, downwards = lamp_pattern(lamp, *r, away)
            cosine = float(r @ ray) / (away * length)
            total += outwards * downwards * phase(cosine) * math.exp(-veil * (distance + away)) / away**2
        expected = math.pi * veil * total * end / steps * lamp[3:7]
        np.testing.assert_allclose(got[v, u], expected, rtol=0.12, atol=2e-5, err_msg=f"{v}, {u}")


def test_droplets_scatter_all_they_take_and_a_little_of_it_back():
    cosines = np.linspace(-1.0, 1.0, 200_001)
    share = np.array([phase(c) for c in cosines])
    assert 2.0 * math.pi * np.trapezoid(share, cosines) == pytest.approx(1.0, rel=1e-3)
    assert 1.0 / phase(-1.0) == pytest.approx(18.8, abs=0.8)  # the lidar ratio of water clouds, sr


def test_a_wet_road_by_night_mirrors_lamps_and_is_darker_elsewhere():
    brighter = darker = 0
    for seed in range(4):
        dry, wet = (
            look(build_scene(seed, "night", weather=w, layout="town", speed=8.0))
            for w in (Weather.clear(), dataclasses.replace(Weather.rain(5.0), shade=1.0))
        )
        road = np.zeros(dry.depth.shape, bool)
        road[30:] = True
        ratio = wet.radiance[road][:, 1] / dry.radiance[road][:, 1]
        brighter += (ratio > 2.0).sum()
        darker += (ratio < 0.8).sum()
    assert brighter > 40
    assert darker > 400


def test_a_clear_day_has_clean_air_and_a_dry_road():
    for seed in range(20):
        light = build_scene(seed, "day", weather="clear").light
        assert light.haze <= 0.0003
        assert light.wet == 0.0
        assert light.veil_height == 0.0


def test_drawn_weathers_vary_and_repeat():
    for kind in WEATHERS:
        drawn = [draw_weather(np.random.default_rng(k), kind) for k in range(30)]
        assert {weather.kind for weather in drawn} == {kind}
        assert drawn == [draw_weather(np.random.default_rng(k), kind) for k in range(30)]
    fogs = [draw_weather(np.random.default_rng(k), "fog").visibility_m for k in range(100)]
    assert 60.0 <= min(fogs) < 90.0
    assert 350.0 < max(fogs) <= 500.0
    assert build_scene(5, weather="rain").weather == build_scene(5, "night", weather="rain").weather


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"weather must be one of .* found 'snow'"):
        build_scene(1, weather="snow")
    with pytest.raises(ValueError, match="visibility must be at least 10 m, found 3"):
        Weather.fog(3.0)
    with pytest.raises(ValueError, match=r"rain rate is 0 to 150 mm/h, found 500"):
        Weather.rain(500.0)
