"""What surfaces look like: procedural textures evaluated at the point a ray hits, compiled.

A texture works in the frame of its model and fades its detail with the pixel's footprint, so it neither swims nor
aliases. Everything is written into one scratch row: see the offsets below.
"""

from __future__ import annotations

import math

from numba import njit

from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.noise import grain, hash_unit, noise2, noise3, smoothstep
from spike_depth_core.world.primitives import BEVEL, EXTRA, HIGH, LOW, SHAPE, WARMTH
from spike_depth_core.world.surfaces import (
    ASPHALT,
    BARK,
    BUS,
    CAR_BODY,
    CAR_CABIN,
    CARGO,
    CLOTH,
    COBBLES,
    CONCRETE,
    FACADE,
    FIELD,
    GLASS,
    GRASS,
    GRAVEL,
    HILL,
    KERB,
    LAMP,
    LEAF,
    MASONRY,
    METAL,
    ROOF,
    SIGN,
    SKIN,
    SLABS,
    WHEEL,
    WOOD,
)

# Offsets in the scratch row: albedo [4], mirror reflectance at normal incidence, roughness, emission [4], warmth (K),
# normal disturbance [3] in the model's frame, light let through from behind.
ALBEDO, MIRROR, ROUGH, EMIT, WARM, BUMP, THROUGH = 0, 4, 5, 6, 10, 11, 14
SCRATCH = 15


@njit(**JIT)
def _tint(out, rgbn, factor):
    for c in range(4):
        out[c] = rgbn[c] * factor


@njit(**JIT)
def _mix(out, rgbn, amount):
    for c in range(4):
        out[c] += (rgbn[c] - out[c]) * amount


@njit(**JIT)
def _grey(out, value, amount):
    for c in range(4):
        out[c] += (value - out[c]) * amount


@njit(**JIT)
def _line(x, pitch, width, footprint):
    """Coverage (0..1) of lines of a width at multiples of the pitch, averaged over the footprint."""
    half = 0.5 * max(width, footprint)
    x = abs(x - pitch * math.floor(x / pitch + 0.5))
    soft = 0.5 * footprint + 1e-4
    cover = min(1.0, max(0.0, (half - x) / soft + 0.5))
    return cover * min(1.0, width / (footprint + 1e-6))


@njit(**JIT)
def _blocks(out, u, v, wide, high, joint, spread, footprint, seed, mortar):
    """Courses of blocks or bricks in running bond: each block its own brightness, joints between."""
    row = math.floor(v / high)
    shift = 0.5 * (row - 2.0 * math.floor(row / 2.0))
    column = math.floor(u / wide + shift)
    fade = min(1.0, max(0.0, 2.0 - 2.0 * footprint / high))
    if fade > 0.0:
        factor = 1.0 + spread * fade * (2.0 * hash_unit(int(column), int(row), 5, seed) - 1.0)
        for c in range(4):
            out[c] *= factor
        lines = max(_line(v, high, joint, footprint), _line(u + shift * wide, wide, joint, footprint))
        _grey(out, mortar, lines * fade)


@njit(**JIT)
def _wall(style, out, u, v, footprint, seed, palette):
    """A wall without openings: 0 plaster, 1 brick, 2 planks, 3 panels, 4 tiles."""
    _tint(out, palette[0], 1.0)
    if style == 1:
        _blocks(out, u, v, 0.25, 0.083, 0.014, 0.3, footprint, seed, 0.75 * palette[0, 1] + 0.06)
    elif style == 2:
        board = math.floor(v / 0.17)
        fade = min(1.0, max(0.0, 2.0 - 2.0 * footprint / 0.17))
        factor = 1.0 + fade * 0.18 * (2.0 * hash_unit(int(board), 0, 9, seed) - 1.0)
        factor *= 1.0 - 0.45 * _line(v, 0.17, 0.018, footprint)
        factor *= 1.0 + 0.12 * grain(u, v * 8.0, 0.6, 2, footprint, seed)
        _tint(out, palette[0], factor)
    elif style == 3:
        _blocks(out, u, v, 1.2 + 0.9 * hash_unit(1, 2, 3, seed), 0.9, 0.022, 0.08, footprint, seed, 0.4 * palette[0, 1])
    elif style == 4:
        size = 0.12 + 0.25 * hash_unit(4, 5, 6, seed)
        _blocks(out, u, v, size, size, 0.012, 0.45, footprint, seed, 0.6 * palette[0, 1])
    else:
        _tint(out, palette[0], 1.0 + 0.07 * grain(u, v, 0.09, 3, footprint, seed + 3))
    # Weather: streaks from above, dirt at the foot.
    stain = 0.16 * (noise2(u * 0.9, v * 0.22, seed + 11) - 0.5) + 0.12 * grain(u, v, 0.8, 3, footprint, seed + 13)
    for c in range(4):
        out[c] *= 1.0 + stain


