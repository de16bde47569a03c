"""Where a ray meets a primitive, compiled. Rays are origin + t * direction in the primitive's model frame.

Directions are not normalised: with a camera ray whose optical-axis component is 1, t IS the depth.
Sources: slab clipping of convex polyhedra after Kay and Kajiya (1986); the capped cone is the quadric
|q|^2 - (q.a)^2 = (ra - (ra - rb) q.a / |a|)^2 solved for t.
"""

from __future__ import annotations

import math

from numba import njit

from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.noise import hash_unit, noise3
from spike_depth_core.world.primitives import (
    BARS,
    CONE,
    CUT_A,
    CUT_B,
    CUTOUT,
    ELLIPSOID,
    HIGH,
    LATTICE,
    LEAVES,
    LOW,
    PANEL,
    PICKETS,
    POLYHEDRON,
    SHAPE,
    SPOKES,
)

FAR = 1e30
MISS = -1.0


@njit(**JIT)
def cone_interval(s, ox, oy, oz, dx, dy, dz):
    """(entry, exit) of a capped cone; entry FAR where missed. s: ax ay az bx by bz ra rb."""
    bax, bay, baz = s[3] - s[0], s[4] - s[1], s[5] - s[2]
    oax, oay, oaz = ox - s[0], oy - s[1], oz - s[2]
    m0 = bax * bax + bay * bay + baz * baz
    m1 = oax * bax + oay * bay + oaz * baz
    m2 = dx * bax + dy * bay + dz * baz
    m3 = dx * oax + dy * oay + dz * oaz
    m5 = oax * oax + oay * oay + oaz * oaz
    dd = dx * dx + dy * dy + dz * dz
    ra, rb = s[6], s[7]
    rr = ra - rb
    hy = m0 + rr * rr
    k2 = m0 * m0 * dd - m2 * m2 * hy
    k1 = m0 * m0 * m3 - m1 * m2 * hy + m0 * ra * rr * m2
    k0 = m0 * m0 * m5 - m1 * m1 * hy + 2.0 * m0 * ra * rr * m1 - m0 * m0 * ra * ra
    first, last = FAR, -FAR
    disc = k1 * k1 - k2 * k0
    if disc < 0.0:
        return FAR, -FAR
    if abs(k2) > 1e-14:
        root = math.sqrt(disc)
        for sign in (-1.0, 1.0):
            t = (-k1 + sign * root) / k2
            y = m1 + t * m2
            # The quadric has a mirror cone beyond the apex; between the caps only the real one lives.
            if 0.0 <= y <= m0:
                first = min(first, t)
                last = max(last, t)
    if abs(m2) > 1e-14:
        t = -m1 / m2
        if m5 + 2.0 * t * m3 + t * t * dd <= ra * ra:
            first = min(first, t)
            last = max(last, t)
        t = (m0 - m1) / m2
        qx, qy, qz = ox + t * dx - s[3], oy + t * dy - s[4], oz + t * dz - s[5]
        if qx * qx + qy * qy + qz * qz <= rb * rb:
            first = min(first, t)
            last = max(last, t)
    return first, last


@njit(**JIT)
def ellipsoid_interval(s, ox, oy, oz, dx, dy, dz):
    """(entry, exit) of an axis-aligned ellipsoid; entry FAR where missed. s: centre, radii."""
    ix, iy, iz = 1.0 / s[3], 1.0 / s[4], 1.0 / s[5]
    px, py, pz = (ox - s[0]) * ix, (oy - s[1]) * iy, (oz - s[2]) * iz
    qx, qy, qz = dx * ix, dy * iy, dz * iz
    a = qx * qx + qy * qy + qz * qz
    b = px * qx + py * qy + pz * qz
    c = px * px + py * py + pz * pz - 1.0
    disc = b * b - a * c
    if disc < 0.0:
        return FAR, -FAR
    root = math.sqrt(disc)
    return (-b - root) / a, (-b + root) / a


@njit(**JIT)
def polyhedron_interval(planes, count, ox, oy, oz, dx, dy, dz):
    """(entry, exit) of a convex polyhedron; entry beyond exit where missed."""
    enter, leave = -FAR, FAR
    for i in range(count):
        nd = planes[i, 0] * dx + planes[i, 1] * dy + planes[i, 2] * dz
        c = -(planes[i, 0] * ox + planes[i, 1] * oy + planes[i, 2] * oz + planes[i, 3])
        if nd < 0.0:
            enter = max(enter, c / nd)
        elif nd > 0.0:
            leave = min(leave, c / nd)
        elif c < 0.0:
            return FAR, -FAR
        if enter > leave:
            return FAR, -FAR
    return enter, leave


