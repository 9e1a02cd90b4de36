"""Draw docs/page.webp: the page of `bincodec eval rd` on three photos, on a desktop and on a phone.

python benchmarks/page_screenshot.py [--model photo] [--width 1600] [-o OUT]

The script needs the packages scikit-image and selenium, and chromium with chromedriver (Debian:
chromium-driver). The photos come from the scikit-image package: astronaut (NASA, public domain), coffee
(Rachel Michetti, CC0) and chelsea (Stefan van der Walt, CC0).
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import skimage.data
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.support.ui import Select, WebDriverWait

from bincodec.cli.eval import command

OUT = Path(__file__).resolve().parents[1] / "docs" / "page.webp"
PHOTOS = ("astronaut", "coffee", "chelsea")
CODECS = ("bincodec", "jpeg", "webp", "avif:tune=psnr")

# Widths in pixels of the page. The phone is beside the two sections of the desktop and as tall as they are.
DESK, PHONE, GAP = 1240, 390, 36
PAPER = "#d7dce4"


def report(folder: Path, model: str) -> Path:
    """Measure the photos, and return the path of the page."""
    paths = [folder / f"{name}.png" for name in PHOTOS]
    for path in paths:
        Image.fromarray(getattr(skimage.data, path.stem)()).convert("RGB").save(path)
    codecs = [part for codec in CODECS for part in ("--codec", codec)]
    options = ["--model", model, "--compare", "0.2,0.4", "-o", str(folder / "out")]
    arguments = ["rd", *map(str, paths), *codecs, *options]
    command.main(arguments, "bincodec eval", standalone_mode=False)
    return folder / "out" / "report.html"


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Yield a headless Chromium."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        msg = "chromium and chromedriver must be on PATH (Debian: apt-get install chromium-driver)"
        raise SystemExit(msg)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars", "force-prefers-reduced-motion"):
        options.add_argument(f"--{flag}")
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome


def opened(chrome: webdriver.Chrome, page: Path, width: int, height: int) -> None:
    """Open the page at a size, and wait until its curves are drawn."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < DESK}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < DESK})
    chrome.get(page.as_uri())
    drawn = "return document.querySelectorAll('.scatterlayer .trace').length"
    WebDriverWait(chrome, 60).until(lambda _: chrome.execute_script(drawn))


def picture(chrome: webdriver.Chrome, top: float, width: int, height: float) -> Image.Image:
    """Return a picture of a part of the page, which need not be in view."""
    clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
    options = {"format": "png", "clip": clip, "captureBeyondViewport": True}
    data = base64.b64decode(chrome.execute_cdp_cmd("Page.captureScreenshot", options)["data"])
    return Image.open(io.BytesIO(data)).convert("RGB")


def desk(chrome: webdriver.Chrome, page: Path) -> list[Image.Image]:
    """Return pictures of the curves with the values of one point, and of the enlarged comparison."""
    opened(chrome, page, DESK, 1000)
    point = chrome.find_elements("css selector", ".scatterlayer .trace:first-child .point")[2]
    ActionChains(chrome).move_to_element(point).perform()
    curves = chrome.find_element("id", "curves").rect
    # This captures only what is in view. A larger capture would move the pointer away.
    top = Image.open(io.BytesIO(chrome.get_screenshot_as_png())).convert("RGB")
    top = top.crop((0, 0, DESK, round(curves["y"] + curves["height"] + 12)))
    Select(chrome.find_element("id", "picture-image")).select_by_visible_text("coffee.png")
    chrome.find_element("css selector", "label:has(input[name=zoom][value='2'])").click()
    section = chrome.find_element("id", "comparison").rect
    return [top, picture(chrome, section["y"] - 12, DESK, section["height"] + 24)]


def sheet(page: Path) -> Image.Image:
    """Return all parts on one sheet."""
    with browser() as chrome:
        parts = desk(chrome, page)
        height = sum(part.height for part in parts)
        opened(chrome, page, PHONE, 844)
        parts.append(picture(chrome, 0, PHONE, height))
    result = Image.new("RGB", (DESK + PHONE + 3 * GAP, height + 2 * GAP), PAPER)
    result.paste(parts[0], (GAP, GAP))
    result.paste(parts[1], (GAP, GAP + parts[0].height))
    result.paste(parts[2], (DESK + 2 * GAP, GAP))
    return result


def save(seen: Image.Image, width: int, output: Path, quality: int) -> None:
    """Write a screenshot as WebP, `width` pixels wide, and print its size."""
    height = round(seen.height * width / seen.width)
    seen.resize((width, height), Image.Resampling.LANCZOS).save(
        output, optimize=True, quality=quality, method=6
    )
    print(f"{output}: {width} x {height}, {output.stat().st_size:,} bytes")


def main() -> None:
    """Measure the photos, take the pictures, and save the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="photo")
    parser.add_argument("--width", type=int, default=1600, help="of the result, in pixels")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = sheet(report(Path(folder), arguments.model))
    save(seen, arguments.width, arguments.output, quality=85)


if __name__ == "__main__":
    main()