@njit(**JIT)
def _facade(row, x, y, z, nx, ny, nz, palette, par, footprint, seed, dark, out):
    low_z = -row[EXTRA] if row[EXTRA] < 0.0 else 0.0
    if abs(nz) > 0.7:
        _tint(out, palette[5], 0.8)
        return
    if abs(nx) > abs(ny):
        u, start, end = y, row[LOW + 1], row[HIGH + 1]
        side = 1 if nx > 0.0 else 2
    else:
        u, start, end = x, row[LOW], row[HIGH]
        side = 3 if ny > 0.0 else 4
    seed = seed * 31 + side
    top = row[HIGH + 2]
    v = z - low_z
    storey = par[0]
    _wall(int(par[4]), out, u, z, footprint, seed, palette)
    _grey(out, 0.05, 0.5 * (1.0 - smoothstep(0.0, 0.5, z)) * (0.4 + 0.6 * noise2(u * 2.0, z * 2.0, seed + 2)))
    for c in range(4):
        # Under the eaves little sky is seen.
        out[c] *= 0.72 + 0.28 * smoothstep(0.0, 0.9, top - z)
    span = end - start
    level = math.floor(v / storey)
    inside = v - level * storey
    if par[9] > 0.5 and level > 0:
        _mix(out, palette[1], 0.8 * _line(v, storey, 0.16, footprint))
    # Walls without windows.
    if par[12] > 1.5 or (par[12] > 0.5 and side < 3):
        return
    if level * storey + storey > top - low_z + 0.25 or v < 0.0:
        return
    count = max(1.0, math.floor(span / par[1]))
    pitch = span / count
    column = math.floor((u - start) / pitch)
    across = (u - start) - (column + 0.5) * pitch
    wide, high = par[2] * pitch * 0.5, par[3] * storey
    sill = 0.28 * storey
    ground = int(par[5])
    is_door = False
    draw = hash_unit(int(column), int(level), 21, seed)
    if level == 0.0 and low_z == 0.0:
        if ground == 1 and side == 4:
            wide, high, sill = 0.44 * pitch, 0.62 * storey, 0.16 * storey
            if z > 0.8 * storey:
                # Sign band over the shop windows, with letters.
                _mix(out, palette[4], 0.95)
                letter = noise2(u * 3.0, z * 3.0, seed + 40)
                if 0.84 * storey < z < 0.94 * storey and letter > 0.55:
                    _grey(out, 0.8 - out[1], 0.8)
                if dark > 0.3:
                    for c in range(4):
                        out[EMIT + c] = 0.05 * dark * out[c]
                return
        elif (ground == 2 and draw < 0.6) or draw < 0.14:
            is_door = True
            wide = min(0.42 * pitch, 1.3 if ground == 2 else 0.55)
            high, sill = min(0.82 * storey, 2.3), 0.0
    elif draw < 0.07:
        return
    du, dz = abs(across), inside - sill
    frame = 0.09
    if du > wide + frame or dz < -frame or dz > high + frame:
        if par[8] > 0.5 and not is_door and du < wide + 0.5 and du > wide + frame and 0.0 < dz < high and level > 0:
            _mix(out, palette[3], 1.0 - 0.4 * _line(dz, 0.12, 0.05, footprint))
        elif dz < -frame and dz > -frame - 0.6 and du < wide:
            _grey(out, 0.05, 0.2 * (1.0 + dz + frame) * noise2(u * 6.0, 1.0, seed))
        return
    if du > wide or dz < 0.0 or dz > high:
        _mix(out, palette[1], 1.0)
        if dz > high:
            for c in range(4):
                out[c] *= 0.6
        return
    if is_door:
        _tint(out, palette[3], 0.9 - 0.3 * _line(dz, 0.5, 0.05, footprint) - 0.3 * _line(across, 0.6, 0.04, footprint))
        return
    panes = par[7]
    bars = 0.0
    if panes > 1.0:
        bars = _line(across, 2.0 * wide / panes, 0.06, footprint)
    if panes > 2.0:
        bars = max(bars, _line(dz - 0.68 * high, 5.0, 0.07, footprint))
    # Behind glass: a dark room, curtains at the sides, or a blind let down part of the way.
    room = 0.02 + 0.05 * hash_unit(int(column), int(level), 22, seed)
    _tint(out, palette[1], 0.0)
    _grey(out, room, 1.0)
    curtain = par[10]
    edge = 0.4 + 0.6 * hash_unit(int(column), int(level), 23, seed)
    if draw < 0.55 and du > wide * edge:
        _grey(out, curtain * (0.5 + 0.2 * math.sin(u * 40.0) * min(1.0, 0.05 / footprint)), 0.8)
    elif draw > 0.8 and dz > high * edge:
        _grey(out, curtain * (0.8 - 0.2 * _line(dz, 0.07, 0.02, footprint)), 0.9)
    out[MIRROR], out[ROUGH] = 0.09, 0.0
    if dz > high - 0.1 or du > wide - 0.05:
        for c in range(4):
            out[c] *= 0.35
        out[MIRROR] = 0.02
    if dark > 0.0 and hash_unit(int(column), int(level), 24, seed + side) < par[6] * dark:
        warm = 0.02 + 0.06 * hash_unit(int(column), int(level), 25, seed)
        shade = warm * (0.5 + 0.5 * noise2(u * 2.5, z * 2.5, seed + 5))
        out[EMIT], out[EMIT + 1], out[EMIT + 2], out[EMIT + 3] = shade * 1.25, shade, shade * 0.65, shade * 0.6
    if bars > 0.0:
        _mix(out, palette[1], bars)
        out[MIRROR] *= 1.0 - bars
        for c in range(4):
            out[EMIT + c] *= 1.0 - bars
    out[WARM] = 1.5


