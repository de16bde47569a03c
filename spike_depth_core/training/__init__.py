"""The training loop, its data and the moving average of its weights."""
