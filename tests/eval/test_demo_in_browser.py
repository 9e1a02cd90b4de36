"""What a person does on the demonstration page, in headless Chromium."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import bincodec
from bincodec.defaults import DEFAULT_QUALITY
from bincodec.eval import demo, demo_server

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

Visit = Callable[["Chrome", str], None]


@contextmanager
def served(codec: bincodec.Codec, artist: bincodec.Codec) -> Iterator[str]:
    """The address of a page that is served meanwhile."""
    server = demo_server.server(codec, artist, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{demo_server.ADDRESS}:{server.port}/"
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def address(codec: bincodec.Codec, bits_model: Path) -> Iterator[str]:
    with served(codec, bincodec.Codec.load(bits_model)) as found:
        yield found


@pytest.fixture
def chrome(browser: Chrome, address: str, visit: Visit) -> Iterator[Chrome]:
    """The page, open; whatever was done on it, nothing may have been logged or asked of somebody else."""
    browser.set_window_size(1100, 1400)
    visit(browser, address)
    until(lambda: one(browser, "#class").text)
    yield browser
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert all(name.startswith((address, "data:")) for name in browser.execute_script(script))


def until(check: Callable[[], Any]) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(None, 30, poll_frequency=0.05).until(lambda _: check())  # type: ignore[type-var]


def one(chrome: Chrome, selector: str) -> WebElement:
    return chrome.find_element("css selector", selector)


def row(chrome: Chrome, name: str) -> list[str]:
    """A codec's setting, bytes, bits per pixel and PSNR, once they are there."""
    script = "return Array.from(document.getElementById(arguments[0]).cells, (cell) => cell.innerText)"
    until(lambda: one(chrome, "#coded").is_displayed() and chrome.execute_script(script, f"row-{name}")[-1])
    return list(chrome.execute_script(script, f"row-{name}")[1:])


def numbers(shown: demo.Shown) -> list[str]:
    return [str(shown.setting), str(shown.size), f"{shown.bits_per_pixel:.3f}", f"{shown.psnr:.2f}"]


def pixels(chrome: Chrome, selector: str) -> Any:
    source = one(chrome, selector).get_attribute("src") or ""
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def choose(chrome: Chrome, path: Path) -> None:
    one(chrome, "#file").send_keys(str(path))


def test_a_photo_is_compressed_beside_others(
    chrome: Chrome, photos: list[Path], codec: bincodec.Codec
) -> None:
    from selenium.webdriver import Keys

    choose(chrome, photos[0])
    eye = demo.read(photos[0].read_bytes())
    whole = demo.compress(codec, eye, DEFAULT_QUALITY)
    until(lambda: one(chrome, "#facts").text.startswith(f"bincodec, setting {DEFAULT_QUALITY}: "))
    assert row(chrome, "bincodec") == numbers(demo.decode(codec, whole, 3))
    for name in demo.BESIDE:
        assert row(chrome, name) == numbers(demo.beside(name, eye, len(whole.data)))
    assert (pixels(chrome, "#original") == eye).all()
    assert not one(chrome, "#realism").is_displayed()

    one(chrome, "#layers").send_keys(Keys.HOME)
    coarse = demo.decode(codec, whole, 1)
    until(lambda: f": {coarse.size} bytes, " in one(chrome, "#facts").text)
    assert (pixels(chrome, "#result") == coarse.pixels).all()
    one(chrome, "#layers").send_keys(Keys.END)

    one(chrome, "#quality").send_keys(Keys.END)
    finest = demo.decode(codec, demo.compress(codec, eye, 100), 3)
    until(lambda: "setting 100: " in one(chrome, "#facts").text)
    assert row(chrome, "bincodec") == numbers(finest)
    assert one(chrome, "#quality-value").text == "100"

    one(chrome, "label:has(input[name=right][value=webp])").click()
    until(lambda: one(chrome, "#facts").text.startswith("webp, setting "))
    assert (pixels(chrome, "#result") == demo.beside("webp", eye, finest.size).pixels).all()


def test_invented_detail_is_offered_by_models_that_have_it(
    browser: Chrome, two_decoders: Path, photos: list[Path], visit: Visit
) -> None:
    from selenium.webdriver import Keys

    codec = bincodec.Codec.load(str(two_decoders))
    with served(codec, codec) as address:
        visit(browser, address)
        until(lambda: one(browser, "#artist").text)
        choose(browser, photos[0])
        row(browser, "avif")
        file = demo.compress(codec, demo.read(photos[0].read_bytes()), DEFAULT_QUALITY)
        one(browser, "#realism").send_keys(Keys.END)
        sharp = demo.decode(codec, file, 3, 100)
        until(lambda: row(browser, "bincodec") == numbers(sharp))
        assert one(browser, "#realism-value").text == "100"
        assert one(browser, "#facts").text.endswith(" dB, 100 % invented detail")
        assert (pixels(browser, "#result") == sharp.pixels).all()


