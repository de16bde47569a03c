"""Pictures of depth, errors, uncertainty, spikes and heat, and what puts them on a page.

Depth has a fixed colour scale in metres, so that pictures can be compared: red is near, blue is far, even
steps of colour are even steps of log-depth (5 m and 50 m both read), and sky is dark grey, unknown
near-black. Every picture is uint8 [H, W, 3], RGB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spike_depth_core.spikes import PackedSpikes

DRAWN_NEAR_M, DRAWN_FAR_M = 2.0, 80.0
ERROR_LIMIT = 0.5
UNCERTAINTY_LIMIT = 0.5
BRIGHT_SPIKES = 20
SKY = (52, 56, 64)
UNKNOWN = (18, 19, 22)
PAPER = (255, 255, 255)
INK = (32, 36, 44)
_TALLEST = 3  # heights of a cell in its widths

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Colour maps as 17 evenly spaced stops, interpolated. turbo: Mikhailov 2019; magma: van der Walt and Smith
# 2015; blue-grey-red: ColorBrewer's RdBu reversed.
_STOPS = {
    "turbo": "30123b 4040a2 466be3 4294ff 28bceb 18ddc2 32f298 6dfe62 a4fc3c "
    "cdec34 eecf3a fdac34 fb7e21 eb500e d02f05 a91601 7a0403",
    "magma": "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 "
    "d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf",
    "diverging": "053061 175290 2a71b2 3f8ec0 6bacd1 9bc9e0 c2ddec e0ecf3 f7f6f6 "
    "fbe5d8 fbccb4 f5aa89 e48066 d05548 ba2832 930e26 67001f",
}


def _table(name: str) -> np.ndarray:
    stops = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in _STOPS[name].split()], dtype=np.float64)
    at = np.linspace(0, len(stops) - 1, 256)
    columns = [np.interp(at, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return np.round(np.stack(columns, axis=1)).astype(np.uint8)


_TABLES = {name: _table(name) for name in _STOPS}


def apply_colors(values: np.ndarray, name: str) -> np.ndarray:
    """Colour values in [0, 1], clipped, by a map: `turbo`, `magma` or `diverging`. NaN gets the colour of
    0."""
    index = np.nan_to_num(np.clip(values, 0.0, 1.0) * 255.0, nan=0.0)
    return _TABLES[name][np.round(index).astype(np.uint8)]


def _share(depth: np.ndarray | float) -> np.ndarray:
    """Where a depth lies between `DRAWN_NEAR_M` and `DRAWN_FAR_M`, evenly in log-depth."""
    return np.log(depth / DRAWN_NEAR_M) / np.log(DRAWN_FAR_M / DRAWN_NEAR_M)


def colorize_depth(depth: np.ndarray) -> np.ndarray:
    """Depth [H, W] in metres as a picture: `DRAWN_NEAR_M` and less is red, `DRAWN_FAR_M` and more blue, evenly in
    log-depth.

    +inf (sky) is dark grey; NaN, zero and negative (unknown) near-black.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.isfinite(depth) & (depth > 0)
        share = _share(np.where(known, depth, DRAWN_NEAR_M))
    # The ends of turbo are very dark: leave them out, so that dark always means "nothing there".
    picture = apply_colors(0.94 - 0.86 * np.clip(share, 0, 1), "turbo")
    picture[~known] = UNKNOWN
    picture[np.isposinf(depth)] = SKY
    return picture


