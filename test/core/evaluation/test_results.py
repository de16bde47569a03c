"""Results for people."""

from spike_depth_core.evaluation.results import markdown_table


def test_markdown_table():
    assert markdown_table(["method", "x"], [["row prior", "1"]]) == (
        "| method | x |\n| :--- | ---: |\n| row prior | 1 |\n"
    )
