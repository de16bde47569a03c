"""The HTML report: complete in itself, and safe for any text."""

import base64
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="reports need jinja2")
pytest.importorskip("matplotlib", reason="reports need matplotlib")

from spike_depth_core.evaluation import plots
from spike_depth_core.evaluation.pictures import write_video
from spike_depth_core.evaluation.report import (
    Chart,
    Headline,
    Picture,
    Report,
    Section,
    Table,
    Text,
    Video,
    write_report,
)


class Page(HTMLParser):
    """Collects sources, links and text, and checks that tags close in the order they opened."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, html):
        super().__init__()
        self.sources, self.words, self.open = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_report_is_complete_in_itself(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    video = write_video(tmp_path / "a.gif", [picture, picture], 5)
    chart = plots.lines("Reliability", {"a": (np.arange(3), np.arange(3))}, "x", "y", diagonal=True)
    nasty = "<script>alert(1)</script> & 'quotes'"
    blocks = [
        Text(nasty),
        Table(["method", "x"], [[nasty, "1"]], nasty, strong=[0]),
        Picture(picture, nasty),
        Picture(picture, wide=False, lossless=False),
        Chart(chart),
        Video(video),
    ]
    report = Report("Title", nasty, [Headline("1", nasty)], [Section(nasty, blocks)], "make " + nasty, [("a", nasty)])
    html = write_report(tmp_path / "new" / "report.html", report).read_text()
    page = Page(html)
    assert "<script" not in html
    assert "".join(page.words).count(nasty) == 9
    assert [source.partition(";")[0] for source in page.sources] == [
        "data:image/png",
        "data:image/jpeg",
        "data:image/svg+xml",
        "data:image/gif",
    ]
    assert not re.search(r"""(src|href)=["']?https?:|@import|url\(""", html)
    assert base64.b64decode(page.sources[3].partition(",")[2]) == video.read_bytes()


def test_a_large_video_is_linked_and_the_page_says_so(tmp_path):
    video = tmp_path / "drive #1.mp4"
    sizes = []
    for size, linked in ((16_000_000, False), (16_000_001, True)):
        with open(video, "wb") as file:
            file.truncate(size)
        path = write_report(tmp_path / "report.html", Report("Title", sections=[Section("a", [Video(video, "It.")])]))
        page = Page(path.read_text())
        sizes.append(path.stat().st_size)
        assert ("lies beside it" in "".join(page.words)) is linked
        if linked:
            assert "drive #1.mp4" in page.words
            assert [(tmp_path / unquote(source)).samefile(video) for source in page.sources] == [True, True]
    assert sizes[0] > 20_000_000 > 100_000 > sizes[1]


def test_long_timelines_are_thinned_such_that_peaks_stay():
    x = np.arange(36_000) / 30
    low, high = np.random.default_rng(0).uniform([[10], [20]], [[11], [21]], (2, 36_000))
    low[[7, 20_001]] = 0.5, 99.0
    high[30_000:31_000] = np.nan
    figure = plots.timeline("Latency", {"low": (x, low), "high": (x, high)}, "ms")
    assert figure.axes[0].get_xlabel() == "time (s); of 36 points each the lowest and the highest are drawn"
    for line, values in zip(figure.axes[0].lines, (low, high), strict=True):
        seconds, drawn = (np.asarray(part) for part in line.get_data())
        assert 1900 < len(drawn) <= 2000
        number = np.round(seconds * 30).astype(int)
        assert (np.diff(number) > 0).all()
        np.testing.assert_array_equal(drawn, values[number])
        for place, known in enumerate(values.reshape(1000, 36)):
            there = drawn[number // 36 == place]
            if np.isfinite(known).any():
                assert (np.nanmin(there), np.nanmax(there)) == (np.nanmin(known), np.nanmax(known))
            else:
                assert np.isnan(there).all()
    assert len(Chart(figure).source) < 1_000_000
    short = plots.timeline("Latency", {"": (x[:2000], low[:2000])}, "ms")
    assert short.axes[0].get_xlabel() == "time (s)"
    assert len(short.axes[0].lines[0].get_xdata()) == 2000


def test_narrow_blocks_share_a_row():
    picture = np.zeros((2, 2, 3), np.uint8)
    narrow, wide = Picture(picture, wide=False), Picture(picture)
    rows = Section("a", [narrow, narrow, wide, narrow, Text("b"), narrow]).rows
    assert [len(row) for row in rows] == [2, 1, 1, 1, 1]


def test_charts_leave_out_what_is_not_there():
    bars = plots.bars_by_group("t", ["near", "far"], {"a": [0.1, float("nan")], "b": [0.2, 0.3]}, "x", "y")
    heights = [patch.get_height() for patch in bars.axes[0].patches]
    assert heights == [0.1, 0.0, 0.2, 0.3]
    assert [text.get_text() for text in bars.axes[0].texts] == [".100", "", ".200", ".300"]
    left, _, _, right = bars.axes[0].patches
    assert left.get_x() < 0 < left.get_x() + 2 * left.get_width()  # beside another
    assert right.get_x() + right.get_width() / 2 == pytest.approx(1.0)  # alone in its group, in its middle
    lined = plots.bars_by_group("t", ["near", "far"], {"a": [0.1, 0.2]}, "x", "y", {"a": [0.05, float("nan")]})
    (reach,) = (c for c in lined.axes[0].collections if len(c.get_segments()) == 2)
    drawn, none = reach.get_segments()
    assert drawn[:, 1].tolist() == pytest.approx([0.05, 0.15])
    assert not len(none)
    counts = plots.histogram("t", {"a": np.array([1.0, np.nan, 2.0, np.inf])}, "x", marks={"p50": 1.5})
    assert sum(patch.get_height() for patch in counts.axes[0].patches) == 2
    plots.histogram("t", {"a": np.array([])}, "x")
    plots.timeline("t", {"a": (np.arange(3), np.arange(3))}, "ms", [(1.0, "drop")])
