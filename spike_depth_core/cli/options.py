"""Options that several commands have in common."""

from __future__ import annotations

from typing import Annotated

import typer

Backend = Annotated[
    str | None,
    typer.Option(
        help="What computes the network: torch, onnxruntime (CPU), or auto for the faster one. Default: onnxruntime "
        "for a folder of `export`, else torch."
    ),
]
