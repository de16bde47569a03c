"""From what a pixel sees to what it measures: radiance, temperature, image velocity. Compiled, a band of rows a call.

Diffuse light by the sun (with shadow), the sky's half-space, light from below and lamps; a mirror term (Schlick's
approximation of Fresnel reflection) shows the sky in glass, paint and wet asphalt; haze adds airlight with distance.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.intersect import FAR
from spike_depth_core.world.lamps import lamp_pattern
from spike_depth_core.world.lighting import (
    AIR,
    AIRLIGHT,
    AMBIENT,
    BOUNCE,
    DARK,
    HAZE,
    HEATING,
    RAIN,
    SUNLIGHT,
    THERMAL_VEIL,
    VEIL,
    VEIL_HEIGHT,
    WET,
)
from spike_depth_core.world.materials import (
    ALBEDO,
    BUMP,
    EMIT,
    MIRROR,
    ROUGH,
    SCRATCH,
    THROUGH,
    WARM,
    ground,
    surface,
)
from spike_depth_core.world.noise import smoothstep
from spike_depth_core.world.primitives import (
    BEVEL,
    CONE,
    CUTOUT,
    ELLIPSOID,
    HIGH,
    LEAVES,
    LOW,
    PANEL,
    POLYHEDRON,
    SHAPE,
)
from spike_depth_core.world.shadows import ground_occlusion, in_shadow
from spike_depth_core.world.sky import sky
from spike_depth_core.world.surfaces import CAR_BODY, CAR_CABIN, FIELD, GRASS, LEAF
from spike_depth_core.world.visibility import GROUND, SKY


@njit(**JIT)
def _normal(shape, count, row, planes, x, y, z, n):
    """Outward unit normal at a point of a primitive, model frame, into n."""
    s = row[SHAPE : SHAPE + 9]
    if row[CUTOUT] == LEAVES:
        n[0] = (x - 0.5 * (row[LOW] + row[HIGH])) / (row[HIGH] - row[LOW])
        n[1] = (y - 0.5 * (row[LOW + 1] + row[HIGH + 1])) / (row[HIGH + 1] - row[LOW + 1])
        n[2] = (z - 0.5 * (row[LOW + 2] + row[HIGH + 2])) / (row[HIGH + 2] - row[LOW + 2]) + 0.1
    elif shape == POLYHEDRON:
        bevel = row[BEVEL]
        n[0] = n[1] = n[2] = 0.0
        best, face = -FAR, 0
        for i in range(count):
            away = planes[i, 0] * x + planes[i, 1] * y + planes[i, 2] * z + planes[i, 3]
            if away > best:
                best, face = away, i
            if bevel > 0.0 and away > -6.0 * bevel:
                # Near an edge the normals of its faces blend: the body looks rounded.
                w = math.exp(away / bevel)
                for a in range(3):
                    n[a] += w * planes[i, a]
        if bevel <= 0.0:
            for a in range(3):
                n[a] = planes[face, a]
    elif shape == ELLIPSOID:
        for a in range(3):
            p = x if a == 0 else (y if a == 1 else z)
            n[a] = (p - s[a]) / (s[3 + a] * s[3 + a])
    elif shape == CONE:
        bx, by, bz = s[3] - s[0], s[4] - s[1], s[5] - s[2]
        m = bx * bx + by * by + bz * bz
        px, py, pz = x - s[0], y - s[1], z - s[2]
        along = (px * bx + py * by + pz * bz) / m
        rx, ry, rz = px - along * bx, py - along * by, pz - along * bz
        radial = math.sqrt(rx * rx + ry * ry + rz * rz)
        here = s[6] + (s[7] - s[6]) * along
        # On a cap the point lies within the radius; on the side, at it.
        if radial < here - 1e-5 and (along < 0.5) == (along < 1e-4) and (along < 0.5 or along > 1.0 - 1e-4):
            sign = -1.0 if along < 0.5 else 1.0
            n[0], n[1], n[2] = sign * bx, sign * by, sign * bz
        else:
            lift = (s[6] - s[7]) / m * radial
            n[0], n[1], n[2] = rx + lift * bx, ry + lift * by, rz + lift * bz
    elif shape == PANEL:
        n[0] = s[4] * s[8] - s[5] * s[7]
        n[1] = s[5] * s[6] - s[3] * s[8]
        n[2] = s[3] * s[7] - s[4] * s[6]
    else:
        n[0], n[1], n[2] = s[3], s[4], s[5]
    size = math.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) + 1e-12
    n[0] /= size
    n[1] /= size
    n[2] /= size


@njit(**JIT)
def _lamp_light(lamps, px, py, pz, nx, ny, nz, veil, total):
    """Add the light of lamps on a surface point to total [4]; `veil` is the extinction of the air, 1/m."""
    for k in range(lamps.shape[0]):
        lamp = lamps[k]
        x, y, z = lamp[0] - px, lamp[1] - py, lamp[2] - pz
        dd = x * x + y * y + z * z
        if dd > lamp[11] * lamp[11]:
            continue
        away = math.sqrt(dd) + 1e-6
        cosine = (nx * x + ny * y + nz * z) / away
        if cosine <= 0.0:
            continue
        strength = cosine / (dd + 0.3) * (1.0 - dd / (lamp[11] * lamp[11]))
        outwards, downwards = lamp_pattern(lamp, x, y, z, away)
        if outwards <= 0.0:
            continue
        strength *= outwards
        strength *= downwards
        if veil > 0.0:
            strength *= math.exp(-veil * away)
        for c in range(4):
            total[c] += strength * lamp[3 + c]


@njit(**JIT)
def _lamp_gleam(lamps, px, py, pz, hx, hy, hz, nx, ny, nz, gloss, veil, seen):
    """Add what a wet surface mirrors of lamps to the mirrored radiance seen [4].

    Blinn's lobe (n + 2) / (2 pi) (n.h)^n about the half-way vector: it stretches reflections towards the viewer, as
    water on asphalt does. gloss: n.
    """
    facing = max(-(nx * hx + ny * hy + nz * hz), 0.03)
    for k in range(lamps.shape[0]):
        lamp = lamps[k]
        x, y, z = lamp[0] - px, lamp[1] - py, lamp[2] - pz
        dd = x * x + y * y + z * z
        away = math.sqrt(dd) + 1e-6
        if nx * x + ny * y + nz * z <= 0.0:
            continue
        ax, ay, az = x / away - hx, y / away - hy, z / away - hz
        half = math.sqrt(ax * ax + ay * ay + az * az) + 1e-9
        between = (nx * ax + ny * ay + nz * az) / half
        if between < 0.9:
            continue
        outwards, downwards = lamp_pattern(lamp, x, y, z, away)
        lobe = (gloss + 2.0) / (2.0 * math.pi) * between**gloss
        # A lamp's table has the radiance of white paper at 1 m, which is its irradiance over pi.
        strength = math.pi * lobe / (4.0 * facing) * outwards * downwards / (dd + 0.3) * math.exp(-veil * away)
        for c in range(4):
            seen[c] += strength * lamp[3 + c]


@njit(**JIT)
def shade(
    rotation, position, rotation_rate, position_rate, fx, fy, cx, cy, row0, row1,
    offsets, depths, instances, primitives,
    poses, rates, seeds, palettes, params, kind, data, planes,
    triangles, coordinates, labels, land, lines, zones, land_seed,
    light, lamps, basis, shadow_centre, shadow_spans, shadow_entries,
    occluder_centre, occluder_starts, occluder_entries, footprints,
    radiance, temperature, velocity,
):  # fmt: skip
    """Shade rows row0..row1. depths, instances, primitives [K, H, W]: sample 0 is the pixel's centre and gives
    temperature and velocity; radiance is the mean of samples 1.. (or of sample 0 alone), each distinct primitive of a
    pixel shaded once. offsets [K, 2]: places of the samples in the pixel."""
    samples, width = depths.shape[0], depths.shape[2]
    out = np.empty(SCRATCH)
    n = np.empty(3)
    total = np.empty(4)
    above = np.empty(5)
    colours = np.empty((samples, 4))
    weight = 1.0 / max(1, samples - 1)
    sunny = light[SUNLIGHT] + light[SUNLIGHT + 1] > 1e-6
    dark, wet = light[DARK], light[WET]
    veiled, rainy = light[VEIL_HEIGHT] > 0.0, light[RAIN] > 0.0
    for v in range(row0, row1):
        for u in range(width):
            for c in range(4):
                radiance[v, u, c] = 0.0
            for k in range(samples):
                index, primitive, t = instances[k, v, u], primitives[k, v, u], depths[k, v, u]
                same = -1
                for j in range(k):
                    # Whatever several rays of a pixel hit is shaded once.
                    if instances[j, v, u] == index and primitives[j, v, u] == primitive:
                        same = j
                        break
                if same >= 0:
                    for c in range(4):
                        colours[k, c] = colours[same, c]
                        radiance[v, u, c] += weight * colours[k, c]
                    continue
                du, dv = offsets[k, 0], offsets[k, 1]
                ex, ey = (u + du - cx) / fx, (v + dv - cy) / fy
                dx = rotation[0, 0] * ex + rotation[0, 1] * ey + rotation[0, 2]
                dy = rotation[1, 0] * ex + rotation[1, 1] * ey + rotation[1, 2]
                dz = rotation[2, 0] * ex + rotation[2, 1] * ey + rotation[2, 2]
                length = math.sqrt(ex * ex + ey * ey + 1.0)
                hx, hy, hz = dx / length, dy / length, dz / length
                vx = vy = vz = 0.0  # velocity of the surface point
                kelvin = 0.0
                if index == SKY:
                    sky(hx, hy, hz, light, above)
                    for c in range(4):
                        colours[k, c] = above[c]
                    kelvin = above[4]
                    t = 1.0
                    if veiled:
                        through = light[VEIL_HEIGHT] / max(hz, 0.01)
                        kelvin = light[AIR] + (kelvin - light[AIR]) * math.exp(-light[THERMAL_VEIL] * through)
                        for c in range(4):
                            haze = math.exp(-light[VEIL + c] * through)
                            colours[k, c] = above[c] * haze + light[AIRLIGHT + c] * (1.0 - haze)
                else:
                    px, py, pz = position[0] + t * dx, position[1] + t * dy, position[2] + t * dz
                    occlusion = 1.0
                    bias = 0.015
                    material = 0
                    footprint = t / fx
                    if index < 0:
                        n[0], n[1], n[2] = 0.0, 0.0, 1.0
                        if index == GROUND:
                            tri = triangles[primitive]
                            ax, ay, az = tri[1, 0] - tri[0, 0], tri[1, 1] - tri[0, 1], tri[1, 2] - tri[0, 2]
                            bx, by, bz = tri[2, 0] - tri[0, 0], tri[2, 1] - tri[0, 1], tri[2, 2] - tri[0, 2]
                            n[0], n[1], n[2] = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
                            nn = n[0] * n[0] + n[1] * n[1] + n[2] * n[2]
                            qx, qy, qz = px - tri[0, 0], py - tri[0, 1], pz - tri[0, 2]
                            # Barycentric weights of the second and third corner.
                            w2 = (
                                n[0] * (ay * qz - az * qy) + n[1] * (az * qx - ax * qz) + n[2] * (ax * qy - ay * qx)
                            ) / nn
                            w1 = (
                                n[0] * (qy * bz - qz * by) + n[1] * (qz * bx - qx * bz) + n[2] * (qx * by - qy * bx)
                            ) / nn
                            size = math.sqrt(nn) * (1.0 if n[2] > 0.0 else -1.0)
                            n[0] /= size
                            n[1] /= size
                            n[2] /= size
                            w0 = 1.0 - w1 - w2
                            sd = coordinates[primitive]
                            gs = w0 * sd[0, 0] + w1 * sd[1, 0] + w2 * sd[2, 0]
                            gd = w0 * sd[0, 1] + w1 * sd[1, 1] + w2 * sd[2, 1]
                            material = labels[primitive, 0]
                        else:
                            gs, gd, material = px, py, GRASS
                        facing = abs(n[0] * hx + n[1] * hy + n[2] * hz)
                        ground(
                            material, gs, gd, land, lines, zones, footprint, 1.0 / max(facing, 0.01), land_seed,
                            wet if material != GRASS and material != FIELD else 0.0, out,
                        )  # fmt: skip
                        n[0] += out[BUMP]
                        n[1] += out[BUMP + 1]
                        size = math.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
                        n[0] /= size
                        n[1] /= size
                        n[2] /= size
                        if t < 120.0:
                            occlusion = ground_occlusion(
                                px, py, occluder_centre, occluder_starts, occluder_entries, poses, footprints
                            )
                        material = -1
                    else:
                        pose = poses[index]
                        qx, qy, qz = px - pose[0, 3], py - pose[1, 3], pz - pose[2, 3]
                        x = pose[0, 0] * qx + pose[1, 0] * qy + pose[2, 0] * qz
                        y = pose[0, 1] * qx + pose[1, 1] * qy + pose[2, 1] * qz
                        z = pose[0, 2] * qx + pose[1, 2] * qy + pose[2, 2] * qz
                        rate = rates[index]
                        vx = rate[0, 0] * x + rate[0, 1] * y + rate[0, 2] * z + rate[0, 3]
                        vy = rate[1, 0] * x + rate[1, 1] * y + rate[1, 2] * z + rate[1, 3]
                        vz = rate[2, 0] * x + rate[2, 1] * y + rate[2, 2] * z + rate[2, 3]
                        row = data[primitive]
                        _normal(kind[primitive, 0], kind[primitive, 3], row, planes[primitive], x, y, z, n)
                        lx = pose[0, 0] * hx + pose[1, 0] * hy + pose[2, 0] * hz
                        ly = pose[0, 1] * hx + pose[1, 1] * hy + pose[2, 1] * hz
                        lz = pose[0, 2] * hx + pose[1, 2] * hy + pose[2, 2] * hz
                        facing = n[0] * lx + n[1] * ly + n[2] * lz
                        material = kind[primitive, 1]
                        if facing > 0.0 and material != LEAF:
                            n[0], n[1], n[2] = -n[0], -n[1], -n[2]
                        footprint *= math.sqrt(1.0 / max(0.08, abs(facing)))
                        surface(
                            material, kind[primitive, 2], row, x, y, z, n[0], n[1], n[2],
                            palettes[index], params[index], seeds[index], footprint, dark, out,
                        )  # fmt: skip
                        mx, my, mz = n[0] + out[BUMP], n[1] + out[BUMP + 1], n[2] + out[BUMP + 2]
                        size = math.sqrt(mx * mx + my * my + mz * mz) + 1e-9
                        mx, my, mz = mx / size, my / size, mz / size
                        n[0] = pose[0, 0] * mx + pose[0, 1] * my + pose[0, 2] * mz
                        n[1] = pose[1, 0] * mx + pose[1, 1] * my + pose[1, 2] * mz
                        n[2] = pose[2, 0] * mx + pose[2, 1] * my + pose[2, 2] * mz
                        if material == LEAF:
                            bias = 0.12
                            # Deep in a crown and low in it little sky is seen.
                            occlusion = 0.18 + 0.82 * smoothstep(-0.5, 0.9, n[2])
                        else:
                            occlusion = 0.65 + 0.35 * smoothstep(0.0, 1.0, z)
                    sun_cosine = n[0] * basis[2, 0] + n[1] * basis[2, 1] + n[2] * basis[2, 2]
                    if out[THROUGH] > 0.0:
                        sun_cosine = max(sun_cosine, 0.0) * (1.0 - out[THROUGH]) + out[THROUGH] * 0.6
                    lit = 0.0
                    if sunny and sun_cosine > 0.0:
                        lift = bias + 0.001 * t
                        lit = 1.0
                        if t < 180.0 and in_shadow(
                            px + lift * n[0], py + lift * n[1], pz + lift * n[2],
                            basis, shadow_centre, shadow_spans, shadow_entries,
                            poses, seeds, kind, data, planes, bias,
                        ):  # fmt: skip
                            lit = 0.0
                        lit *= sun_cosine
                    half_up = 0.5 + 0.5 * n[2]
                    for c in range(4):
                        total[c] = lit * light[SUNLIGHT + c] + occlusion * (
                            half_up * light[AMBIENT + c] + (1.0 - half_up) * light[BOUNCE + c]
                        )
                    if dark > 0.0:
                        _lamp_light(lamps, px, py, pz, n[0], n[1], n[2], light[VEIL], total)
                    mirror = out[MIRROR]
                    reflect = 0.0
                    if mirror > 0.0:
                        cosine = max(0.0, -(n[0] * hx + n[1] * hy + n[2] * hz))
                        grazing = (1.0 - cosine) ** 5
                        reflect = mirror + (min(0.9, 1.0 - 0.7 * out[ROUGH]) - mirror) * grazing * (
                            1.0 - 0.8 * out[ROUGH]
                        )
                        reflect = max(reflect, 0.0)
                        rx, ry, rz = hx + 2.0 * cosine * n[0], hy + 2.0 * cosine * n[1], hz + 2.0 * cosine * n[2]
                        # What stands around hides the sky near the horizon.
                        open_sky = smoothstep(-0.02, 0.45 + 0.3 * out[ROUGH], rz)
                        sky(rx, ry, max(rz, 0.02), light, above)
                        around = 0.0
                        for c in range(4):
                            around = 0.35 * light[AMBIENT + c] + 0.3 * light[BOUNCE + c]
                            above[c] = around + (min(above[c], 6.0) - around) * open_sky
                        if lit > 0.0 and (material in (CAR_BODY, CAR_CABIN)):
                            towards = rx * basis[2, 0] + ry * basis[2, 1] + rz * basis[2, 2]
                            if towards > 0.8:
                                shine = 12.0 * smoothstep(0.985, 0.999, towards) + 0.5 * towards**20
                                for c in range(4):
                                    above[c] += shine * light[SUNLIGHT + c]
                        if rainy and dark > 0.0 and index < 0:
                            gloss = 30.0 + 370.0 * (1.0 - min(4.0 * out[ROUGH], 1.0))
                            _lamp_gleam(
                                lamps, px, py, pz, hx, hy, hz, n[0], n[1], n[2], gloss, light[VEIL], above
                            )  # fmt: skip
                    haze = math.exp(-light[HAZE] * t * length)
                    shine = 0.0
                    for c in range(4):
                        shine = out[ALBEDO + c] * total[c] * (1.0 - reflect) + out[EMIT + c]
                        if reflect > 0.0:
                            shine += reflect * above[c]
                        if veiled:
                            haze = math.exp(-light[VEIL + c] * t * length)
                        colours[k, c] = shine * haze + light[AIRLIGHT + c] * (1.0 - haze)
                    absorbed = 1.0 - 0.25 * (out[0] + out[1] + out[2] + out[3])
                    share = 0.15 if material == LEAF else 1.0
                    kelvin = (
                        light[AIR]
                        + out[WARM]
                        + light[HEATING] * absorbed * share * (0.25 + 0.75 * lit + 0.3 * max(n[2], 0.0))
                    )
                    if reflect > 0.02:
                        kelvin += min(0.5, reflect) * (above[4] - kelvin) * max(0.0, n[2] + 0.4) * 0.7
                    if veiled:
                        # The air glows at its own temperature as much as it takes away.
                        kelvin = light[AIR] + (kelvin - light[AIR]) * math.exp(-light[THERMAL_VEIL] * t * length)
                if k == 0:
                    temperature[v, u] = kelvin
                    # Towards the point in the camera's frame, and how that changes. The sky has direction only.
                    near = 0.0 if index == SKY else 1.0
                    gx, gy, gz = t * dx, t * dy, t * dz
                    wx = near * (vx - position_rate[0])
                    wy = near * (vy - position_rate[1])
                    wz = near * (vz - position_rate[2])
                    qx = rotation_rate[0, 0] * gx + rotation_rate[1, 0] * gy + rotation_rate[2, 0] * gz
                    qx += rotation[0, 0] * wx + rotation[1, 0] * wy + rotation[2, 0] * wz
                    qy = rotation_rate[0, 1] * gx + rotation_rate[1, 1] * gy + rotation_rate[2, 1] * gz
                    qy += rotation[0, 1] * wx + rotation[1, 1] * wy + rotation[2, 1] * wz
                    qz = rotation_rate[0, 2] * gx + rotation_rate[1, 2] * gy + rotation_rate[2, 2] * gz
                    qz += rotation[0, 2] * wx + rotation[1, 2] * wy + rotation[2, 2] * wz
                    velocity[v, u, 0] = fx * (qx - ex * qz) / t
                    velocity[v, u, 1] = fy * (qy - ey * qz) / t
                    if samples == 1:
                        for c in range(4):
                            radiance[v, u, c] = colours[0, c]
                else:
                    for c in range(4):
                        radiance[v, u, c] += weight * colours[k, c]
