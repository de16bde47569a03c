"""Which primitive each pixel sees: primitives are cast into a depth buffer, nearest models first.

Every primitive's box is projected (clipped at the near plane) to a rectangle of pixels, and only those pixels' rays
are tested against it, as in a rasteriser; the test itself is the exact ray intersection, so depth is exact.
`exhaustive=True` tests every primitive at every pixel: the twin that shows that the rectangles lose nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.intersect import FAR, MISS, hit
from spike_depth_core.world.primitives import CUTOUT, HIGH, LOW, POLYHEDRON

NEAR = 0.25
SKY, GROUND, PLAIN = -1, -2, -3  # values of the instance buffer for what is no instance


@njit(**JIT)
def _extend(rect, x, y, z, fx, fy, cx, cy):
    u, v = fx * x / z + cx, fy * y / z + cy
    rect[0] = min(rect[0], u)
    rect[1] = max(rect[1], u)
    rect[2] = min(rect[2], v)
    rect[3] = max(rect[3], v)
    rect[4] = min(rect[4], z)


@njit(**JIT)
def _box_rectangle(row, m, offset, fx, fy, cx, cy, corners, rect):
    """Pixel bounds (u0, u1, v0, v1) and least depth of a model-frame box, into rect; False where it is all behind."""
    rect[0], rect[1], rect[2], rect[3], rect[4] = FAR, -FAR, FAR, -FAR, FAR
    behind = 0
    for c in range(8):
        px = row[LOW] if c & 1 == 0 else row[HIGH]
        py = row[LOW + 1] if c & 2 == 0 else row[HIGH + 1]
        pz = row[LOW + 2] if c & 4 == 0 else row[HIGH + 2]
        for a in range(3):
            corners[c, a] = m[a, 0] * px + m[a, 1] * py + m[a, 2] * pz + offset[a]
        if corners[c, 2] < NEAR:
            behind += 1
        else:
            _extend(rect, corners[c, 0], corners[c, 1], corners[c, 2], fx, fy, cx, cy)
    if behind == 8:
        return False
    if behind > 0:
        for c in range(8):
            for bit in (1, 2, 4):
                other = c | bit
                if c & bit == 0 and (corners[c, 2] < NEAR) != (corners[other, 2] < NEAR):
                    s = (NEAR - corners[c, 2]) / (corners[other, 2] - corners[c, 2])
                    _extend(
                        rect,
                        corners[c, 0] + s * (corners[other, 0] - corners[c, 0]),
                        corners[c, 1] + s * (corners[other, 1] - corners[c, 1]),
                        NEAR,
                        fx,
                        fy,
                        cx,
                        cy,
                    )
        rect[4] = NEAR
    return True


@njit(**JIT)
def _cast_polyhedron(
    planes, count, o, d0, du, dv, u0, u1, v0, v1, index, primitive, depth, instance_of, primitive_of, enter, leave
):
    """Solid polyhedra, a row at a time and a plane at a time: a form compilers turn into vector code."""
    for v in range(v0, v1):
        for u in range(u0, u1):
            enter[u] = NEAR
            leave[u] = depth[v, u]
        for i in range(count):
            nx, ny, nz = planes[i, 0], planes[i, 1], planes[i, 2]
            c = -(nx * o[0] + ny * o[1] + nz * o[2] + planes[i, 3])
            base = nx * (d0[0] + v * dv[0]) + ny * (d0[1] + v * dv[1]) + nz * (d0[2] + v * dv[2])
            slope = nx * du[0] + ny * du[1] + nz * du[2]
            if c >= 0.0:
                # The origin is inside this plane: it can only cut the far end.
                for u in range(u0, u1):
                    nd = base + u * slope
                    t = c / nd
                    leave[u] = min(leave[u], t if nd > 0.0 else FAR)
            else:
                for u in range(u0, u1):
                    nd = base + u * slope
                    t = c / nd
                    enter[u] = max(enter[u], t if nd < 0.0 else FAR)
        for u in range(u0, u1):
            if NEAR < enter[u] < leave[u]:
                depth[v, u] = enter[u]
                instance_of[v, u] = index
                primitive_of[v, u] = primitive


@njit(**JIT)
def cast_instances(
    rotation, position, fx, fy, cx, cy, row0, row1,
    order, poses, bounds, ranges, seeds, kind, data, planes,
    exhaustive, depth, instance_of, primitive_of,
):  # fmt: skip
    """Cast instances into the buffers `depth` (FAR where nothing), `instance_of`, `primitive_of`, rows row0..row1."""
    width = depth.shape[1]
    m = np.empty((3, 3))
    offset = np.empty(3)
    o = np.empty(3)
    d0, du, dv = np.empty(3), np.empty(3), np.empty(3)
    corners, rect = np.empty((8, 3)), np.empty(5)
    enter, leave = np.empty(width), np.empty(width)
    pixel = 1.0 / fx
    for n in range(order.shape[0]):
        index = order[n]
        pose = poses[index]
        for a in range(3):
            for b in range(3):
                m[a, b] = rotation[0, a] * pose[0, b] + rotation[1, a] * pose[1, b] + rotation[2, a] * pose[2, b]
            offset[a] = (
                rotation[0, a] * (pose[0, 3] - position[0])
                + rotation[1, a] * (pose[1, 3] - position[1])
                + rotation[2, a] * (pose[2, 3] - position[2])
            )
        b0, b1, b2, radius = bounds[index, 0], bounds[index, 1], bounds[index, 2], bounds[index, 3]
        x = m[0, 0] * b0 + m[0, 1] * b1 + m[0, 2] * b2 + offset[0]
        y = m[1, 0] * b0 + m[1, 1] * b1 + m[1, 2] * b2 + offset[1]
        z = m[2, 0] * b0 + m[2, 1] * b1 + m[2, 2] * b2 + offset[2]
        if not exhaustive:
            # Outside one of the planes of the view frustum?
            left, right = (0.5 + cx) / fx, (width - 0.5 - cx) / fx
            top, bottom = (0.5 + cy - row0) / fy, (row1 - 0.5 - cy) / fy
            if (
                z + radius < NEAR
                or -x - left * z > radius * math.sqrt(1.0 + left * left)
                or x - right * z > radius * math.sqrt(1.0 + right * right)
                or -y - top * z > radius * math.sqrt(1.0 + top * top)
                or y - bottom * z > radius * math.sqrt(1.0 + bottom * bottom)
            ):
                continue
        for a in range(3):
            o[a] = -(m[0, a] * offset[0] + m[1, a] * offset[1] + m[2, a] * offset[2])
            du[a] = m[0, a] / fx
            dv[a] = m[1, a] / fy
            d0[a] = m[2, a] - cx * du[a] - cy * dv[a]
        seed = seeds[index]
        for primitive in range(ranges[index, 0], ranges[index, 1]):
            row = data[primitive]
            u0, u1, v0, v1 = 0, width, row0, row1
            nearest = 0.0
            if not exhaustive:
                if not _box_rectangle(row, m, offset, fx, fy, cx, cy, corners, rect):
                    continue
                if rect[0] > width or rect[1] < 0.0 or rect[2] > row1 or rect[3] < row0:
                    continue
                u0 = math.ceil(max(rect[0] - 1e-6, 0.0))
                u1 = math.floor(min(rect[1] + 1e-6, width - 1.0)) + 1
                v0 = math.ceil(max(rect[2] - 1e-6, row0 + 0.0))
                v1 = math.floor(min(rect[3] + 1e-6, row1 - 1.0)) + 1
                nearest = rect[4]
            shape, count = kind[primitive, 0], kind[primitive, 3]
            if shape == POLYHEDRON and row[CUTOUT] == 0.0:
                _cast_polyhedron(
                    planes[primitive], count, o, d0, du, dv, u0, u1, v0, v1, index, primitive,
                    depth, instance_of, primitive_of, enter, leave,
                )  # fmt: skip
                continue
            for v in range(v0, v1):
                ex, ey, ez = d0[0] + v * dv[0], d0[1] + v * dv[1], d0[2] + v * dv[2]
                for u in range(u0, u1):
                    limit = depth[v, u]
                    if limit <= nearest:
                        continue
                    t = hit(
                        shape, count, row, planes[primitive], seed,
                        o[0], o[1], o[2], ex + u * du[0], ey + u * du[1], ez + u * du[2], NEAR, limit, pixel,
                    )  # fmt: skip
                    if t != MISS:
                        depth[v, u] = t
                        instance_of[v, u] = index
                        primitive_of[v, u] = primitive


@njit(**JIT)
def cast_ground(
    rotation, position, fx, fy, cx, cy, row0, row1, triangles, exhaustive, depth, instance_of, primitive_of
):
    """Cast the triangles [T, 3, 3] (world) of the ground mesh into the buffers.

    With the corners as columns of V in the camera's frame, the ray t * d meets the plane of the triangle at barycentric
    weights b where V b = t d, so V^-1 d = b / t: positive throughout inside, and its sum is 1 / t. No clipping needed.
    """
    width = depth.shape[1]
    p = np.empty((3, 3))
    g = np.empty((3, 3))
    for n in range(triangles.shape[0]):
        low_u, high_u, low_v, high_v = FAR, -FAR, FAR, -FAR
        behind = 0
        nearest = FAR
        for c in range(3):
            x = triangles[n, c, 0] - position[0]
            y = triangles[n, c, 1] - position[1]
            z = triangles[n, c, 2] - position[2]
            for a in range(3):
                p[c, a] = rotation[0, a] * x + rotation[1, a] * y + rotation[2, a] * z
            if p[c, 2] < NEAR:
                behind += 1
        if behind == 3:
            continue
        for c in range(3):
            nearest = min(nearest, p[c, 2])
            if p[c, 2] >= NEAR:
                u, v = fx * p[c, 0] / p[c, 2] + cx, fy * p[c, 1] / p[c, 2] + cy
                low_u, high_u, low_v, high_v = min(low_u, u), max(high_u, u), min(low_v, v), max(high_v, v)
            other = (c + 1) % 3
            if (p[c, 2] < NEAR) != (p[other, 2] < NEAR):
                s = (NEAR - p[c, 2]) / (p[other, 2] - p[c, 2])
                u = fx * (p[c, 0] + s * (p[other, 0] - p[c, 0])) / NEAR + cx
                v = fy * (p[c, 1] + s * (p[other, 1] - p[c, 1])) / NEAR + cy
                low_u, high_u, low_v, high_v = min(low_u, u), max(high_u, u), min(low_v, v), max(high_v, v)
        u0, u1, v0, v1 = 0, width, row0, row1
        if exhaustive:
            nearest = 0.0
        else:
            if low_u > width or high_u < 0.0 or low_v > row1 or high_v < row0:
                continue
            u0 = math.ceil(max(low_u - 1e-6, 0.0))
            u1 = math.floor(min(high_u + 1e-6, width - 1.0)) + 1
            v0 = math.ceil(max(low_v - 1e-6, row0 + 0.0))
            v1 = math.floor(min(high_v + 1e-6, row1 - 1.0)) + 1
            if u0 >= u1 or v0 >= v1:
                continue
        # Rows of V^-1: cross products of the corners over the determinant.
        det = (
            p[0, 0] * (p[1, 1] * p[2, 2] - p[1, 2] * p[2, 1])
            - p[0, 1] * (p[1, 0] * p[2, 2] - p[1, 2] * p[2, 0])
            + p[0, 2] * (p[1, 0] * p[2, 1] - p[1, 1] * p[2, 0])
        )
        if abs(det) < 1e-12:
            continue
        for c in range(3):
            i, j = (c + 1) % 3, (c + 2) % 3
            g[c, 0] = (p[i, 1] * p[j, 2] - p[i, 2] * p[j, 1]) / det
            g[c, 1] = (p[i, 2] * p[j, 0] - p[i, 0] * p[j, 2]) / det
            g[c, 2] = (p[i, 0] * p[j, 1] - p[i, 1] * p[j, 0]) / det
        for v in range(v0, v1):
            y = (v - cy) / fy
            for u in range(u0, u1):
                if depth[v, u] <= nearest:
                    continue
                x = (u - cx) / fx
                g0 = g[0, 0] * x + g[0, 1] * y + g[0, 2]
                g1 = g[1, 0] * x + g[1, 1] * y + g[1, 2]
                g2 = g[2, 0] * x + g[2, 1] * y + g[2, 2]
                total = g0 + g1 + g2
                # The tolerance closes the seam between triangles against rounding.
                slack = -1e-9 * total
                if total > 0.0 and g0 >= slack and g1 >= slack and g2 >= slack:
                    t = 1.0 / total
                    if NEAR < t < depth[v, u]:
                        depth[v, u] = t
                        instance_of[v, u] = GROUND
                        primitive_of[v, u] = n


@njit(**JIT)
def cast_plain(rotation, position, fx, fy, cx, cy, row0, row1, height, depth, instance_of):
    """What no triangle covers below the horizon: the infinite plain z = height (world)."""
    if position[2] <= height:
        return
    for v in range(row0, row1):
        for u in range(depth.shape[1]):
            if depth[v, u] >= FAR:
                dz = rotation[2, 0] * (u - cx) / fx + rotation[2, 1] * (v - cy) / fy + rotation[2, 2]
                if dz < -1e-4:
                    depth[v, u] = (height - position[2]) / dz
                    instance_of[v, u] = PLAIN