def test_bits_and_boundary_are_shown(chrome: Chrome, photos: list[Path]) -> None:
    from selenium.webdriver import ActionChains

    choose(chrome, photos[0])
    row(chrome, "avif")
    assert not one(chrome, "#heat").is_displayed()
    one(chrome, "label:has(#heat-shown)").click()
    assert one(chrome, "#heat").is_displayed()
    assert pixels(chrome, "#heat").shape == (48, 64, 3)
    over, stage = one(chrome, "#over"), one(chrome, "#stage")
    assert "50%" in over.value_of_css_property("clip-path")
    ActionChains(chrome).move_to_element_with_offset(stage, -stage.size["width"] // 4, 0).click().perform()
    left = float(over.value_of_css_property("clip-path").split("%")[0].split()[-1])
    assert left == pytest.approx(25, abs=3)


def test_a_hole_is_painted_and_filled(chrome: Chrome, photos: list[Path]) -> None:
    from selenium.webdriver import ActionChains

    choose(chrome, photos[0])
    row(chrome, "avif")  # The last answer: nothing moves on the page any more.
    eye, button = demo.read(photos[0].read_bytes()), one(chrome, "#fill")
    assert not button.is_enabled()
    chrome.execute_script("document.getElementById('brush').value = 12")
    chrome.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", one(chrome, "#inpaint"))
    hold = ActionChains(chrome).move_to_element_with_offset(one(chrome, "#mask"), -6, 0).click_and_hold()
    hold.move_by_offset(12, 0).release().perform()
    until(button.is_enabled)
    button.click()
    until(lambda: one(chrome, "#filled").is_displayed())
    filled = pixels(chrome, "#filled")
    assert filled.shape == eye.shape
    assert (filled[:, :10] == eye[:, :10]).all()
    assert (filled[20:28, 26:38] != eye[20:28, 26:38]).any()
    one(chrome, "#clear").click()
    assert not button.is_enabled()


def test_a_class_is_drawn(chrome: Chrome) -> None:
    from selenium.webdriver.support.ui import Select

    Select(one(chrome, "#class")).select_by_visible_text("dog")
    for seed in (1, 2):
        one(chrome, "#draw").click()
        until(lambda seed=seed: f"dog, seed {seed}" in one(chrome, "#drawings").text)
        until(one(chrome, "#draw").is_enabled)
    assert len(chrome.find_elements("css selector", "#drawings img")) == 2


def test_what_is_no_picture_is_told(browser: Chrome, address: str, tmp_path: Path, visit: Visit) -> None:
    path = tmp_path / "note.png"
    path.write_text("not a picture")
    visit(browser, address)
    until(lambda: one(browser, "#class").text)
    choose(browser, path)
    until(lambda: one(browser, "#alert").is_displayed())
    assert "not an image in a known format" in one(browser, "#alert").text
    assert not one(browser, "#coded").is_displayed()
    browser.get_log("browser")  # type: ignore[no-untyped-call]


def test_an_error_stays_until_something_newer_works(
    browser: Chrome, address: str, photos: list[Path], tmp_path: Path, visit: Visit
) -> None:
    path = tmp_path / "note.png"
    path.write_text("not a picture")
    visit(browser, address)
    until(lambda: one(browser, "#class").text)
    choose(browser, photos[0])
    choose(browser, path)
    until(lambda: one(browser, "#alert").is_displayed())
    # What was asked before the error is answered after it.
    choose(browser, photos[0])
    row(browser, "avif")
    until(lambda: not one(browser, "#alert").is_displayed())
    browser.execute_script("state.told -= 1; told(() => Promise.reject(new Error('late')))")
    until(lambda: one(browser, "#alert").text == "late")
    browser.get_log("browser")  # type: ignore[no-untyped-call]


def test_a_codec_that_fails_stops_no_other(
    browser: Chrome, address: str, photos: list[Path], visit: Visit
) -> None:
    visit(browser, address)
    until(lambda: one(browser, "#class").text)
    browser.execute_script(
        "const honest = ask;"
        "ask = (path, body) => path.includes('/jpeg') ? Promise.reject(new Error('no')) : honest(path, body)"
    )
    choose(browser, photos[0])
    row(browser, "avif")
    until(lambda: one(browser, "#alert").text == "no")
    assert one(browser, "#row-jpeg").text == "jpeg not available"
    one(browser, "label:has(input[name=right][value=jpeg])").click()
    until(lambda: one(browser, "#facts").text == "jpeg: not available")
    browser.get_log("browser")  # type: ignore[no-untyped-call]


def test_the_page_fits_a_narrow_window(chrome: Chrome, photos: list[Path]) -> None:
    from selenium.webdriver import Keys

    choose(chrome, photos[0])
    row(chrome, "avif")
    chrome.execute_cdp_cmd(  # type: ignore[no-untyped-call]
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        assert chrome.execute_script("return document.documentElement.scrollWidth") == 360
        one(chrome, "#boundary").send_keys(Keys.ARROW_RIGHT)
        assert one(chrome, "#stage").value_of_css_property("outline-style") == "solid"
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})  # type: ignore[no-untyped-call]
