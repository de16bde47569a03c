"""Counting in packed spike planes without unpacking them: bit-sliced counters, compiled.

A counter of k bits for each of eight pixels is kept as k bytes, one for each binary digit: slice i holds
digit i of eight neighbours. Adding eight planes to them is a tree of full adders (carry-save adders, as in
the Harley-Seal population count), a handful of logic operations for each byte, 64 bytes at a time where the
processor has AVX-512. Only the finished counters are spread out to an integer a pixel. All kernels are
single-threaded and release the GIL.

Planes are rows of a uint8 array [T, N] (N = H * ceil(W / 8) bytes a plane); `order` lists the rows to look
at, in the order to look at them, so that a ring needs no copying and time can run backwards.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint8, uint64

MAX_PLANES = 65_535  # counters are 16 bits wide
_BLOCK = 1024  # bytes of a plane worked on at a time: counters and eight planes stay in the level 1 cache


def _spread_table() -> np.ndarray:
    """Four bits to four 16-bit lanes of a 64-bit word, bit 0 to the lowest."""
    values = np.arange(16, dtype=np.uint64)[:, None]
    lanes = np.arange(4, dtype=np.uint64)[None]
    return (((values >> lanes) & np.uint64(1)) << (lanes * np.uint64(16))).sum(1, dtype=np.uint64)


_SPREAD = _spread_table()


@njit(inline="always")
def _full_add(a, b, c):
    """Sum and carry bits of three bits, in each bit of the operands."""
    half = a ^ b
    return half ^ c, (a & b) | (half & c)


@njit(cache=True, nogil=True)
def _add_eight(p0, p1, p2, p3, p4, p5, p6, p7, ones, twos, fours, eights, n):
    """Add eight planes to the three low slices; `eights` receives what they carry."""
    for j in range(n):
        one, two, four = ones[j], twos[j], fours[j]
        one, two_a = _full_add(one, p0[j], p1[j])
        one, two_b = _full_add(one, p2[j], p3[j])
        two, four_a = _full_add(two, two_a, two_b)
        one, two_a = _full_add(one, p4[j], p5[j])
        one, two_b = _full_add(one, p6[j], p7[j])
        two, four_b = _full_add(two, two_a, two_b)
        four, eight = _full_add(four, four_a, four_b)
        ones[j], twos[j], fours[j], eights[j] = one, two, four, eight


@njit(cache=True, nogil=True)
def _add_carry(slices, digit, carry, n):
    """Add bits of weight 2**digit to the counters. Destroys `carry`."""
    for i in range(digit, slices.shape[0]):
        row = slices[i]
        left = uint8(0)
        for j in range(n):
            old = row[j]
            row[j] = old ^ carry[j]
            carry[j] &= old
            left |= carry[j]
        if left == 0:
            return


@njit(cache=True, nogil=True)
def _spread(slices, n, out):
    """Write the counters of 8 n pixels as uint16, seen as uint64 [2 n]."""
    for j in range(n):
        low = uint64(0)
        high = uint64(0)
        for k in range(slices.shape[0]):
            low += _SPREAD[slices[k, j] & 15] << uint64(k)
            high += _SPREAD[slices[k, j] >> 4] << uint64(k)
        out[2 * j] = low
        out[2 * j + 1] = high


@njit(cache=True, nogil=True)
def _digits(largest):
    digits = 3
    while (1 << digits) <= largest:
        digits += 1
    return digits


@njit(cache=True, nogil=True)
def _count(data, order, bounds, out):
    size = data.shape[1]
    slices = np.zeros((_digits(bounds[-1]), _BLOCK), np.uint8)
    carry = np.zeros(_BLOCK, np.uint8)
    for first in range(0, size, _BLOCK):
        n = min(_BLOCK, size - first)
        slices[:] = 0
        t = 0
        for window in range(bounds.size):
            while t + 8 <= bounds[window]:
                _add_eight(
                    data[order[t], first:],
                    data[order[t + 1], first:],
                    data[order[t + 2], first:],
                    data[order[t + 3], first:],
                    data[order[t + 4], first:],
                    data[order[t + 5], first:],
                    data[order[t + 6], first:],
                    data[order[t + 7], first:],
                    slices[0],
                    slices[1],
                    slices[2],
                    carry,
                    n,
                )
                _add_carry(slices, 3, carry, n)
                t += 8
            while t < bounds[window]:
                carry[:n] = data[order[t], first : first + n]
                _add_carry(slices, 0, carry, n)
                t += 1
            _spread(slices, n, out[window, 2 * first :])


@njit(cache=True, nogil=True)
def _wait(data, order, out):
    # How many planes pass before the first (second) spike is the number of planes after which it has not come
    # yet: a count again, of the planes of a running mask.
    size = data.shape[1]
    digits = _digits(order.size)
    first_wait = np.zeros((digits, _BLOCK), np.uint8)
    second_wait = np.zeros((digits, _BLOCK), np.uint8)
    seen = np.zeros(_BLOCK, np.uint8)
    seen_twice = np.zeros(_BLOCK, np.uint8)
    masks = np.zeros((8, _BLOCK), np.uint8)
    masks_twice = np.zeros((8, _BLOCK), np.uint8)
    carry = np.zeros(_BLOCK, np.uint8)
    for first in range(0, size, _BLOCK):
        n = min(_BLOCK, size - first)
        first_wait[:] = 0
        second_wait[:] = 0
        seen[:] = 0
        seen_twice[:] = 0
        t = 0
        while t < order.size:
            group = min(8, order.size - t)
            for i in range(group):
                plane = data[order[t + i], first : first + n]
                mask = masks[i]
                mask_twice = masks_twice[i]
                for j in range(n):
                    seen_twice[j] |= seen[j] & plane[j]
                    seen[j] |= plane[j]
                    mask[j] = ~seen[j]
                    mask_twice[j] = ~seen_twice[j]
            for i in range(group, 8):
                masks[i] = 0
                masks_twice[i] = 0
            _add_eight(
                masks[0],
                masks[1],
                masks[2],
                masks[3],
                masks[4],
                masks[5],
                masks[6],
                masks[7],
                first_wait[0],
                first_wait[1],
                first_wait[2],
                carry,
                n,
            )
            _add_carry(first_wait, 3, carry, n)
            _add_eight(
                masks_twice[0],
                masks_twice[1],
                masks_twice[2],
                masks_twice[3],
                masks_twice[4],
                masks_twice[5],
                masks_twice[6],
                masks_twice[7],
                second_wait[0],
                second_wait[1],
                second_wait[2],
                carry,
                n,
            )
            _add_carry(second_wait, 3, carry, n)
            t += 8
            waiting = uint8(0)
            for j in range(n):
                waiting |= ~seen_twice[j]
            if waiting == 0:
                break
        _spread(first_wait, n, out[0, 2 * first :])
        _spread(second_wait, n, out[1, 2 * first :])


def _rows(data: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(data).reshape(data.shape[0], data.shape[1] * data.shape[2])


def count_spikes(data: np.ndarray, order: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Spikes of each pixel among the first `bounds[i]` planes of `order`.

    Args:
        data: packed planes, uint8 [T, H, B].
        order: int64 [n], indices of planes.
        bounds: int64 [K], ascending, the last at most n and `MAX_PLANES`.

    Returns:
        uint16 [K, H, 8 B].
    """
    _, height, row_bytes = data.shape
    out = np.empty((bounds.size, height, 8 * row_bytes), np.uint16)
    _count(_rows(data), order, bounds, out.reshape(bounds.size, -1).view(np.uint64))
    return out


def wait_for_spikes(data: np.ndarray, order: np.ndarray) -> np.ndarray:
    """How many planes of `order` pass before each pixel's first and before its second spike.

    Args:
        data: packed planes, uint8 [T, H, B].
        order: int64 [n], indices of planes, n at most `MAX_PLANES`.

    Returns:
        uint16 [2, H, 8 B]: 0 where the first plane of `order` holds it, n where there is none.
    """
    _, height, row_bytes = data.shape
    out = np.empty((2, height, 8 * row_bytes), np.uint16)
    _wait(_rows(data), order, out.reshape(2, -1).view(np.uint64))
    return out
