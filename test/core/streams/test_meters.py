import math

import pytest

from spike_depth_core.streams import JitterMeter, Percentiles, RateMeter


def test_rate_over_the_window_and_before_it_is_full():
    now = 0
    meter = RateMeter(lambda: now, window_s=2.0)
    assert meter.rate_hz() == 0.0
    for step in range(1, 51):  # ten events a second, five at a time
        now = step * 100_000_000
        meter.add()
        if step == 10:
            assert meter.rate_hz() == pytest.approx(10.0)
    assert meter.rate_hz() == pytest.approx(10.0)
    now += 1_000_000_000
    assert meter.rate_hz() == pytest.approx(5.0)
    now += 5_000_000_000
    assert meter.rate_hz() == 0.0


def test_percentiles_of_the_last_values():
    values = Percentiles(size=5)
    assert math.isnan(values(50))
    for value in (100.0, 1.0, 2.0, 3.0, 4.0, 5.0):
        values.add(value)
    assert values(50) == 3.0
    assert values(100) == 5.0


def test_jitter_against_the_usual_step():
    meter = JitterMeter(outlier_share=0.5)
    assert (meter.usual_ns(), meter.deviation_ns()) == (0.0, (0.0, 0.0))
    for time_ns in (0, 100, 200, 300, 400, 600, 700, 800):
        meter.add(time_ns)
    assert meter.usual_ns() == 100.0
    assert meter.outliers == 1
    assert meter.recent() == (1, 7)
    mean, largest = meter.deviation_ns()
    assert mean == pytest.approx(100 / 7)
    assert largest == 100.0
    meter.add(800)
    meter.add(790)
    assert meter.not_increasing == 2
    meter.begin_anew()
    meter.add(10_000)
    assert (meter.outliers, meter.not_increasing) == (1, 2)
