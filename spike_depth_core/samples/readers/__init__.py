"""Readers of public data sets: each yields `DepthSample`s."""
