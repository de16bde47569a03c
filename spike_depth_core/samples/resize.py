"""Samples of another size, so that pictures of several cameras can share a batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from spike_depth_core.samples.readers import kitti
from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.sensors import modality


def resize_picture(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture uint8 [H, W, 3], or uint8 or uint16 [H, W], averaged over what a new pixel covers."""
    if image.ndim == 3:
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    resized = Image.fromarray(image.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(resized)).astype(image.dtype)


def resize_depth(depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """A depth map [H, W] at another size: values are picked, never mixed, and none of a sparse map is lost to a gap.

    A new pixel takes the value at its centre; where that is unknown, the nearest of the points that fall into it.
    """
    old_height, old_width = depth.shape
    rows = ((np.arange(height) + 0.5) * old_height / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * old_width / width).astype(np.int64)
    centre = depth[rows][:, columns]
    v, u = np.nonzero(np.isfinite(depth))
    scaled = np.column_stack([(u + 0.5) * width / old_width - 0.5, (v + 0.5) * height / old_height - 0.5, depth[v, u]])
    return np.where(np.isnan(centre), kitti.rasterise(scaled, width, height), centre)


def resize_sample(sample: DepthSample, width: int, height: int) -> DepthSample:
    """All pictures, their depth and their cameras at one size. Spikes stay as they are: they are bits, not values."""
    cameras = dict(sample.rig.cameras)
    images: dict[str, Any] = {}
    depth = dict(sample.depth)
    for name in sample.images:
        if modality(name) == "spikes":
            continue
        images[name] = resize_picture(getattr(sample, name), width, height)
        cameras[name] = cameras[name].resized(width, height)
        if name in depth:
            depth[name] = resize_depth(depth[name], width, height)
    return dataclasses.replace(sample, rig=dataclasses.replace(sample.rig, cameras=cameras), depth=depth, **images)