@njit(**JIT)
def leaf_march(enter, leave, size, density, reach, seed, ox, oy, oz, dx, dy, dz, near, limit, pixel):
    """First leaf along a ray inside a clump of foliage, or MISS.

    Foliage is where noise fixed in the model exceeds a threshold that is high at the clump's skin and relaxes inwards,
    which frays its outline in lumps of the clump's own size (`reach`, its least half extent) and in leaves of `size`;
    finer structure than the pixel (`pixel`: its width at t = 1) is skipped by doubling the noise's scale.
    (t - enter) (leave - t) |d|^2 is the power of the point: how deep inside it lies, squared.
    """
    length2 = dx * dx + dy * dy + dz * dz
    step = (0.5 * size + 0.13 * reach) / math.sqrt(length2)
    t = max(enter, near) + 0.15 * step
    deep = length2 / (0.6 * reach * reach)
    lump = max(0.6 * reach, 1.5 * size)
    for _ in range(8):
        if t > leave or t >= limit:
            return MISS
        skin = 1.0 - min(1.0, deep * (t - enter) * (leave - t))
        threshold = 1.0 - density + 0.3 * skin
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        value = 0.42 * noise3(x / lump, y / lump, z / lump, seed)
        # The finer octaves can add no more than 0.58.
        if value + 0.58 > threshold:
            scale = size
            while scale < pixel * t:
                scale *= 2.0
            value += 0.32 * noise3(x / scale, y / scale, z / scale, seed + 1)
            fine = 0.42 * scale
            if fine > 0.6 * pixel * t:
                value += 0.26 * noise3(x / fine, y / fine, z / fine, seed + 7)
            else:
                value += 0.13
            if value > threshold:
                return t
        t += step
    return MISS


@njit(**JIT)
def cut_out(cutout, a, b, u, v, seed):
    """Whether the place (u, v), in metres on a panel or ring, is solid."""
    if cutout == PICKETS:  # a: pitch, b: share of wood; a rail across at two heights
        phase = u / a - math.floor(u / a)
        return phase < b or abs(v) < 0.035
    if cutout == LATTICE:
        p, q = (u + v) / a, (u - v) / a
        return (p - math.floor(p)) < b or (q - math.floor(q)) < b
    if cutout == BARS:
        phase = v / a - math.floor(v / a)
        return phase < b
    return True


@njit(**JIT)
def hit(shape, count, row, planes, seed, ox, oy, oz, dx, dy, dz, near, limit, pixel):
    """Depth t in (near, limit) of the first solid point of a primitive along a ray, or MISS.

    `pixel` is the width of the pixel at t = 1, for the fineness of foliage.
    """
    cutout = int(row[CUTOUT])
    s = row[SHAPE : SHAPE + 9]
    if shape == PANEL:
        nx = s[4] * s[8] - s[5] * s[7]
        ny = s[5] * s[6] - s[3] * s[8]
        nz = s[3] * s[7] - s[4] * s[6]
        nd = nx * dx + ny * dy + nz * dz
        if abs(nd) < 1e-12:
            return MISS
        t = (nx * (s[0] - ox) + ny * (s[1] - oy) + nz * (s[2] - oz)) / nd
        if t <= near or t >= limit:
            return MISS
        px, py, pz = ox + t * dx - s[0], oy + t * dy - s[1], oz + t * dz - s[2]
        uu = s[3] * s[3] + s[4] * s[4] + s[5] * s[5]
        vv = s[6] * s[6] + s[7] * s[7] + s[8] * s[8]
        u = (px * s[3] + py * s[4] + pz * s[5]) / uu
        v = (px * s[6] + py * s[7] + pz * s[8]) / vv
        if abs(u) > 1.0 or abs(v) > 1.0:
            return MISS
        if cutout != 0:
            u *= math.sqrt(uu)
            v *= math.sqrt(vv)
            a = row[CUT_A]
            if 2.0 * pixel * t > a and cutout != LEAVES:
                # Finer than a pixel: a dither fixed to the place stands for coverage.
                cell = 2.0 * a
                while cell < pixel * t:
                    cell *= 2.0
                solid = hash_unit(math.floor(u / cell), math.floor(v / cell), 3, seed) < (
                    2.0 * row[CUT_B] if cutout == LATTICE else row[CUT_B]
                )
            else:
                solid = cut_out(cutout, a, row[CUT_B], u, v, seed)
            if not solid:
                return MISS
        return t
    if shape > PANEL:  # RING
        nd = s[3] * dx + s[4] * dy + s[5] * dz
        if abs(nd) < 1e-12:
            return MISS
        t = (s[3] * (s[0] - ox) + s[4] * (s[1] - oy) + s[5] * (s[2] - oz)) / nd
        if t <= near or t >= limit:
            return MISS
        px, py, pz = ox + t * dx - s[0], oy + t * dy - s[1], oz + t * dz - s[2]
        rr = px * px + py * py + pz * pz
        if rr > s[6] * s[6]:
            return MISS
        if rr < s[7] * s[7]:
            if cutout != SPOKES:
                return MISS
            angle = math.atan2(pz, abs(s[3]) * py + abs(s[4]) * px) * 16.0 / math.pi
            if angle - math.floor(angle) > 0.12 * s[6] / (math.sqrt(rr) + 0.05):
                return MISS
        return t
    if shape == POLYHEDRON:
        enter, leave = polyhedron_interval(planes, count, ox, oy, oz, dx, dy, dz)
    elif shape == ELLIPSOID:
        enter, leave = ellipsoid_interval(s, ox, oy, oz, dx, dy, dz)
    elif shape == CONE:
        enter, leave = cone_interval(s, ox, oy, oz, dx, dy, dz)
    else:
        return MISS
    if enter > leave or enter >= limit or leave <= near:
        return MISS
    if cutout == LEAVES:
        reach = 0.5 * min(row[HIGH] - row[LOW], min(row[HIGH + 1] - row[LOW + 1], row[HIGH + 2] - row[LOW + 2]))
        t = leaf_march(enter, leave, row[CUT_A], row[CUT_B], reach, seed, ox, oy, oz, dx, dy, dz, near, limit, pixel)
        return t if near < t < limit else MISS
    return enter if enter > near else MISS
