"""Result files that every reader accepts."""

import json

import numpy as np

from spike_depth_core.evaluation.results import markdown_table, write_json


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "new" / "m.json", {"a": float("nan"), "b": [1.5, (float("inf"), 2)], "c": {"d": "x"}})
    strict = json.loads((tmp_path / "new" / "m.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert strict == {"a": None, "b": [1.5, [None, 2]], "c": {"d": "x"}}


def test_json_takes_numpy_scalars(tmp_path):
    write_json(tmp_path / "m.json", {"a": np.float64("nan"), "b": np.float32(0.5), "c": np.int64(3)})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": None, "b": 0.5, "c": 3}


def test_markdown_table():
    assert markdown_table(["method", "x"], [["row prior", "1"]]) == (
        "| method | x |\n| :--- | ---: |\n| row prior | 1 |\n"
    )
