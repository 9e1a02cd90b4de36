"""A small run from which pages are made: three codecs, two images (one of a hostile name), one curve."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from bincodec.eval.page import Comparison, Picture, page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=2'> & \"q\" {{style}}.png"
)
"""An image name full of markup. It must be shown literally and do nothing."""
IMAGES = ("photos/one.png", f"photos/{HOSTILE}")
METRICS = {
    "psnr": {"label": "PSNR", "unit": "dB", "higher_is_better": True, "about": "over R, G and B"},
    "ms_ssim": {"label": "MS-SSIM", "unit": "", "higher_is_better": True, "about": "over R, G and B"},
    "lpips": {"label": "LPIPS", "unit": "", "higher_is_better": False, "about": "AlexNet"},
}
GRIDS = {"bincodec:layers=3": (10, 40, 70, 100), "jpeg": (20, 50, 80, 95), "webp": (5, 35, 65, 90)}
PSNR = {"bincodec:layers=3": 27.125, "jpeg": 24.25, "webp": 25.5}


def row(image: str, codec: str, step: int) -> dict[str, Any]:
    rate = 0.125 * 2**step * (1.0 if image == IMAGES[0] else 1.5)
    value = PSNR[codec] + 3 * step + (0.0 if image == IMAGES[0] else 0.5)
    return {
        "image": image,
        "codec": codec,
        "setting": GRIDS[codec][step],
        "width": 60,
        "height": 40,
        "bytes": round(rate * 60 * 40 / 8),
        "bits_per_pixel": rate,
        "psnr": value,
        "ms_ssim": 1 - 10 ** (-value / 25),
        "lpips": None if image == IMAGES[1] else 0.4 - step / 10,
        "encode_seconds": 0.011 * (step + 1),
        "decode_seconds": 0.002,
    }


def bd(codec: str, metric: str, percent: float | None, reason: str | None = None) -> dict[str, Any]:
    entry = {"codec": codec, "metric": metric, "anchor": "jpeg", "rate_percent": percent, "reason": reason}
    values = {"low": 24.25, "high": 33.5, "bits_per_pixel": [0.125, 1.25], "gain_db": 2.5}
    return entry | (dict.fromkeys(values) if percent is None else values)


def report(**changes: Any) -> dict[str, Any]:
    rows = [row(image, codec, step) for image in IMAGES for codec in GRIDS for step in range(4)]
    means = []
    for first, second in zip(rows[:12], rows[12:], strict=True):
        same = {name: first[name] for name in ("codec", "setting")}
        mean = {name: (first[name] + second[name]) / 2 for name in ("bits_per_pixel", "psnr", "ms_ssim")}
        means.append({**same, "images": 2, "lpips": None, **mean})
    points = {"psnr": [[0.125, 28.0], [0.5, 33.0], [1.5, 39.0]], "ms_ssim": [[0.125, 0.95], [0.5, 0.98]]}
    content = {
        "schema": 2,
        "anchor": "jpeg",
        "codecs": {codec: f"about {codec}" for codec in GRIDS},
        "metrics": METRICS,
        "rows": rows,
        "failures": [{"image": "photos/bad.png", "reason": "not an image", "codec": None, "setting": None}],
        "skipped": ["jxl needs the package pillow-jxl-plugin: pip install 'bincodec[eval]'"],
        "means": means,
        "dropped": [{"codec": "webp", "setting": 99, "images": 1, "total": 2}],
        "bd": [
            bd("webp", "psnr", -21.5),
            bd("bincodec:layers=3", "psnr", -48.54),
            bd("Nearest <kin>", "psnr", None, "spans a factor of 2.1 in rate, less than 3"),
            bd("webp", "ms_ssim", 3.25),
        ],
        "curves": [{"name": "Nearest <kin>", "source": "https://example.org/paper", "points": points}],
        "comparisons": [],
    }
    return {**content, **changes}


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(buffer, "PNG")
    return buffer.getvalue()


def comparisons() -> list[Comparison]:
    """The colours of the codecs: bincodec is red, JPEG green and WebP blue."""
    pictures = (
        Picture("bincodec:layers=3", 40, 1234, 0.251, 30.125, png((200, 0, 0))),
        Picture("jpeg", 50, 1250, 0.254, 27.25, png((0, 200, 0))),
        Picture("webp", 35, 1240, 0.252, 28.5, png((0, 0, 200))),
    )
    grey = png((99, 99, 99))
    return [Comparison(image, 60, 40, rate, grey, pictures) for image in IMAGES for rate in (0.25, 0.5)]


@dataclass(frozen=True)
class Sample:
    """The run. `report(failures=[])` is its report with other failures, and `text` is its page."""

    hostile: str
    images: tuple[str, ...]
    report: Callable[..., dict[str, Any]]
    comparisons: list[Comparison]
    text: str


@pytest.fixture(scope="session")
def sample() -> Sample:
    return Sample(HOSTILE, IMAGES, report, comparisons(), page(report(), comparisons()))


@pytest.fixture
def opened(
    browser: Chrome, sample: Sample, tmp_path: Path, visit: Callable[[Chrome, str], None]
) -> Iterator[Callable[..., Chrome]]:
    """Open a page at a width. At the end, nothing may have been logged or fetched."""

    from selenium.webdriver.support.ui import WebDriverWait

    def open_page(width: int = 1280, height: int = 900, html: str = sample.text) -> Chrome:
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < 600})
        visit(browser, (tmp_path / "page.html").as_uri())
        drawn = "return document.querySelectorAll('.scatterlayer .trace').length"
        WebDriverWait(browser, 60).until(lambda _: browser.execute_script(drawn))
        return browser

    yield open_page
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert browser.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)") == []
    assert browser.execute_script("return window.hacked ?? null") is None
