"""The frame of the command: fast help, one clear line for a user's error, a traceback for ours."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from spike_depth_core.cli import main


def _fails(error):
    def command():
        """Fail."""
        raise error

    return command


@pytest.fixture
def run(monkeypatch):
    """Run the command with one extra subcommand, `broken`, that raises what it is given."""

    def call(arguments, error=None):
        monkeypatch.setitem(main.COMMANDS, "broken", ("test_double", "broken", "Fails, for this test."))
        module = type(sys)("test_double")
        module.broken = _fails(error)
        monkeypatch.setitem(sys.modules, "test_double", module)
        return CliRunner().invoke(main.app, arguments)

    return call


def test_help_does_not_import_the_subcommands_or_torch():
    code = (
        "import sys, runpy; sys.argv = ['spike-depth', '--help']\n"
        "try: runpy.run_module('spike_depth_core.cli', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'numba', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "Usage: spike-depth" in result.stdout


def test_every_command_can_be_imported_and_has_help():
    for name, (_, _, line) in main.COMMANDS.items():
        result = CliRunner().invoke(main.app, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)
        assert line.endswith(".")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("there is no such thing"),
        FileNotFoundError("a.dat is missing"),
        ImportError("reports need jinja2: pip install it"),
    ],
)
def test_a_users_error_is_one_line(run, error):
    result = run(["broken"], error)
    assert result.exit_code == 2
    assert result.stderr == f"spike-depth broken: error: {error}\n"
    assert "Traceback" in run(["--traceback", "broken"], error).stderr


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), ModuleNotFoundError("No module named 'a'")])
def test_our_own_error_keeps_its_traceback(run, error):
    assert run(["broken"], error).exception is error


def test_what_the_terminal_cannot_show_does_not_cost_the_work(run, monkeypatch):
    run(["broken"], ValueError())  # so that it is known
    sys.modules["test_double"].broken = lambda: print("δ < 1.25")
    result = CliRunner(charset="latin-1").invoke(main.app, ["broken"])
    assert (result.exit_code, result.stdout) == (0, "? < 1.25\n")


def test_unknown_command_is_guessed(run):
    result = run(["brokn"])
    assert result.exit_code == 2
    assert "Did you mean 'broken'" in result.stderr


def test_version():
    from spike_depth_core import __version__

    result = CliRunner().invoke(main.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"spike-depth {__version__}\n")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["replay", "gone.mcap"], ["start", "duration", "rate", "truth-tolerance", "adapt-interval"]),
        (["extract", "gone.mcap", "--out", "out"], ["rate", "truth-tolerance", "block", "gap", "max-sync-error"]),
        (["extract", "gone.mcap", "--out", "out"], ["max-clipped", "min-speed", "min-change", "shard-mb"]),
        (["simulate", "--out", "out"], ["speed", "rate", "start", "duration"]),
        (["evaluate", "gone.mcap", "--out", "out"], ["block", "rate", "truth-tolerance"]),
        (["train", "--out", "out"], ["learning-rate", "stop-after"]),
    ],
)
def test_no_time_and_no_rate_is_infinite_or_no_number(command, options, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option in options:
        result = CliRunner().invoke(main.app, [*command, f"--{option}={value}"])
        assert result.exit_code == 2
        assert f"Invalid value for '--{option}'" in result.stderr, result.stderr
    assert not list(tmp_path.iterdir())