@njit(**JIT)
def _car_body(row, x, y, z, nx, ny, nz, palette, footprint, seed, dark, out):
    _tint(out, palette[0], 1.0)
    out[MIRROR], out[ROUGH] = 0.05, 0.08
    low_x, high_x, half = row[LOW], row[HIGH], row[HIGH + 1]
    low_z, high_z = row[LOW + 2], row[HIGH + 2]
    h = min(1.2, high_z - low_z)
    rel = (z - low_z) / h
    away = min(1.0, max(0.0, 1.5 - footprint / 0.06))
    base = row[EXTRA] * 0.5
    if abs(ny) > 0.6 and base > 0.0:
        radius = 0.39
        for wheel in (-base, base):
            r = math.hypot(x - wheel, z - radius + 0.06)
            if r < radius:
                _grey(out, 0.008, 1.0)
                out[MIRROR] = 0.0
        seam = max(_line(x - 0.3, 1.15, 0.02, footprint) if abs(x + 0.28) < 1.3 else 0.0, 0.0)
        _grey(out, 0.01, 0.8 * seam * away)
        if abs(z - 0.82 * high_z) < 0.03 and (abs(x + 0.02) < 0.1 or abs(x + 1.1) < 0.1):
            _grey(out, 0.03, 0.7 * away)
        if 0.45 < rel < 0.5:
            _tint(out, palette[0], 0.75)
    if rel < 0.14:
        _grey(out, 0.02, 0.9)
        out[MIRROR] = 0.02
    if x > high_x - 0.3 and nx > 0.25:
        if abs(y) > 0.52 * half and 0.5 < rel < 0.74 and abs(y) < 0.95 * half:
            _grey(out, 0.5, 0.8)
            out[MIRROR] = 0.12
            if dark > 0.1:
                for c in range(4):
                    out[EMIT + c] = 3.0 * dark
        elif abs(y) < 0.45 * half and 0.46 < rel < 0.68:
            _grey(out, 0.015, 0.9 * (0.6 + 0.4 * _line(z, 0.06, 0.03, footprint)))
        elif abs(y) < 0.26 and 0.26 < rel < 0.4:
            _grey(out, 0.7, 0.9)
            out[MIRROR] = 0.0
        elif 0.15 < rel < 0.3 and abs(y) < 0.75 * half:
            _grey(out, 0.02, 0.8)
    elif x < low_x + 0.3 and nx < -0.25:
        if abs(y) > 0.62 * half and 0.52 < rel < 0.85:
            out[0], out[1], out[2], out[3] = 0.28, 0.012, 0.01, 0.3
            out[MIRROR] = 0.08
            if dark > 0.1:
                out[EMIT], out[EMIT + 1], out[EMIT + 2], out[EMIT + 3] = (
                    0.5 * dark,
                    0.03 * dark,
                    0.02 * dark,
                    0.3 * dark,
                )
        elif abs(y) < 0.27 and 0.4 < rel < 0.54:
            _grey(out, 0.7, 0.9)
            out[MIRROR] = 0.0
        elif rel < 0.3:
            _grey(out, 0.025, 0.85)
    # The bonnet is warm where the engine is.
    if x > high_x - 1.3 and nz > 0.4:
        out[WARM] += 6.0
    dirt = 0.25 * (1.0 - smoothstep(0.1, 0.55, rel)) * noise2(x * 3.0 + y, z * 4.0, seed)
    _grey(out, 0.12, dirt)
    for c in range(4):
        out[c] *= 0.55 + 0.45 * smoothstep(-0.1, 0.6, rel)


