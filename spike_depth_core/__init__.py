"""Metric depth from spike cameras: the PyTorch core, which knows nothing of ROS."""

__version__ = "0.1.0"
