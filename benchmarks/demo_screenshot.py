"""Draw docs/demo.webp: the page of `bincodec demo` after a photo, a painted hole and a few drawings.

python benchmarks/demo_screenshot.py [--width 1100] [-o OUT]

Needs the extra bincodec[demo], the packages scikit-image and selenium, and chromium with chromedriver
(Debian: chromium-driver). The photo is that of the scikit-image package: astronaut (NASA, public domain).
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import skimage.data
from page_screenshot import browser, picture, save
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from bincodec import Codec
from bincodec.eval import demo_server

OUT = Path(__file__).resolve().parents[1] / "docs" / "demo.webp"
WIDTH = 1240
"""Of the page, in pixels."""

DRAWN = ("dress", "pants", "shorts", "skirt", "tshirt")


@contextmanager
def served() -> Iterator[str]:
    """The page at an address of this machine."""
    server = demo_server.server(Codec.load("photo"), Codec.load("clothing"), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{demo_server.ADDRESS}:{server.port}/"
    finally:
        server.shutdown()
        thread.join()


def use(chrome: webdriver.Chrome, photo: Path) -> None:
    """Choose a photo and a low quality, paint over part of the badge, fill it, and draw clothes."""
    wait = WebDriverWait(chrome, 120)
    wait.until(lambda _: chrome.find_element("id", "class").text)
    chrome.find_element("id", "file").send_keys(str(photo))
    last = chrome.execute_script("return state.setup.beside.at(-1)")
    settled = f"return document.getElementById('row-{last}')?.cells[4].innerText"
    wait.until(lambda _: chrome.find_element("id", "quality").is_displayed())
    quality = chrome.find_element("id", "quality")
    quality.send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * 30)
    wait.until(lambda _: "setting 30" in chrome.find_element("id", "facts").text)
    wait.until(lambda _: chrome.execute_script(settled))
    chrome.execute_script("document.getElementById('inpaint').scrollIntoView({behavior: 'instant'})")
    mask = chrome.find_element("id", "mask")
    width, height = mask.size["width"], mask.size["height"]
    stroke = ActionChains(chrome).move_to_element_with_offset(mask, width // 10, height // 6).click_and_hold()
    stroke.move_by_offset(width // 20, 0).release().perform()
    chrome.find_element("id", "fill").click()
    wait.until(lambda _: chrome.find_element("id", "filled").is_displayed())
    for number, name in enumerate(DRAWN, 1):
        Select(chrome.find_element("id", "class")).select_by_visible_text(name)
        chrome.find_element("id", "draw").click()
        images = f"return document.querySelectorAll('#drawings img').length === {number}"
        wait.until(lambda _, images=images: chrome.execute_script(images))


def main() -> None:
    """Use the page, look, and save what is seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=1100, help="of the result, in pixels")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served() as address, browser() as chrome:
        photo = Path(folder) / "astronaut.png"
        Image.fromarray(skimage.data.astronaut()).save(photo)
        size = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chrome.get(address)
        use(chrome, photo)
        bottom = chrome.execute_script("return document.documentElement.scrollHeight")
        seen = picture(chrome, 0, WIDTH, bottom)
    save(seen, arguments.width, arguments.output, quality=80)


if __name__ == "__main__":
    main()
