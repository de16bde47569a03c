"""Options that several commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_LARGEST = 1e9  # seconds: so many and the time of today, in nanoseconds, are still a number of 64 bits

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A .safetensors checkpoint, or a folder of `export`; the shipped one by default."
    ),
]

Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]

Backend = Annotated[
    str | None,
    typer.Option(
        help="What computes the network: torch, onnxruntime (CPU), or auto for the faster one. Default: onnxruntime "
        "for a folder of `export`, else torch."
    ),
]

Pixels = Annotated[
    int | None,
    # The least is that of `networks.depth_network`, which takes long to import.
    typer.Option(min=1024, metavar="N", help="Size of the picture the network works on; its own by default."),
]


def finite(value: float | None) -> float | None:
    """Callback of an option: refuse what a range of numbers lets through and is no time, rate or size."""
    if value is not None and not abs(value) <= _LARGEST:  # not `>`: NaN is none either
        raise typer.BadParameter(f"{value} is not a number of at most {_LARGEST:g}.")
    return value


def typed(context: typer.Context, *names: str) -> list[str]:
    """Those of a command's parameters that its user has given, as options: what would have no effect is refused."""
    given = (name for name in names if getattr(context.get_parameter_source(name), "name", None) == "COMMANDLINE")
    return [f"--{name.replace('_', '-')}" for name in given]


def parse_sensors(text: str | None, known: tuple[str, ...]) -> tuple[str, ...] | None:
    """`spikes,rgb` as names in the fixed order; None for None. Raises ValueError naming what is not known."""
    if text is None:
        return None
    asked = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        raise ValueError(f"--sensors takes some of {','.join(known)}, found {text!r}")
    return tuple(name for name in known if name in asked)


def parse_topics(given: list[str] | None) -> dict[str, str]:
    """`rgb=/camera/image` and the like as a mapping. Raises ValueError for what is not."""
    found: dict[str, str] = {}
    for text in given or ():
        sensor, equals, topic = text.partition("=")
        if not equals or not sensor or not topic:
            raise ValueError(f"--topic takes SENSOR=TOPIC, found {text!r}")
        if found.setdefault(sensor, topic) != topic:
            raise ValueError(f"--topic takes one topic a sensor, found {found[sensor]} and {topic} for {sensor}")
    return found
