"""Weather: what fog and rain do to the light of a scene and to the air in front of a camera.

Koschmieder's law: over a path of d metres an object's radiance L becomes L exp(-beta d) + A (1 - exp(-beta d)), A
being the radiance of the air itself (the airlight); see Sakaridis, Dai and Van Gool, "Semantic Foggy Scene
Understanding with Synthetic Data", IJCV 2018. Visibility V is the distance at which a black object's contrast has
fallen to 2 %: beta = 3.912 / V.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from spike_depth_core.world.lighting import Lighting

WEATHERS = ("clear", "fog", "rain")

KOSCHMIEDER = 3.912  # -ln 0.02
VISIBLE_MICRONS, NEAR_INFRARED_MICRONS = 0.55, 0.85

# Ranges at which an object is just seen, metres: by eye, and by a camera for 8 to 12 micrometres, in the ICAO's fog
# categories IIIc, IIIa, II and I (computed with MODTRAN by FLIR, Technical Note 0001, "Seeing through fog and rain with
# a thermal imaging camera"). The droplets of light fog are smaller than the thermal wavelength, those of dense fog
# are not: there the advantage is gone (so also Hagen, Proc. SPIE 10765, 2018).
_SEEN_BY_EYE = (92.0, 305.0, 610.0, 1220.0)
_SEEN_BY_THERMAL = (87.0, 293.0, 2400.0, 8000.0)

# Marshall and Palmer, "The distribution of raindrops with size", J. Meteorology 1948: N(D) = N0 exp(-slope D).
DROPS_PER_M3_PER_MM = 8000.0

VISIBILITY_M = (60.0, 500.0)  # drawn where nobody says
RAIN_MM_H = (5.0, 60.0)


def kim_exponent(visibility_m: float) -> float:
    """Exponent q of extinction ~ wavelength^-q in haze and fog.

    Kim, McArthur and Korevaar, "Comparison of laser beam propagation at 785 nm and 1550 nm in fog and haze", Proc.
    SPIE 4214, 2001: 0 below 500 m of visibility, where droplets are much larger than light waves.
    """
    km = visibility_m / 1000.0
    if km < 0.5:
        return 0.0
    if km < 1.0:
        return km - 0.5
    if km < 6.0:
        return 0.16 * km + 0.34
    return 1.3 if km < 50.0 else 1.6


def drop_slope(rain_mm_h: float) -> float:
    """Slope of the distribution of drop diameters, 1/mm (Marshall and Palmer 1948)."""
    return 4.1 * rain_mm_h**-0.21


@dataclass(frozen=True)
class Weather:
    """What is in the air. Make one with `clear`, `fog`, `rain` or `draw_weather`.

    Attributes:
        kind: one of `WEATHERS`.
        visibility_m: at which 2 % of contrast is left, for green light; infinite: as the scene's own haze has it.
        rain_mm_h: rain rate, 0 for none.
        wind: horizontal velocity of the air, metres a second, world x and y.
        layer_m: how high over the road fog or falling rain reach.
        shade: of the day's light that arrives below the cloud a rain falls from.
        wet: of the road, 0 dry to 1 wet.
    """

    kind: str
    visibility_m: float = math.inf
    rain_mm_h: float = 0.0
    wind: tuple[float, float] = (0.0, 0.0)
    layer_m: float = 100.0
    shade: float = 0.45
    wet: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in WEATHERS:
            raise ValueError(f"weather must be one of {WEATHERS}, found {self.kind!r}")
        if not self.visibility_m >= 10.0:
            raise ValueError(f"visibility must be at least 10 m, found {self.visibility_m}")
        if not 0.0 <= self.rain_mm_h <= 150.0:
            raise ValueError(f"a rain rate is 0 to 150 mm/h, found {self.rain_mm_h}")

    @classmethod
    def clear(cls) -> Weather:
        """Clean air and a dry road."""
        return cls("clear")

    @classmethod
    def fog(cls, visibility_m: float, layer_m: float = 100.0) -> Weather:
        """Fog of a visibility in metres."""
        return cls("fog", visibility_m=visibility_m, layer_m=layer_m, wet=0.0)

    @classmethod
    def rain(cls, rain_mm_h: float, wind: tuple[float, float] = (0.0, 0.0), shade: float = 0.45) -> Weather:
        """Rain of a rate in millimetres an hour: 2 is light, 10 moderate, 50 violent."""
        return cls("rain", rain_mm_h=rain_mm_h, wind=wind, layer_m=1000.0, shade=shade, wet=0.9)

    @property
    def extinction(self) -> np.ndarray:
        """Extinction [4] in red, green, blue and near infrared, 1/m.

        Of rain it is the drops' cross-section twice (large particles' extinction efficiency), summed over their
        distribution; drops are larger than any wavelength here, so it is the same in every band. A rain of
        25 mm/h comes to 1.4 km of visibility.
        """
        green = KOSCHMIEDER / self.visibility_m
        infrared = green * (NEAR_INFRARED_MICRONS / VISIBLE_MICRONS) ** -kim_exponent(self.visibility_m)
        return np.array([green, green, green, infrared]) + self._drops_extinction

    @property
    def thermal_extinction(self) -> float:
        """Extinction at 8 to 12 micrometres, 1/m."""
        fog = 0.0
        if math.isfinite(self.visibility_m):
            ratio = np.array(_SEEN_BY_EYE) / np.array(_SEEN_BY_THERMAL)
            shares = np.interp(math.log(self.visibility_m), np.log(_SEEN_BY_EYE), ratio)
            fog = KOSCHMIEDER / self.visibility_m * min(float(shares), 1.0)
        return fog + self._drops_extinction

    @property
    def _drops_extinction(self) -> float:
        if self.rain_mm_h <= 0.0:
            return 0.0
        # 2 * integral of pi/4 D^2 N0 exp(-slope D) dD, with D in mm and areas in m^2.
        return math.pi * DROPS_PER_M3_PER_MM * 1e-6 / drop_slope(self.rain_mm_h) ** 3

    def lit(self, light: Lighting) -> Lighting:
        """The light of a scene under this weather."""
        if self.kind == "clear":
            return dataclasses.replace(light, haze=min(light.haze, 0.0003), wet=0.0)
        from_sun = max(float(light.sun[2]), 0.1) * light.sunlight
        if self.kind == "fog":
            # Through the layer the sun's beam is lost to diffuse light; most of that comes down, without colour.
            depth = float(self.extinction[1]) * self.layer_m / max(float(light.sun[2]), 0.1)
            direct = math.exp(-depth)
            ambient = _paler(0.75 * light.ambient + 0.6 * (1.0 - direct) * from_sun, 0.8)
            air = 1.05 * ambient
            zenith, horizon = 1.25 * air, air
        else:
            direct = 0.0
            ambient = self.shade * _paler(light.ambient + from_sun, 0.85) * np.array([0.97, 1.0, 1.04, 0.8])
            air = ambient
            zenith, horizon = 1.15 * ambient, 1.3 * ambient
        extinction = self.extinction + light.haze * (self.kind == "rain")
        return dataclasses.replace(
            light,
            sunlight=direct * light.sunlight,
            zenith=zenith,
            horizon=horizon,
            clouds=0.0 if self.kind == "fog" else 1.0,
            cloud_bright=1.0,
            ambient=ambient,
            bounce=0.15 * ambient,
            haze=0.0,
            airlight=air,
            sky_cold=light.air - 6.0,  # the base of a cloud
            sky_warm=light.air - 2.0,
            heating=light.heating * (0.1 + 0.9 * direct),
            wet=max(light.wet, self.wet) if self.kind == "rain" else light.wet,
            veil=extinction,
            thermal_veil=self.thermal_extinction,
            veil_height=self.layer_m,
            rain=self.rain_mm_h,
        )


def draw_weather(random: np.random.Generator, kind: str) -> Weather:
    """A weather of a kind at random."""
    visibility = float(np.exp(random.uniform(*np.log(VISIBILITY_M))))
    rate = float(np.exp(random.uniform(*np.log(RAIN_MM_H))))
    wind = random.normal(0.0, 2.0, 2)
    layer, shade, wet = random.uniform(50.0, 200.0), random.uniform(0.3, 0.65), random.uniform(0.7, 1.0)
    if kind == "fog":
        return Weather("fog", visibility_m=visibility, layer_m=float(layer))
    if kind == "rain":
        speed = (float(wind[0]), float(wind[1]))
        return Weather("rain", rain_mm_h=rate, wind=speed, layer_m=1000.0, shade=float(shade), wet=float(wet))
    return Weather(kind)


def _paler(colour: np.ndarray, amount: float) -> np.ndarray:
    """A radiance [4] with its visible bands moved towards their mean; near infrared stays."""
    grey = np.array([*[colour[:3].mean()] * 3, colour[3]])
    return colour + amount * (grey - colour)
