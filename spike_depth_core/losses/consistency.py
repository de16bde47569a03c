"""Agreement between depth maps that look at one scene from several places."""

from __future__ import annotations

from torch import Tensor

from spike_depth_core.geometry.resample import inside, sample_at
from spike_depth_core.geometry.warp import back_project, project
from spike_depth_core.losses.depth import masked_mean


def depth_consistency(teacher: Tensor, depth: Tensor, camera: Tensor, centre: Tensor, tolerance: float = 0.2) -> Tensor:
    """Mean of |d(p') - z'| / (d(p') + z') where the points of one depth map fall into another.

    p' and z' are where, and how far away, the teacher's points are for the other camera, which looks the same way
    from `centre`. Points that it sees something before, nearer than z' by more than the tolerance, are hidden from it
    and left out.

    Args:
        teacher: metres [B, H, W]; no gradient flows into it.
        depth: metres [B, H, W] of the camera at `centre`.
        camera: (fx, fy, cx, cy) [B, 4] of both.
        centre: of the second camera in the first one's frame, metres [B, 3].
        tolerance: relative.

    Source: L_geo in the published code of Shin et al. (ICRA 2025), after Bian et al., "Unsupervised scale-consistent
    depth and ego-motion learning from monocular video" (NeurIPS 2019), equation 3. The test for hidden points is ours.
    """
    pixels, z = project(back_project(teacher.detach(), camera) - centre[:, None, None], camera)
    found = sample_at(depth[:, None], pixels)[:, 0]
    size = (depth.shape[-2], depth.shape[-1])
    visible = inside(pixels, size) & (z > 1e-3) & (found.detach() > z * (1 - tolerance))
    z = z.clamp(min=1e-3)
    return masked_mean((found - z).abs() / (found + z), visible)
