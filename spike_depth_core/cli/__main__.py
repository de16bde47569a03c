"""`python -m spike_depth_core.cli`: the `spike-depth` command where it is not on the path."""

from spike_depth_core.cli.main import app

app(prog_name="spike-depth")
