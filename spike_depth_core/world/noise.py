"""Deterministic hashes and value noise, compiled: the grain of every texture.

All functions are pure in their arguments, so a texture fixed to an object stays with it from frame to frame.
"""

from __future__ import annotations

import math

from numba import njit

from spike_depth_core.world.compilation import JIT


@njit(**JIT)
def hash_unit(i, j, k, seed):
    """A number in [0, 1) from three integer coordinates and a seed."""
    h = i * 374761393 + j * 668265263 + k * 2147483647 + seed * 1442695040888963407
    h = (h ^ (h >> 29)) * 1274126177
    h = (h ^ (h >> 15)) * 2246822519
    h = h ^ (h >> 32)
    return (h & 0xFFFFFF) * (1.0 / 16777216.0)


@njit(**JIT)
def smoothstep(a, b, x):
    """0 below a, 1 above b, a cubic between."""
    t = min(1.0, max(0.0, (x - a) / (b - a)))
    return t * t * (3.0 - 2.0 * t)


@njit(**JIT)
def noise2(x, y, seed):
    """Value noise in [0, 1] with features of size 1."""
    fx, fy = math.floor(x), math.floor(y)
    i, j = int(fx), int(fy)
    u, v = x - fx, y - fy
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    a = hash_unit(i, j, 0, seed)
    b = hash_unit(i + 1, j, 0, seed)
    c = hash_unit(i, j + 1, 0, seed)
    d = hash_unit(i + 1, j + 1, 0, seed)
    return (a + (b - a) * u) * (1.0 - v) + (c + (d - c) * u) * v


@njit(**JIT)
def noise3(x, y, z, seed):
    """Value noise in [0, 1] in space, features of size 1."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    i, j, k = int(fx), int(fy), int(fz)
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v), w * w * (3.0 - 2.0 * w)
    a = hash_unit(i, j, k, seed)
    a += (hash_unit(i + 1, j, k, seed) - a) * u
    b = hash_unit(i, j + 1, k, seed)
    b += (hash_unit(i + 1, j + 1, k, seed) - b) * u
    c = hash_unit(i, j, k + 1, seed)
    c += (hash_unit(i + 1, j, k + 1, seed) - c) * u
    d = hash_unit(i, j + 1, k + 1, seed)
    d += (hash_unit(i + 1, j + 1, k + 1, seed) - d) * u
    a += (b - a) * v
    c += (d - c) * v
    return a + (c - a) * w


@njit(**JIT)
def grain(x, y, size, octaves, footprint, seed):
    """Sum of octaves of noise, zero mean, about [-1, 1]; octaves finer than the pixel's footprint fade out.

    The coarsest features measure `size` metres, each next octave 0.45 of that at 0.7 of the amplitude. The fade is
    what a lens and a pixel do to a fine texture: the mean stays, the contrast goes.
    """
    total, amplitude, norm = 0.0, 1.0, 0.0
    for octave in range(octaves):
        weight = min(1.0, max(0.0, 2.0 - 2.0 * footprint / size))
        norm += amplitude
        if weight > 0.0:
            total += amplitude * weight * (2.0 * noise2(x / size, y / size, seed + octave) - 1.0)
        size *= 0.45
        amplitude *= 0.7
    return total / norm * 1.6
