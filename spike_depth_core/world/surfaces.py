"""The kinds of material, and the colours they may take: linear albedo in red, green, blue and near infrared."""

from __future__ import annotations

import numpy as np

# Materials of primitives. What each looks like is in `materials`.
(
    PLAIN,
    CAR_BODY,
    CAR_CABIN,
    GLASS,
    WHEEL,
    FACADE,
    ROOF,
    BARK,
    LEAF,
    METAL,
    SIGN,
    CLOTH,
    SKIN,
    LAMP,
    MASONRY,
    WOOD,
    CARGO,
    BUS,
    HILL,
) = range(19)

# Materials of the ground.
ASPHALT, SLABS, GRASS, COBBLES, GRAVEL, CONCRETE, FIELD, KERB = range(8)

SLOTS = 6  # palette slots of an instance
BANDS = 4


def colour(rng: np.random.Generator, low: float = 0.04, high: float = 0.7, saturation: float = 0.35) -> np.ndarray:
    """A random albedo [4]: any hue, brightness between low and high, saturation up to about the given one."""
    value_draw, amount_draw, hue, dye, stray = rng.random(5).tolist()
    value = low + (high - low) * value_draw
    amount = saturation * amount_draw**1.5
    rgb = [value * max(0.0, 1.0 - amount * abs((3.0 * hue - c + 1.5) % 3.0 - 1.5) / 0.75) for c in range(3)]
    # Dyes are mostly transparent to near infrared, so it does not follow the visible colour.
    nir = sum(rgb) / 3.0 + (0.35 * dye - 0.05) * amount / 0.35 + 0.12 * stray - 0.04
    return np.array([*rgb, min(0.85, max(0.02, nir))])


def grey(rng: np.random.Generator, low: float, high: float, tint: float = 0.06) -> np.ndarray:
    """An almost neutral albedo [4]."""
    value = rng.uniform(low, high)
    return np.array([min(0.9, max(0.01, value * (1.0 + tint * x))) for x in rng.standard_normal(4).tolist()])


def paint(rng: np.random.Generator) -> np.ndarray:
    """Car paint: white, black and greys for two cars in three, else any colour."""
    draw = rng.random()
    if draw < 0.2:
        return grey(rng, 0.55, 0.8, 0.03)
    if draw < 0.4:
        return grey(rng, 0.012, 0.05, 0.1)
    if draw < 0.65:
        return grey(rng, 0.1, 0.45, 0.04)
    return colour(rng, 0.08, 0.5, 1.0)


def masonry(rng: np.random.Generator) -> np.ndarray:
    """A wall: plaster in pale tones, brick in reds and browns, greys, now and then anything."""
    draw = rng.random()
    if draw < 0.4:
        return colour(rng, 0.3, 0.75, 0.5)
    if draw < 0.65:
        value = rng.uniform(0.12, 0.35)
        return value * np.array([1.25, 0.75 + rng.uniform(-0.1, 0.2), 0.55 + rng.uniform(-0.1, 0.3), 1.5])
    if draw < 0.85:
        return grey(rng, 0.2, 0.6)
    return colour(rng, 0.08, 0.6, 0.9)


def foliage(rng: np.random.Generator) -> np.ndarray:
    """Leaves: dark to yellowish green, some autumnal; bright in near infrared."""
    value = rng.uniform(0.05, 0.15)
    warm = rng.uniform(0.5, 1.0) if rng.random() < 0.85 else rng.uniform(0.9, 1.7)
    return np.array(
        [value * warm, value * rng.uniform(1.0, 1.25), value * rng.uniform(0.12, 0.42), rng.uniform(0.3, 0.5)]
    )


def bark(rng: np.random.Generator) -> np.ndarray:
    """Bark and timber."""
    value = rng.uniform(0.05, 0.22)
    return np.array([value * 1.1, value * 0.9, value * rng.uniform(0.55, 0.9), value * 1.7])


def cloth(rng: np.random.Generator) -> np.ndarray:
    """Clothing: anything, dark more often; near infrared mostly bright."""
    base = colour(rng, 0.02, 0.6, 0.9) if rng.random() < 0.6 else grey(rng, 0.01, 0.12)
    base[3] = rng.uniform(0.15, 0.6)
    return base


def skin(rng: np.random.Generator) -> np.ndarray:
    value = rng.uniform(0.1, 0.45)
    return np.array([value * 1.3, value, value * 0.75, min(0.65, value * 1.5)])


