"""The `spike-depth` command: one file a subcommand."""
