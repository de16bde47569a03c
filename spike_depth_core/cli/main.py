"""The `spike-depth` command: collects the subcommands and turns errors into one clear line.

A subcommand's file is imported only when the subcommand is called, so `spike-depth --help` does not wait for
PyTorch. To add one, write a function with Typer annotations and a docstring in a file of its own, and name it
in `COMMANDS`.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from spike_depth_core import __version__
from spike_depth_core.allocator import keep_freed_memory

# name: (module, function, the line of help in the list)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "infer": (
        "spike_depth_core.cli.infer",
        "infer",
        "Depth from files: spikes, pictures, or both.",
    ),
    "simulate": (
        "spike_depth_core.cli.simulate",
        "simulate",
        "Drive through a rendered street and keep what the sensors see.",
    ),
    "evaluate": (
        "spike_depth_core.cli.evaluate",
        "evaluate",
        "Measure accuracy on bags, unseen streets or public data, beside the row prior.",
    ),
    "replay": (
        "spike_depth_core.cli.replay",
        "replay",
        "Replay a bag through the node's own pipeline, offline, and measure it against a truth in the bag.",
    ),
    "extract": (
        "spike_depth_core.cli.extract",
        "extract",
        "Make training data of bags: samples in shards, split by drives.",
    ),
    "train": (
        "spike_depth_core.cli.train",
        "train",
        "Teach a network: on rendered streets, data of bags, or public data sets.",
    ),
    "blend": (
        "spike_depth_core.cli.blend",
        "blend",
        "Go part of the way from a checkpoint to what it was trained into.",
    ),
    "benchmark": (
        "spike_depth_core.cli.benchmark",
        "benchmark",
        "Train and measure the rows of a recipe's table, or online distillation.",
    ),
    "export": (
        "spike_depth_core.cli.export",
        "export",
        "Write a network as ONNX, checked against PyTorch.",
    ),
    "convert": (
        "spike_depth_core.cli.convert",
        "convert",
        "Convert spike recordings between formats, or a video to spikes.",
    ),
    "convert spike-kitti": (
        "spike_depth_core.cli.convert_datasets",
        "convert_spike_kitti",
        "Make the Spike-KITTI set out of KITTI raw.",
    ),
    "convert dataset": (
        "spike_depth_core.cli.convert_datasets",
        "convert_dataset",
        "Make sample files of a public data set.",
    ),
    "info": (
        "spike_depth_core.cli.info",
        "info",
        "Tell what a checkpoint, a recording, a bag, a rig, a data set or a folder of samples holds.",
    ),
}

# What a user can cause: a wrong argument, file or format. Anything else is a fault of ours and keeps its traceback.
USER_ERRORS = (ValueError, OSError)


class _LazyCommands(TyperGroup):
    """A group that knows its subcommands by name and imports one when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that is enough to list the subcommand."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][2])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        self.commands = {name: None for name in COMMANDS}  # type: ignore[misc]  # for "did you mean"
        if (two_words := " ".join(args[:2])) in COMMANDS:
            args = [two_words, *args[2:]]
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = load(name)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        keep_freed_memory()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # of an encoding that lacks δ, say: the work was not for nothing
                stream.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except (*USER_ERRORS, ImportError) as error:
            if type(error) is ModuleNotFoundError:  # ours; a plain ImportError says which extra to install
                raise
            if isinstance(error, BrokenPipeError):  # `spike-depth info x | head`: nobody reads any more
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(1) from None
            if ctx.params.get("traceback"):
                traceback.print_exc()
            else:
                name = f"spike-depth {ctx.invoked_subcommand}" if ctx.invoked_subcommand else "spike-depth"
                print(f"{name}: error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None


def load(name: str) -> Any:
    """Import a subcommand's file and make its command."""
    module, function, _ = COMMANDS[name]
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(getattr(importlib.import_module(module), function))
    return typer.main.get_command(single)


app = typer.Typer(
    cls=_LazyCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spike-depth {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=False)
def main(
    traceback: Annotated[
        bool, typer.Option("--traceback", help="On an error, show where in the code it came from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Metric depth from a spike camera, fused with RGB, near infrared and thermal cameras.

    These commands work on files and need no ROS. The live demonstration is `python -m spike_depth_ros.demo`.
    """


if __name__ == "__main__":
    app(prog_name="spike-depth")
