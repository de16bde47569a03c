"""What every subcommand prints with: tables for people, progress that keeps silent without a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

T = TypeVar("T")

# Nothing here is rich's markup: brackets in a name or a message are a person's own.
console = Console(markup=False)


def progress_bar() -> Progress:
    """A progress display on the standard error stream; shows nothing where that is no terminal."""
    stream = Console(stderr=True, markup=False)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stream,
        disable=not stream.is_terminal,
        transient=True,
    )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing how many have passed."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str | None = None) -> None:
    """A table on the screen: the first column to the left, the figures to the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        # Figures are never folded; where the terminal is narrow, names are.
        if index == 0:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", min_width=5)
    for row in rows:
        table.add_row(*row)
    _print_titled(title, table, caption)


def print_facts(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Names and values on the screen."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    _print_titled(title, table)


def _print_titled(title: str, table: Table, caption: str | None = None) -> None:
    # Without a terminal (a log, a pipe) the width is unknown, and a table folded to 80 columns reads badly.
    wide = console if console.is_terminal else Console(width=160, markup=False)
    # Beside the table, not in it: there they would be folded to the table's width.
    wide.print(title, style="bold", highlight=False)
    wide.print(table)
    if caption:
        wide.print(caption, highlight=False)
