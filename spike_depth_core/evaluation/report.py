"""A report as one HTML file that needs nothing else: it can be mailed, archived, opened without a network. Only a video
that is too large for that stays beside it.

A report is a title, some headline figures and named sections; a section is a list of blocks (`Text`, `Table`,
`Picture`, `Chart`, `Video`). Who writes a report decides what is in it; this file decides how it looks.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from PIL import Image

from spike_depth_core import __version__
from spike_depth_core.extras import how_to_install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_VIDEO = 16_000_000  # bytes that are embedded, as text a third more: a page that can be mailed


@dataclass(frozen=True)
class Headline:
    """One headline figure: a large value, what it is, and what to compare it with."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """A table: the first column is to the left, the others to the right. `strong` rows are set in bold."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    strong: Sequence[int] = ()
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A picture, uint8 [H, W, 3]. Wide ones take the page's width, others stand side by side.

    Embedded as PNG, or as JPEG (a tenth of the size) where `lossless` is false.
    """

    image: np.ndarray
    caption: str = ""
    wide: bool = True
    lossless: bool = True
    kind: str = "picture"

    @property
    def source(self) -> str:
        buffer = io.BytesIO()
        image = Image.fromarray(self.image)
        if self.lossless:
            image.save(buffer, "PNG", optimize=True)
        else:
            image.save(buffer, "JPEG", quality=88)
        return _data_url(buffer.getvalue(), "image/png" if self.lossless else "image/jpeg")

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Chart:
    """A matplotlib figure, embedded as SVG: sharp at any size."""

    figure: Figure
    caption: str = ""
    wide: bool = False
    kind: str = "chart"

    @property
    def source(self) -> str:
        buffer = io.BytesIO()
        # No date in the file: the same figures give the same report.
        self.figure.savefig(buffer, format="svg", metadata={"Date": None})
        return _data_url(buffer.getvalue(), "image/svg+xml")


@dataclass(frozen=True)
class Video:
    """A video or GIF file: embedded, or where it is larger than `LARGEST_VIDEO` linked, and then it has to lie in the
    folder of the report."""

    path: Path
    caption: str = ""
    kind: str = "video"

    @property
    def is_linked(self) -> bool:
        return Path(self.path).stat().st_size > LARGEST_VIDEO

    @property
    def name(self) -> str:
        return Path(self.path).name

    @property
    def source(self) -> str:
        if self.is_linked:
            return quote(self.name)
        suffix = Path(self.path).suffix
        return _data_url(Path(self.path).read_bytes(), "video/mp4" if suffix == ".mp4" else "image/gif")

    @property
    def is_image(self) -> bool:
        return Path(self.path).suffix == ".gif"


Block = Text | Table | Picture | Chart | Video


@dataclass(frozen=True)
class Section:
    """A titled part of the report. Blocks that are not wide and follow one another share a row."""

    title: str
    blocks: Sequence[Block]

    @property
    def rows(self) -> list[list[Block]]:
        """Blocks grouped for layout: neighbours that may stand side by side in one list."""
        groups: list[list[Block]] = []
        for block in self.blocks:
            narrow = isinstance(block, Picture | Chart) and not block.wide
            if narrow and groups and _is_narrow(groups[-1][-1]):
                groups[-1].append(block)
            else:
                groups.append([block])
        return groups


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        title, subtitle: at the top.
        figures: headline figures, four or so.
        sections: the rest, in order.
        command: what to type to make this report again.
        facts: (name, value) pairs for the foot of the page: checkpoint, seeds, machine.
    """

    title: str
    subtitle: str = ""
    figures: Sequence[Headline] = ()
    sections: Sequence[Section] = ()
    command: str = ""
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)


def _is_narrow(block: Block) -> bool:
    return isinstance(block, Picture | Chart) and not block.wide


def _data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def render_report(report: Report) -> str:
    """The report as HTML. Raises ImportError saying what to install where jinja2 is missing."""
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(f"reports need jinja2 and matplotlib; {how_to_install('report')}") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(report=report, version=__version__)


def write_report(path: str | Path, report: Report) -> Path:
    """Write the report as one HTML file, making its folder."""
    path = Path(path)
    html = render_report(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    return path