def colorize_error(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Signed relative error (p - t) / t: blue is too near, red too far, white right, full colour at `ERROR_LIMIT`.

    Pixels without a truth or without a prediction are near-black; sky dark grey.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        error = (prediction - truth) / truth
    known = np.isfinite(truth) & (truth > 0) & ~np.isnan(prediction)
    picture = apply_colors(0.5 + 0.5 * np.where(known, error, 0.0) / ERROR_LIMIT, "diverging")
    picture[~known] = UNKNOWN
    picture[np.isposinf(truth)] = SKY
    return picture


def colorize_uncertainty(uncertainty: np.ndarray) -> np.ndarray:
    """Relative standard deviation [H, W]: black is 0, pale yellow `UNCERTAINTY_LIMIT` and more."""
    return apply_colors(uncertainty / UNCERTAINTY_LIMIT, "magma")


def _windows(values: np.ndarray, radius: int) -> np.ndarray:
    """Every pixel's neighbourhood, [(2 radius + 1)^2, H, W]; NaN beyond the border."""
    padded = np.pad(values, radius, constant_values=np.nan)
    height, width = values.shape
    steps = range(2 * radius + 1)
    return np.stack([padded[dy : dy + height, dx : dx + width] for dy in steps for dx in steps])


def _nearest_point(points: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Which neighbour of each pixel is the nearest point, [1, H, W], and the depths of all, [n, H, W]."""
    with np.errstate(invalid="ignore"):
        depths = _windows(np.where(np.isfinite(points) & (points > 0), points, np.nan), radius)
    return np.argmin(np.where(np.isnan(depths), np.inf, depths), axis=0)[None], depths


def thicken(depth: np.ndarray, radius: int = 1) -> np.ndarray:
    """Grow sparse depth (LiDAR points between zeros or NaN) into squares that can be seen; the nearest wins."""
    which, depths = _nearest_point(depth, radius)
    return np.take_along_axis(depths, which, axis=0)[0].astype(np.float32)


def thicken_like(values: np.ndarray, points: np.ndarray, radius: int = 1) -> np.ndarray:
    """Values [H, W] at sparse points, grown as `thicken` grows the points: each square takes its own point's value."""
    which, depths = _nearest_point(points, radius)
    grown = np.take_along_axis(_windows(values.astype(np.float32), radius), which, axis=0)[0]
    return np.where(np.isnan(np.take_along_axis(depths, which, axis=0)[0]), np.nan, grown).astype(np.float32)


def _stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values scaled so that two percentiles become 0 and 1."""
    bottom, top = np.percentile(values, [low, high])
    return np.clip((values - bottom) / max(float(top - bottom), 1e-9), 0, 1)


def gray_picture(image: np.ndarray) -> np.ndarray:
    """A grey image [H, W] of any depth in bits, as a picture. 8 bit is shown as it is, more is stretched."""
    if image.dtype != np.uint8:
        image = np.round(255 * _stretched(image.astype(np.float32), 0.5, 99.5)).astype(np.uint8)
    return np.repeat(image[:, :, None], 3, axis=2)


def thermal_picture(image: np.ndarray) -> np.ndarray:
    """A thermal image [H, W], stretched between its coldest and warmest percent: dark is cold."""
    return apply_colors(_stretched(image.astype(np.float32), 1, 99), "magma")


def spike_image(spikes: PackedSpikes, planes: int | None = None) -> np.ndarray:
    """The scene as the spike camera's last planes tell it: spikes a pixel (TFP), exposed to be looked at.

    Args:
        spikes: at least one plane.
        planes: how many of the last planes to count. None takes 64, and doubles that while the brightest pixels have
            fewer than `BRIGHT_SPIKES` spikes: in the dark, a longer exposure.
    """
    if planes is not None:
        return spike_rate_picture(_count(spikes.last(min(planes, len(spikes)))))
    length = min(64, len(spikes))
    count = _count(spikes.last(length))
    while length < len(spikes) and np.percentile(count, 99) < BRIGHT_SPIKES:
        longer = min(2 * length, len(spikes))
        count += _count(spikes.slice(len(spikes) - longer, len(spikes) - length))
        length = longer
    return spike_rate_picture(count)


def _count(spikes: PackedSpikes) -> np.ndarray:
    """Spikes of each pixel, float32 [H, W]."""
    count = np.zeros((spikes.height, spikes.width), dtype=np.float32)
    for first in range(0, len(spikes), 64):  # sums of so few planes fit a byte, and so few unpacked planes the cache
        part = spikes.slice(first, min(first + 64, len(spikes)))
        count += part.planes().sum(axis=0, dtype=np.uint8)
    return count


def spike_rate_picture(count: np.ndarray) -> np.ndarray:
    """Spike counts or rates [H, W] as a grey picture: the brightest percent white, gamma 2.2 as in a
    photograph."""
    top = max(float(np.percentile(count, 99)), 1e-9)
    gray = np.round(255 * np.clip(count / top, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)


def sensor_picture(sensor: str, data: np.ndarray | PackedSpikes) -> np.ndarray:
    """The picture of one sensor of a `DepthSample`: `spikes`, `rgb`, `nir` or `thermal`."""
    if isinstance(data, PackedSpikes):
        return spike_image(data)
    if sensor == "rgb":
        return np.asarray(data, dtype=np.uint8)
    return thermal_picture(data) if sensor == "thermal" else gray_picture(data)


def overlay_points(picture: np.ndarray, depth: np.ndarray, radius: int = 1) -> np.ndarray:
    """Depth points [H, W] (NaN or 0 between them) drawn in colour on a darkened picture of the same size."""
    grown = thicken(depth, radius)
    result = (picture * 0.45).astype(np.uint8)
    seen = np.isfinite(grown)
    result[seen] = colorize_depth(grown)[seen]
    return result


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _text_width(draw: ImageDraw.ImageDraw, text: str, font: Font) -> int:
    return int(np.ceil(draw.textlength(text, font=font)))


def resize_picture(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resample to another size: averaged when it shrinks, by nearest neighbour when it grows (nothing
    invented)."""
    if picture.shape[:2] == (height, width):
        return picture
    shrink = width <= picture.shape[1] and height <= picture.shape[0]
    method = Image.Resampling.LANCZOS if shrink else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize((width, height), method))


def _cell_size(picture: np.ndarray, cell_width: int) -> tuple[int, int]:
    """(width, height) of a picture in a cell, pixels: a line of pixels is to be seen too, and no sheet for itself."""
    height, width = picture.shape[:2]
    scale = min(cell_width / width, _TALLEST * cell_width / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def grid(
    rows: Sequence[Sequence[tuple[str, np.ndarray] | None]],
    cell_width: int = 400,
    title: str | None = None,
    footer: np.ndarray | None = None,
    dark: bool = False,
) -> np.ndarray:
    """Labelled pictures in rows and columns, on one sheet.

    Args:
        rows: of (label, picture) each; None leaves a cell empty. All pictures of a row are scaled to the
            cell's width, those that are too high for that to three times as much in height, and the row is as high as
            its tallest.
        cell_width: pixels.
        title: a line above all.
        footer: a picture below all, such as `depth_bar(...)`, not scaled.
        dark: light text on dark paper, for video.

    Returns:
        uint8 [H, W, 3], both even (which video codecs need).
    """
    paper, ink = (UNKNOWN, (225, 228, 234)) if dark else (PAPER, INK)
    gap, label_height, title_height = 8, 20, 30 if title else 0
    font, title_font = _font(13), _font(18)
    heights = [max((_cell_size(cell[1], cell_width)[1] for cell in row if cell), default=0) for row in rows]
    columns = max(len(row) for row in rows)
    width = columns * cell_width + (columns + 1) * gap
    height = title_height + sum(label_height + h + gap for h in heights) + gap
    if footer is not None:
        height += footer.shape[0] + gap
        width = max(width, footer.shape[1] + 2 * gap)
    sheet = Image.new("RGB", (width + width % 2, height + height % 2), paper)
    draw = ImageDraw.Draw(sheet)
    top = gap
    if title:
        draw.text((gap, top - 2), title, fill=ink, font=title_font)
        top += title_height
    for row, row_height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            if cell is None:
                continue
            label, picture = cell
            left = gap + column * (cell_width + gap)
            while label and _text_width(draw, label, font) > cell_width:
                label = label[:-2].rstrip("… ") + "…"
            draw.text((left, top), label, fill=ink, font=font)
            scaled = resize_picture(picture, *_cell_size(picture, cell_width))
            sheet.paste(Image.fromarray(scaled), (left, top + label_height))
        top += label_height + row_height + gap
    if footer is not None:
        sheet.paste(Image.fromarray(footer), (gap, top))
    return np.asarray(sheet)


def _bar(colors: np.ndarray, ticks: Sequence[tuple[float, str]], title: str, width: int, dark: bool) -> np.ndarray:
    paper, ink = (UNKNOWN, (225, 228, 234)) if dark else (PAPER, INK)
    sheet = Image.new("RGB", (width, 34), paper)
    draw = ImageDraw.Draw(sheet)
    font = _font(12)
    left = _text_width(draw, title, font) + 12
    right = width - 24
    draw.text((0, 1), title, fill=ink, font=font)
    sheet.paste(Image.fromarray(np.repeat(colors[None], 12, axis=0)).resize((right - left, 12)), (left, 2))
    for share, label in ticks:
        x = left + share * (right - left - 1)
        draw.line([(x, 14), (x, 17)], fill=ink)
        draw.text((x - _text_width(draw, label, font) / 2, 18), label, fill=ink, font=font)
    return np.asarray(sheet)


def depth_bar(width: int, dark: bool = False) -> np.ndarray:
    """The scale of `colorize_depth`, uint8 [34, width, 3]."""
    depth = np.geomspace(DRAWN_NEAR_M, DRAWN_FAR_M, 512)
    labels = [(float(_share(m)), f"{m} m") for m in (2, 3, 5, 10, 20, 30, 50, 80)]
    return _bar(colorize_depth(depth[None])[0], labels, "depth", width, dark)


def error_bar(width: int, dark: bool = False) -> np.ndarray:
    """The scale of `colorize_error`, uint8 [34, width, 3]."""
    colors = apply_colors(np.linspace(0, 1, 512), "diverging")
    ticks = [(s, f"{(2 * s - 1) * ERROR_LIMIT:+.0%}".replace("+0%", "0")) for s in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return _bar(colors, ticks, "error (blue: too near)", width, dark)


def uncertainty_bar(width: int, dark: bool = False) -> np.ndarray:
    """The scale of `colorize_uncertainty`, uint8 [34, width, 3]."""
    colors = apply_colors(np.linspace(0, 1, 512), "magma")
    return _bar(colors, [(s, f"{s * UNCERTAINTY_LIMIT:.0%}") for s in (0.0, 0.5, 1.0)], "uncertainty", width, dark)


def bars(width: int, which: Sequence[str] = ("depth", "error"), dark: bool = False) -> np.ndarray:
    """Several scales side by side, uint8 [34, width, 3]: any of `depth`, `error`, `uncertainty`."""
    each = width // len(which)
    make = {
        "depth": lambda: depth_bar(each, dark=dark),
        "error": lambda: error_bar(each, dark=dark),
        "uncertainty": lambda: uncertainty_bar(each, dark=dark),
    }
    parts = [make[name]() for name in which]
    rest = np.full((parts[0].shape[0], width - each * len(which), 3), UNKNOWN if dark else PAPER, np.uint8)
    return np.concatenate([*parts, rest], axis=1)


def write_png(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture as PNG, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, optimize=True)


def write_video(path: str | Path, pictures: Iterable[np.ndarray], rate_hz: float) -> Path:
    """Write pictures of one size as a video.

    Args:
        path: ends in .mp4 (H.264, plays in every browser) or .gif. Where PyAV or its encoder is missing, an
            .mp4 becomes a .gif beside it.
        pictures: uint8 [H, W, 3] each, taken one by one; H and W even for .mp4 (`grid` sees to it).
        rate_hz: frames a second.

    Returns:
        The file written.

    Raises:
        ValueError: there are no pictures, or the name has another ending.
    """
    path = Path(path)
    if path.suffix not in (".mp4", ".gif"):
        raise ValueError(f"a video is named .mp4 or .gif, found {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mp4":
        try:
            import av
            from av.codec import Codec

            Codec("libx264", "w")
        except (ImportError, ValueError):  # av.error.UnknownCodecError is a ValueError
            path = path.with_suffix(".gif")
    frames = iter(pictures)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: a video needs at least one picture")
    if path.suffix == ".gif":
        palette = [Image.fromarray(p).quantize(128) for p in (first, *frames)]
        palette[0].save(path, save_all=True, append_images=palette[1:], duration=round(1000 / rate_hz), loop=0)
        return path
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate_hz).limit_denominator(1000))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        for picture in (first, *frames):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
