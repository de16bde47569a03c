"""Reading camera pictures from files, in the types that `DepthSample` holds.

Cameras and phones that are held on their side store pictures as they lie, and say in the EXIF how to turn them
(`upright`). Data sets are read as they are stored: it is those pixels that their intrinsics are of.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


def read_rgb(path: str | Path, upright: bool = False) -> np.ndarray:
    """An 8-bit colour (or grey) picture as uint8 [H, W, 3], turned as its EXIF says with `upright`."""
    image, _ = _open(path, upright)
    if image.mode not in ("RGB", "RGBA", "L", "P", "LA", "CMYK", "YCbCr"):
        raise ValueError(f"{path}: an 8-bit colour picture was expected, found mode {image.mode}")
    return np.array(image.convert("RGB"))  # writable, as torch wants it


def read_grey(path: str | Path, upright: bool = False) -> np.ndarray:
    """A one-channel picture, uint8 or uint16 [H, W] as stored, but turned as its EXIF says with `upright`; colour is an
    error, not silently averaged."""
    image, stored = _open(path, upright)
    if image.mode == "L":
        return np.array(image)
    if image.mode in ("I;16", "I;16B", "I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"{path}: 16-bit values were expected, found {values.min()} to {values.max()}")
        return values.astype(np.uint16)
    if image.mode in ("RGB", "RGBA") and "16" not in stored:  # of which the half is dropped
        values = np.asarray(image)[..., :3]
        if (values == values[..., :1]).all():  # grey, saved as colour
            return values[..., 0].copy()
    raise ValueError(f"{path}: a picture of one channel was expected, found mode {image.mode}, stored as {stored}")


def _open(path: str | Path, upright: bool) -> tuple[Image.Image, str]:
    """A picture, and how its file holds the pixels, such as `RGB;16B`; empty where its format does not say."""
    try:
        image = Image.open(path)
        stored = str(image.tile[0][3]) if image.tile else ""
        image.load()
        return (ImageOps.exif_transpose(image) if upright else image), stored
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {path}") from error
    except Exception as error:  # each format's decoder has its own for a damaged head, or one that asks for too much
        raise ValueError(f"{path} is not a readable picture: {error}") from error