def roof(rng: np.random.Generator) -> np.ndarray:
    draw = rng.random()
    if draw < 0.5:
        value = rng.uniform(0.08, 0.25)
        return value * np.array([1.3, 0.6, 0.42, 1.6])
    return grey(rng, 0.04, 0.2) if draw < 0.9 else colour(rng, 0.08, 0.3, 0.6)


def palette(*slots: np.ndarray) -> np.ndarray:
    """Palette [6, 4] of an instance; slots not given repeat the last."""
    rows = list(slots) + [slots[-1]] * (SLOTS - len(slots))
    return np.array(rows[:SLOTS])


def land(rng: np.random.Generator) -> np.ndarray:
    """Palette [8, 4] of the ground's materials."""
    rows = np.zeros((8, BANDS))
    asphalt = rng.uniform(0.05, 0.3)
    rows[ASPHALT] = asphalt * (1 + rng.normal(0, 0.05, 4))
    rows[SLABS] = colour(rng, 0.12, 0.5, 0.16)
    rows[GRASS] = foliage(rng) * rng.uniform(0.9, 1.7) * [1.15, 1, 1, 1]
    rows[COBBLES] = colour(rng, 0.08, 0.32, 0.16)
    rows[GRAVEL] = rng.uniform(0.14, 0.42) * np.array([1.12, 1.0, 0.82, 1.25])
    rows[CONCRETE] = grey(rng, 0.18, 0.5)
    rows[FIELD] = foliage(rng) * 1.4 if rng.random() < 0.5 else rng.uniform(0.1, 0.4) * np.array([1.2, 1.0, 0.6, 1.6])
    rows[KERB] = grey(rng, 0.15, 0.5)
    return np.clip(rows, 0.01, 0.85)


# The second town's.


def panel(rng: np.random.Generator) -> np.ndarray:
    """A wall of concrete, tiles or coated panels: pale and neutral, some warm, some blue-green or dark."""
    draw = rng.random()
    if draw < 0.5:
        return grey(rng, 0.35, 0.75, 0.05)
    if draw < 0.75:
        return rng.uniform(0.3, 0.6) * np.array([1.15, 0.98, 0.8, 1.2])
    if draw < 0.9:
        return rng.uniform(0.08, 0.3) * np.array([0.7, 1.0, 1.15, 0.8])
    return grey(rng, 0.05, 0.2, 0.1)


def membrane(rng: np.random.Generator) -> np.ndarray:
    """A flat roof's covering."""
    return grey(rng, 0.12, 0.55, 0.05)


def evergreen(rng: np.random.Generator) -> np.ndarray:
    """Dense, dark leaves, no autumn; very bright in near infrared."""
    value = rng.uniform(0.035, 0.085)
    return np.array([value * rng.uniform(0.45, 0.75), value, value * rng.uniform(0.25, 0.5), rng.uniform(0.42, 0.6)])


def pale_paint(rng: np.random.Generator) -> np.ndarray:
    """Car paint: white for nearly every second car, few colours."""
    draw = rng.random()
    if draw < 0.45:
        return grey(rng, 0.6, 0.82, 0.02)
    if draw < 0.6:
        return grey(rng, 0.012, 0.05, 0.1)
    if draw < 0.85:
        return grey(rng, 0.25, 0.55, 0.04)
    return colour(rng, 0.1, 0.5, 1.0)


def pale_land(rng: np.random.Generator) -> np.ndarray:
    """Palette [8, 4] of the ground: sun-bleached asphalt and concrete, reddish earth, tended grass."""
    rows = np.zeros((8, BANDS))
    rows[ASPHALT] = rng.uniform(0.16, 0.36) * (np.array([1.03, 1.0, 0.96, 1.05]) + rng.normal(0, 0.02, 4))
    rows[SLABS] = rng.uniform(0.25, 0.5) * np.array([1.15, 0.95, 0.8, 1.2])
    rows[GRASS] = evergreen(rng) * rng.uniform(1.2, 2.0)
    rows[COBBLES] = grey(rng, 0.2, 0.4)
    rows[GRAVEL] = rng.uniform(0.2, 0.45) * np.array([1.3, 0.95, 0.65, 1.4])
    rows[CONCRETE] = grey(rng, 0.35, 0.6)
    rows[FIELD] = rng.uniform(0.15, 0.35) * np.array([1.5, 0.9, 0.55, 1.7])
    rows[KERB] = grey(rng, 0.35, 0.65)
    return np.clip(rows, 0.01, 0.85)
