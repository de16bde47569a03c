"""The pinhole camera model.

Pixel coordinates follow ROS and OpenCV: the centre of the top left pixel is (0, 0), so an image covers
[-0.5, width - 0.5] x [-0.5, height - 0.5]. Camera axes follow REP 103's optical frame: x right, y down, z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

_LEAST_FOCAL = 1 / 20
"""Of the picture's size: 168 degrees are seen."""


@dataclass(frozen=True)
class PinholeCamera:
    """Intrinsics of one camera.

    Attributes:
        width, height: image size in pixels.
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels.
        distortion: coefficients of the `plumb_bob` model (k1, k2, p1, p2, k3), or empty for a rectified image.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera size must be positive, found {self.width}x{self.height}")
        if not (math.isfinite(self.fx) and math.isfinite(self.fy) and self.fx > 0 and self.fy > 0):
            raise ValueError(f"focal lengths must be positive and finite, found fx={self.fx}, fy={self.fy}")
        if not (math.isfinite(self.cx) and math.isfinite(self.cy)):
            raise ValueError(f"principal point must be finite, found ({self.cx}, {self.cy})")
        if len(self.distortion) not in (0, 4, 5):
            raise ValueError(f"distortion must have 0, 4 or 5 coefficients, found {len(self.distortion)}")

    def check_plausible(self) -> None:
        """Raise ValueError where the intrinsics are hardly those of this picture, but of another size or not in pixels:
        depth would be wrong by their ratio. A crop's principal point may lie outside it, if not far."""
        for axis, size, focal, point in (("x", self.width, self.fx, self.cx), ("y", self.height, self.fy, self.cy)):
            if not -size <= point <= 2 * size:
                raise ValueError(
                    f"principal point c{axis}={point:g} is far outside a picture of {self.width}x{self.height} pixels: "
                    "are these the intrinsics of another size?"
                )
            if focal < _LEAST_FOCAL * size:
                raise ValueError(
                    f"focal length f{axis}={focal:g} is too short for a picture of {self.width}x{self.height} pixels: "
                    "pixels were expected, not millimetres"
                )

    @classmethod
    def from_focal(cls, width: int, height: int, focal: float) -> PinholeCamera:
        """A camera with square pixels and the principal point at the image centre."""
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)

    @property
    def matrix(self) -> np.ndarray:
        """The 3x3 intrinsic matrix K, float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> PinholeCamera:
        """The camera whose image is this one's, resampled to another size (same field of view)."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Slopes x/z of each column [W] and y/z of each row [H] of the undistorted viewing rays, float64."""
        return (
            (np.arange(self.width) - self.cx) / self.fx,
            (np.arange(self.height) - self.cy) / self.fy,
        )