@njit(**JIT)
def _car_cabin(row, x, y, z, nx, ny, nz, palette, out):
    low_x, high_x, half = row[LOW], row[HIGH], row[HIGH + 1]
    rel = (z - row[LOW + 2]) / (row[HIGH + 2] - row[LOW + 2])
    _tint(out, palette[0], 1.0)
    out[MIRROR], out[ROUGH] = 0.05, 0.08
    if nz > 0.9:
        return
    along = (x - low_x) / (high_x - low_x)
    glass = False
    lean = 1.0 - 0.3 * rel
    if abs(ny) > abs(nx):
        glass = 0.08 < rel < 0.84 and abs(along - 0.5) > 0.022 and abs(along - 0.17) > 0.02 and 0.09 < along < 0.97
    else:
        glass = 0.06 < rel < 0.92 and abs(y) < (half - 0.1) * lean
    if glass:
        _grey(out, 0.012 + 0.03 * (rel < 0.35), 1.0)
        out[MIRROR], out[ROUGH], out[WARM] = 0.1, 0.0, 2.0


@njit(**JIT)
def _bus(row, x, y, z, nx, ny, nz, palette, footprint, seed, dark, out):
    _tint(out, palette[0], 1.0)
    out[MIRROR], out[ROUGH] = 0.05, 0.1
    height = row[HIGH + 2]
    rel = z / height
    half = row[HIGH + 1]
    if abs(nz) > 0.8:
        return
    glass = False
    if abs(ny) > 0.6:
        glass = 0.42 < rel < 0.8 and _line(x, 1.45, 0.12, footprint) < 0.5
        if rel < 0.2:
            _mix(out, palette[2], 0.9)
        elif 0.2 < rel < 0.36 and noise2(x * 0.7, rel * 4.0, seed) > 0.6:
            _mix(out, palette[3], 0.8)
    else:
        glass = 0.4 < rel < 0.86 and abs(y) < half - 0.15
        if rel < 0.3 and abs(y) > 0.6 * half and rel > 0.16:
            if nx > 0.0:
                _grey(out, 0.5, 0.8)
                for c in range(4):
                    out[EMIT + c] = 2.5 * dark
            else:
                out[0], out[1], out[2] = 0.3, 0.01, 0.01
                out[EMIT] = 0.5 * dark
                out[EMIT + 1] = 0.03 * dark
        elif rel < 0.17:
            _grey(out, 0.03, 0.9)
        elif nx < 0.0 and 0.2 < rel < 0.4 and abs(y) < 0.5 * half:
            _grey(out, 0.04, 0.4 + 0.4 * _line(z, 0.08, 0.04, footprint))
            out[WARM] += 12.0
        elif 0.86 < rel < 0.95 and abs(y) < 0.6 * half:
            _grey(out, 0.01, 1.0)
            if noise2(y * 5.0, 1.0, seed) > 0.5:
                out[EMIT], out[EMIT + 1] = 0.12 + 0.3 * (1.0 - dark) * 0.5, 0.07
    if glass:
        _grey(out, 0.015 + 0.03 * noise2(x * 1.3, z * 1.3, seed + 1), 1.0)
        out[MIRROR], out[ROUGH] = 0.1, 0.0
        if dark > 0.2:
            for c in range(4):
                out[EMIT + c] = 0.03 * dark * (0.5 + noise2(x, 2.0, seed))


