"""What is told to be installed exists: the extra is in pyproject.toml and has what is missing."""

import sys
import tomllib
from pathlib import Path

import pytest

from spike_depth_core.bags import types
from spike_depth_core.evaluation.report import render_report
from spike_depth_core.inference.onnx_export import require
from spike_depth_core.spikes.video import read_video

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    ("extra", "package", "call"),
    [
        ("report", "jinja2", lambda: render_report(None)),
        ("report", "av", lambda: read_video("a.mp4")),
        ("bags", "rosbags", types.type_store.__wrapped__),
        ("export", "onnx", lambda: require("onnx")),
    ],
)
def test_the_extra_that_is_named_has_what_is_missing(extra, package, call, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises((ImportError, ValueError)) as found:
        call()
    assert f"install the extra `{extra}` of spike-depth: pip install '.[{extra}]' in its checkout" in str(found.value)
    assert any(line.startswith(package) for line in PROJECT["optional-dependencies"][extra])
