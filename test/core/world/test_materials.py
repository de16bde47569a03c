"""What surfaces look like, point by point."""

import numpy as np
import pytest

from spike_depth_core.world.buildings import STYLE_WIDTH
from spike_depth_core.world.materials import MIRROR, SCRATCH, surface
from spike_depth_core.world.primitives import DATA_WIDTH, HIGH, LOW
from spike_depth_core.world.surfaces import FACADE


@pytest.mark.parametrize(("blank", "windows"), [(0, {"front", "side"}), (1, {"front"}), (2, set())])
def test_a_wall_may_have_windows_in_front_only_or_none(blank, windows):
    """Glass mirrors; plaster does not. A house of 12 m by 10 m by 9 m, looked at in three thousand points a wall."""
    row = np.zeros(DATA_WIDTH)
    row[LOW : LOW + 3], row[HIGH : HIGH + 3] = (-6.0, 0.0, 0.0), (6.0, 10.0, 9.0)
    style = np.array([3.0, 2.5, 0.5, 0.5, 0, 0, 0.3, 2, 0, 0, 0.5, 0.3, blank])
    assert style.size == STYLE_WIDTH
    palette, out = np.full((6, 4), 0.4), np.zeros(SCRATCH)
    found = set()
    for name, normal in (("front", (0.0, -1.0, 0.0)), ("side", (1.0, 0.0, 0.0))):
        for across in np.linspace(-5.9, 5.9, 60) if name == "front" else np.linspace(0.1, 9.9, 60):
            for z in np.linspace(0.1, 8.9, 50):
                point = (across, 0.0, z) if name == "front" else (6.0, across, z)
                surface(FACADE, 0, row, *point, *normal, palette, style, 5, 0.01, 0.0, out)
                if out[MIRROR] > 0:
                    found.add(name)
    assert found == windows