@njit(**JIT)
def surface(material, slot, row, x, y, z, nx, ny, nz, palette, par, seed, footprint, dark, out):
    """Write the look of a primitive's point (x, y, z), normal (nx, ny, nz), model frame, into the scratch row."""
    _tint(out, palette[slot], 1.0)
    for c in range(4):
        out[EMIT + c] = 0.0
        if c < 3:
            out[BUMP + c] = 0.0
    out[MIRROR], out[ROUGH], out[WARM], out[THROUGH] = 0.0, 0.5, row[WARMTH], 0.0
    if material == LEAF:
        size = 0.09
        while size < 0.8 * footprint:
            size *= 2.0
        i, j, k = math.floor(x / size), math.floor(y / size), math.floor(z / size)
        r = hash_unit(i, j, k, seed)
        q = noise3(x * 0.9, y * 0.9, z * 0.9, seed + 3)
        factor = (0.25 + 1.35 * r * r) * (0.55 + 0.8 * q)
        for c in range(4):
            out[c] *= factor
        out[0] *= 0.8 + 0.5 * q
        out[BUMP] = 1.5 * (hash_unit(i, j, k, seed + 1) - 0.5)
        out[BUMP + 1] = 1.5 * (hash_unit(i, j, k, seed + 2) - 0.5)
        out[BUMP + 2] = 1.5 * (hash_unit(i, j, k, seed + 4) - 0.5)
        out[THROUGH] = 0.35
        out[WARM] = -0.8 + 0.8 * r
    elif material == FACADE:
        _facade(row, x, y, z, nx, ny, nz, palette, par, footprint, seed, dark, out)
    elif material == CAR_BODY:
        _car_body(row, x, y, z, nx, ny, nz, palette, footprint, seed, dark, out)
    elif material == CAR_CABIN:
        _car_cabin(row, x, y, z, nx, ny, nz, palette, out)
    elif material == BUS:
        _bus(row, x, y, z, nx, ny, nz, palette, footprint, seed, dark, out)
    elif material == GLASS:
        _grey(out, 0.02, 0.9)
        out[MIRROR], out[ROUGH] = 0.1, 0.0
    elif material == WHEEL:
        s = SHAPE
        dx, dz = x - row[s], z - row[s + 2]
        radius = row[s + 6]
        r = math.hypot(dx, dz) / radius
        _grey(out, 0.015, 1.0)
        if abs(ny) > 0.7 and r < 0.66:
            spoke = math.sin(5.0 * math.atan2(dz, dx) + seed) > -0.3
            _grey(out, 0.35 if spoke or r < 0.2 or r > 0.58 else 0.02, 0.9)
            out[MIRROR], out[ROUGH] = 0.1, 0.3
        out[3] *= 1.2
    elif material == ROOF:
        # Rows of tiles across the fall of the roof.
        u, v = (x, y) if abs(ny) > abs(nx) else (y, x)
        v = math.hypot(v, z)
        if nz < 0.1:
            _tint(out, palette[1], 0.7)
        else:
            _blocks(out, u, v, 0.3, 0.33, 0.03, 0.22, footprint, seed, 0.5 * palette[slot, 1])
            factor = 1.0 + 0.25 * grain(x + y, z, 1.6, 4, footprint, seed + 1)
            for c in range(4):
                out[c] *= factor
    elif material == BARK:
        factor = 1.0 + 0.5 * grain(math.atan2(y, x) * 0.4, z * 0.3, 0.08, 3, footprint, seed)
        factor *= 0.8 + 0.4 * noise3(2.0 * x, 2.0 * y, 1.2 * z, seed)
        for c in range(4):
            out[c] *= max(0.2, factor)
    elif material == METAL:
        factor = 1.0 + 0.15 * grain(x + y, z, 0.3, 3, footprint, seed)
        for c in range(4):
            out[c] *= factor
        out[MIRROR], out[ROUGH], out[WARM] = 0.12, 0.5, row[WARMTH] - 1.5
    elif material == SIGN:
        kind = row[EXTRA]
        cy, cz = 0.5 * (row[LOW + 1] + row[HIGH + 1]), 0.5 * (row[LOW + 2] + row[HIGH + 2])
        hy, hz = 0.5 * (row[HIGH + 1] - row[LOW + 1]) + 1e-6, 0.5 * (row[HIGH + 2] - row[LOW + 2]) + 1e-6
        u, v = (y - cy) / hy, (z - cz) / hz
        if kind == 5.0:
            band = math.floor(z / 0.14)
            if band - 2.0 * math.floor(band / 2.0) > 0.5:
                _grey(out, 0.75, 1.0)
        elif kind == 4.0:
            band = math.floor((y + z) / 0.25)
            if band - 2.0 * math.floor(band / 2.0) > 0.5:
                _grey(out, 0.75, 1.0)
        elif nx > 0.5 and kind < 3.0:
            _grey(out, 0.3, 1.0)
        else:
            rim = math.hypot(u, v) > 0.78 if kind == 1.0 else max(abs(u), abs(v)) > 0.9
            if kind == 2.0:
                rim = abs(u) > 0.62 * (1.0 - v) * 0.62 or v < -0.8
            if rim:
                _tint(out, palette[2], 1.0)
            elif noise2(u * 2.6 + 7.0, v * 2.6, seed) > 0.56 or (
                kind == 3.0 and abs(v) < 0.6 and noise2(u * 9.0, math.floor(v * 4.0), seed) > 0.55
            ):
                _tint(out, palette[3], 1.0)
        if dark > 0.0:
            # Retro-reflective sheet: brighter in lamp light than its albedo.
            for c in range(4):
                out[EMIT + c] = 0.02 * dark * out[c]
    elif material == CLOTH:
        factor = 0.85 + 0.3 * noise3(9.0 * x, 9.0 * y, 5.0 * z, seed)
        for c in range(4):
            out[c] *= factor
    elif material == SKIN:
        out[MIRROR] = 0.02
    elif material == LAMP:
        on = 1.0 if row[EXTRA] > 0.5 else dark
        for c in range(4):
            out[EMIT + c] = palette[slot, c] * on * (1.0 if row[EXTRA] < 0.5 else 0.5)
            out[c] = 0.4
    elif material == MASONRY:
        u = x if abs(ny) > abs(nx) else y
        v = y if abs(nz) > 0.7 else z
        style = seed % 4
        if style == 0 or style == 1:
            _blocks(out, u, v, 0.25 + 0.3 * style, 0.083 + 0.18 * style, 0.015, 0.3, footprint, seed, 0.7 * out[1])
        factor = 1.0 + 0.2 * grain(u, v, 1.1, 5, footprint, seed + 1)
        factor *= 0.75 + 0.25 * smoothstep(0.0, 0.4, z)
        for c in range(4):
            out[c] *= factor
    elif material == WOOD:
        u = x if abs(ny) > abs(nx) else y
        board = math.floor(u / 0.14)
        factor = 1.0 + 0.3 * (hash_unit(int(board), 1, 2, seed) - 0.5) * min(1.0, 0.2 / (footprint + 0.01))
        factor *= 1.0 + 0.2 * grain(u * 6.0, z, 0.4, 3, footprint, seed)
        factor *= 1.0 - 0.5 * _line(u, 0.14, 0.012, footprint)
        for c in range(4):
            out[c] *= factor
    elif material == CARGO:
        out[MIRROR], out[ROUGH] = 0.03, 0.3
        rib = _line(x if abs(ny) > 0.5 else y, 0.45, 0.03, footprint)
        u, v = (x, z) if abs(ny) > 0.5 else (y, z)
        if row[EXTRA] > 0.55 and noise2(u * 0.45, v * 0.8, seed) > 0.58:
            _tint(out, palette[3], 1.0)
        elif (
            row[EXTRA] > 0.3
            and abs(v - 0.5 * (row[LOW + 2] + row[HIGH + 2])) < 0.3
            and noise2(u * 1.8, 3.0, seed) > 0.45
        ):
            _tint(out, palette[4], 1.0)
        if row[EXTRA] < 0.45:
            for c in range(4):
                out[c] *= 1.0 - 0.3 * rib
        if nx < -0.5:
            _grey(out, 0.03, 0.8 * _line(y, 1.15, 0.03, footprint))
            if dark > 0.1 and v < row[LOW + 2] + 0.12 and abs(abs(y) - 1.0) < 0.15:
                out[EMIT] = 0.4 * dark
        factor = 1.0 + 0.15 * grain(u, v, 1.3, 4, footprint, seed)
        for c in range(4):
            out[c] *= factor
    elif material == HILL:
        factor = 0.8 + 0.5 * noise2(x * 0.02, y * 0.02, seed) + 0.5 * (noise3(x * 0.09, y * 0.09, z * 0.2, seed) - 0.5)
        for c in range(4):
            out[c] *= factor
    else:
        factor = 1.0 + 0.08 * grain(x + y, z, 0.5, 3, footprint, seed)
        for c in range(4):
            out[c] *= factor
        if row[BEVEL] > 0.0:
            out[MIRROR] = 0.03


