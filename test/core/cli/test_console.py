"""What is printed is what was said: brackets in names and messages are not rich's markup."""

import pytest

from spike_depth_core.cli.console import console, print_facts, print_table

NAME = "o/a[bold].npz: pip install '.[report]' [/]"


@pytest.mark.parametrize(
    "show",
    [
        lambda: console.print(NAME, style="yellow", highlight=False, soft_wrap=True),
        lambda: print_table("title", [NAME], [["cell"]]),
        lambda: print_table("title", ["column"], [[NAME]]),
        lambda: print_table(NAME, ["column"], [["cell"]], "caption"),
        lambda: print_table("title", ["column"], [["cell"]], NAME),
        lambda: print_facts("title", [(NAME, "value")]),
        lambda: print_facts("title", [("name", NAME)]),
    ],
)
def test_brackets_are_kept(show, capsys):
    show()
    assert NAME in capsys.readouterr().out