@njit(**JIT)
def _speckle(out, amount):
    for c in range(4):
        out[c] *= max(0.15, 1.0 + amount)


@njit(**JIT)
def ground(material, s, d, palette, lines, zones, footprint, aspect, seed, wet, out):
    """Write the look of the ground at (s, d): material texture, then markings, patches, manholes.

    footprint: across the line of sight; aspect: how many times longer it is along (grazing view).
    lines [n, 8]: offset d, width, dash, gap, s from, s to, brightness, yellowness.
    zones [m, 6]: s0, s1, d0, d1, kind (0 zebra, 1 stop line, 2 patch, 3 manhole, 4 bay line, 5 arrow), value.
    """
    for c in range(4):
        out[EMIT + c] = 0.0
        if c < 3:
            out[BUMP + c] = 0.0
    out[MIRROR], out[ROUGH], out[WARM], out[THROUGH] = 0.0, 0.6, 0.0, 0.0
    _tint(out, palette[material], 1.0)
    # Grazing pixels average over a long strip: texture fades by the geometric mean of its sides.
    f = footprint * math.sqrt(min(aspect, 30.0))
    if material == ASPHALT:
        # Chippings: at every distance the finest grain a pixel resolves, its contrast falling as pixels average more.
        size = 0.02
        while size < 0.9 * f:
            size *= 1.6
        p, q = (0.8 * s + 0.6 * d) / size, (0.8 * d - 0.6 * s) / size
        fine = 0.55 * (0.02 / size) ** 0.45 * (2.0 * noise2(p, q, seed) - 1.0)
        fine += 0.09 * grain(s, d, 0.16, 3, f, seed + 5)
        worn = 0.05 * math.cos(d * 3.6 + seed) + 0.07 * (noise2(s * 0.05, d * 0.9, seed + 8) - 0.5)
        _speckle(out, fine + worn)
        old = hash_unit(seed, 1, 1, 77)
        if f < 0.1 and old > 0.45 and noise2(s * 0.06, d * 0.15, seed + 12) > 0.5:
            # Cracks: the valleys of a noise, where the road is old.
            ridge = abs(noise2(s * 0.4, d * 0.4, seed + 9) + 0.6 * noise2(s * 2.3, d * 2.3, seed + 10) - 0.8)
            if ridge < 0.012:
                _grey(out, 0.03, 0.4 * (1.0 - f / 0.1))
        seam = _line(d - 0.15, 3.4, 0.03, footprint)
        _grey(out, 0.03, 0.35 * seam)
    elif material == SLABS:
        size = 0.3 + 0.35 * hash_unit(3, 1, 4, seed)
        _blocks(out, s, d, size * (1.0 + (seed % 2)), size, 0.014, 0.2, f, seed, 0.45 * palette[material, 1])
        _speckle(out, 0.28 * grain(s, d, 0.25, 4, f, seed + 1) + 0.16 * grain(s, d, 2.2, 3, f, seed + 3))
    elif material == COBBLES:
        _blocks(out, s, d, 0.14, 0.11, 0.022, 0.4, f, seed, 0.35 * palette[material, 1])
        _speckle(out, 0.2 * grain(s, d, 0.9, 3, f, seed + 1))
        out[BUMP] = 0.35 * (noise2(s * 14.0, d * 18.0, seed) - 0.5) * min(1.0, 0.05 / (f + 0.01))
        out[BUMP + 1] = 0.35 * (noise2(s * 14.0, d * 18.0, seed + 1) - 0.5) * min(1.0, 0.05 / (f + 0.01))
    elif material == GRASS:
        _speckle(out, 0.5 * grain(s, d, 0.07, 2, f, seed) + 0.45 * grain(s, d, 0.9, 5, f, seed + 4))
        dry = smoothstep(0.45, 0.8, noise2(s * 0.25, d * 0.4, seed + 6)) * 0.5
        out[0] += dry * (out[1] * 1.15 - out[0])
        fade = min(1.0, 0.08 / (f + 0.01))
        out[BUMP] = 1.1 * fade * (noise2(s * 11.0, d * 11.0, seed + 2) - 0.5)
        out[BUMP + 1] = 1.1 * fade * (noise2(s * 11.0, d * 11.0, seed + 3) - 0.5)
        out[WARM] = -3.0
    elif material == GRAVEL:
        _speckle(out, 0.4 * grain(s, d, 0.05, 2, f, seed) + 0.2 * grain(s, d, 0.8, 4, f, seed + 4))
        green = smoothstep(0.6, 0.8, noise2(s * 0.5, d * 0.5, seed + 7))
        out[0] *= 1.0 - 0.35 * green
        out[2] *= 1.0 - 0.45 * green
    elif material == CONCRETE:
        _speckle(out, 0.1 * grain(s, d, 0.1, 3, f, seed) + 0.14 * grain(s, d, 1.8, 4, f, seed + 2))
        _grey(out, 0.05, 0.6 * max(_line(s, 5.0, 0.02, footprint * aspect), _line(d, 4.0, 0.02, footprint)))
    elif material == FIELD:
        rows = math.sin(d * 8.0 + 0.6 * math.sin(s * 0.1)) * min(1.0, 0.15 / (f + 0.01))
        _speckle(out, 0.3 * grain(s, d, 0.4, 4, f, seed) + 0.2 * rows + 0.3 * (noise2(s * 0.02, d * 0.03, seed) - 0.5))
        out[WARM] = -1.5
    elif material == KERB:
        _speckle(out, 0.15 * grain(s, d, 0.1, 3, f, seed) + 0.15 * (hash_unit(math.floor(s), 0, 1, seed) - 0.5))
        _grey(out, 0.03, 0.6 * _line(s, 1.0, 0.02, footprint * aspect))
    if material != ASPHALT and material != COBBLES and material != CONCRETE and material != SLABS:
        return
    for n in range(zones.shape[0]):
        if s < zones[n, 0] or s > zones[n, 1] or d < zones[n, 2] or d > zones[n, 3]:
            continue
        kind = zones[n, 4]
        wear = 0.5 + 0.4 * smoothstep(
            0.1, 0.5, 0.6 * noise2(s * 5.0, d * 5.0, seed + 20) + 0.4 * noise2(s * 23.0, d * 23.0, seed + 22)
        )
        if kind == 0.0:
            stripe = math.floor((d - zones[n, 2]) / 0.5)
            if stripe - 2.0 * math.floor(stripe / 2.0) < 0.5:
                _grey(out, 0.55 * zones[n, 5], wear)
        elif kind == 1.0 or kind == 4.0:
            _grey(out, 0.55 * zones[n, 5], wear)
        elif kind == 2.0:
            _speckle(out, zones[n, 5])
        elif kind == 3.0:
            r = math.hypot(s - 0.5 * (zones[n, 0] + zones[n, 1]), d - 0.5 * (zones[n, 2] + zones[n, 3]))
            if r < 0.5 * (zones[n, 1] - zones[n, 0]):
                _grey(out, 0.05 + 0.05 * (hash_unit(int(s * 18.0), int(d * 18.0), 2, seed)), 0.85)
                out[MIRROR], out[ROUGH] = 0.05, 0.4
        elif kind == 5.0:
            mid = 0.5 * (zones[n, 2] + zones[n, 3])
            run = (s - zones[n, 0]) / (zones[n, 1] - zones[n, 0])
            if (run > 0.6 and abs(d - mid) < 0.4 * (1.0 - run) / 0.4) or (run <= 0.6 and abs(d - mid) < 0.09):
                _grey(out, 0.55 * zones[n, 5], wear)
    if material in (ASPHALT, CONCRETE):
        for n in range(lines.shape[0]):
            away = abs(d - lines[n, 0])
            half = 0.5 * lines[n, 1]
            if away > half + 0.5 * footprint or s < lines[n, 4] or s > lines[n, 5]:
                continue
            period = lines[n, 2] + lines[n, 3]
            if lines[n, 3] > 0.0:
                phase = s - period * math.floor(s / period)
                if phase > lines[n, 2]:
                    continue
            cover = min(1.0, (half + 0.5 * footprint - away) / (footprint + 1e-6)) * min(1.0, lines[n, 1] / footprint)
            cover *= lines[n, 6] * (0.55 + 0.45 * smoothstep(0.1, 0.45, noise2(s * 6.0, d * 9.0, seed + 21)))
            _grey(out, 0.6, cover)
            out[2] *= 1.0 - 0.75 * lines[n, 7] * cover
            out[0] *= 1.0 + 0.05 * lines[n, 7] * cover
    if wet > 0.0:
        puddle = wet * smoothstep(0.4, 0.75, noise2(s * 0.35, d * 0.6, seed + 30) + 0.3 * wet)
        for c in range(4):
            out[c] *= 1.0 - 0.45 * max(puddle, 0.7 * wet)
        out[MIRROR] = max(out[MIRROR], 0.02 * wet + 0.03 * puddle)
        out[ROUGH] = 0.25 * (1.0 - puddle)
        out[WARM] -= 2.5 * wet
