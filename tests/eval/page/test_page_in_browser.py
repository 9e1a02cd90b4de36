"""The page in headless Chromium, as a person sees and uses it."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from bincodec.eval.page import page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


Open = Callable[..., "Chrome"]


def until(check: Callable[[], Any]) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(None, 60, poll_frequency=0.1).until(lambda _: check())  # type: ignore[type-var]


def one(chrome: Chrome, selector: str) -> WebElement:
    return chrome.find_element("css selector", selector)


def choose(chrome: Chrome, selector: str, label: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(one(chrome, selector)).select_by_visible_text(label)


def press(chrome: Chrome, name: str, value: str) -> None:
    """Choose a radio button by its label, as a person would."""
    one(chrome, f"label:has(input[name={name}][value='{value}'])").click()


def curves(chrome: Chrome) -> list[WebElement]:
    return chrome.find_elements("css selector", "#plot .scatterlayer .trace")


def table(chrome: Chrome, name: str) -> list[list[str]]:
    """Return the texts of a table's body, row by row."""
    script = "return Array.from(arguments[0].rows, (row) => Array.from(row.cells, (c) => c.innerText.trim()))"
    return chrome.execute_script(script, one(chrome, f"#{name} tbody"))


def ticks(chrome: Chrome) -> list[str]:
    return [tick.text for tick in chrome.find_elements("css selector", "#plot .xaxislayer-above .xtick text")]


def test_curves_are_there_and_show_their_values(opened: Open) -> None:
    from selenium.webdriver import ActionChains

    chrome = opened()
    assert len(curves(chrome)) == 4
    lines = [curve.find_element("css selector", ".js-line") for curve in curves(chrome)]
    dashed = [line.value_of_css_property("stroke-dasharray") != "none" for line in lines]
    assert dashed == [False, False, False, True]
    assert len({line.value_of_css_property("stroke") for line in lines}) == 4
    legend = [label.text for label in chrome.find_elements("css selector", "#legend label")]
    assert legend == ["bincodec:layers=3", "jpeg", "webp", "Nearest <kin>"]
    readout = one(chrome, "#readout")
    assert not readout.is_displayed()
    point = curves(chrome)[0].find_elements("css selector", ".point")[1]
    ActionChains(chrome).move_to_element(point).perform()
    until(readout.is_displayed)
    expected = ["bincodec:layers=3", "setting 40, mean of 2 images", "0.313 bits per pixel", "PSNR 30.38 dB"]
    assert readout.text.splitlines() == expected
    ActionChains(chrome).move_to_element(one(chrome, "h1")).perform()
    until(lambda: not readout.is_displayed())


def test_a_codec_can_be_switched_off_and_on(opened: Open) -> None:
    chrome = opened()
    box = one(chrome, "#legend label:nth-child(2) input")
    box.click()
    until(lambda: len(curves(chrome)) == 3)
    box.click()
    until(lambda: len(curves(chrome)) == 4)
    one(chrome, "#show-none").click()
    until(lambda: len(curves(chrome)) == 0)
    one(chrome, "#legend label:nth-child(4) input").click()
    until(lambda: len(curves(chrome)) == 1)
    one(chrome, "#show-all").click()
    until(lambda: len(curves(chrome)) == 4)


def test_axis_metric_and_image_can_be_chosen(opened: Open) -> None:
    chrome = opened()
    title = one(chrome, "#plot .ytitle")
    assert title.text == "PSNR, dB"
    steps = [float(tick) for tick in ticks(chrome)]
    assert len({round(after - before, 6) for before, after in itertools.pairwise(steps)}) == 1
    press(chrome, "axis", "log")
    until(lambda: ticks(chrome) == ["0.2", "0.5", "1"])
    press(chrome, "axis", "linear")
    until(lambda: [float(tick) for tick in ticks(chrome)] == steps)
    choose(chrome, "#metric", "MS-SSIM")
    until(lambda: one(chrome, "#plot .ytitle").text.startswith("MS-SSIM, −10 log"))
    choose(chrome, "#metric", "LPIPS")
    choose(chrome, "#curves-image", "one.png")
    # The published curve has no LPIPS, and is a mean over other images.
    until(lambda: one(chrome, "#plot .ytitle").text == "LPIPS (lower is better)" and len(curves(chrome)) == 3)
    assert "left out for a single image" in one(chrome, "#curves-note").text


def test_bd_rates_stand_with_their_range_or_their_reason(opened: Open) -> None:
    chrome = opened()
    assert table(chrome, "bd-table") == [
        ["bincodec:layers=3", "−48.5 %", "", "+2.50 dB", "24.25 to 33.50 dB", "0.125 to 1.250"],
        ["webp", "−21.5 %", "", "+2.50 dB", "24.25 to 33.50 dB", "0.125 to 1.250"],
        ["Nearest <kin>", "no number: spans a factor of 2.1 in rate, less than 3"],
    ]
    assert one(chrome, "#bd-table caption").text == "Against jpeg, at equal PSNR"
    choose(chrome, "#bd select", "MS-SSIM")
    assert [cells[:2] for cells in table(chrome, "bd-table")] == [["webp", "+3.3 %"]]
    assert one(chrome, "#metric").get_attribute("value") == "ms_ssim"


def test_files_can_be_chosen_and_sorted(opened: Open, sample: Any) -> None:
    chrome = opened()
    assert len(table(chrome, "files-table")) == 12
    choose(chrome, "#files-image", "all, one by one")
    assert len(table(chrome, "files-table")) == 24
    choose(chrome, "#files-image", sample.hostile)
    rows = table(chrome, "files-table")
    assert {cells[0] for cells in rows} == {sample.hostile}
    assert {cells[7] for cells in rows} == {"–"}
    choose(chrome, "#files-codec", "jpeg")
    settings = ["20", "50", "80", "95"]
    for order, expected in (("ascending", settings), ("descending", settings[::-1])):
        one(chrome, "#files-table button[data-column=psnr]").click()
        assert [cells[2] for cells in table(chrome, "files-table")] == expected
        heading = one(chrome, "#files-table th:has(button[data-column=psnr])")
        assert heading.get_attribute("aria-sort") == order
    assert one(chrome, "#files-count").text == "4 rows"


def test_failures_and_sources_are_named(opened: Open, sample: Any) -> None:
    chrome = opened()
    assert one(chrome, "#alert").text == "1 result failed; what is missing, and why"
    assert table(chrome, "failures-table") == [["bad.png", "all", "–", "not an image"]]
    assert ["codec", "jpeg", "about jpeg"] in table(chrome, "about-table")
    assert one(chrome, "#skipped").text.startswith("Skipped: jxl needs the package")
    assert one(chrome, "#dropped").text == "Without means, as images failed there: webp 99 (1 of 2)."
    assert one(chrome, "#about-table a").get_attribute("href") == "https://example.org/paper"
    # Without failures and pictures, the page has no section for them.
    chrome = opened(html=page(sample.report(failures=[])))
    assert not one(chrome, "#alert").is_displayed()
    assert not one(chrome, "#failures").is_displayed()
    assert not one(chrome, "#comparison").is_displayed()


def clip(chrome: Chrome) -> float:
    """Return where the right picture begins, in percent of the width."""
    found = re.search(r"([\d.]+)%\)$", one(chrome, "#right-layer").value_of_css_property("clip-path"))
    assert found
    return float(found[1])


def test_the_boundary_follows_pointer_and_keys(opened: Open) -> None:
    from selenium.webdriver import ActionChains, Keys

    chrome = opened()
    stage, boundary = one(chrome, "#stage"), one(chrome, "#boundary")
    assert clip(chrome) == 50
    width = stage.size["width"]
    ActionChains(chrome).click_and_hold(boundary).move_by_offset(-width // 4, 5).release().perform()
    assert clip(chrome) == pytest.approx(25, abs=0.5)
    middle = boundary.rect["x"] + boundary.rect["width"] / 2
    assert middle == pytest.approx(stage.rect["x"] + width / 4, abs=2)
    # The two pictures are visible to the left and to the right of it.
    shot = Image.open(io.BytesIO(stage.screenshot_as_png)).convert("RGB")
    third = shot.height // 3
    assert shot.getpixel((shot.width // 8, third)) == (0, 200, 0)
    assert shot.getpixel((shot.width * 3 // 4, third)) == (200, 0, 0)
    ActionChains(chrome).send_keys(Keys.ARROW_RIGHT).perform()
    assert clip(chrome) == pytest.approx(27, abs=0.5)
    assert boundary.get_attribute("aria-valuenow") == "27"
    ActionChains(chrome).send_keys(Keys.END).perform()
    assert clip(chrome) == 100
    ActionChains(chrome).send_keys(Keys.PAGE_DOWN, Keys.ARROW_LEFT).perform()
    assert clip(chrome) == pytest.approx(88)


def test_pictures_are_chosen_and_described(opened: Open, sample: Any) -> None:
    chrome = opened()
    facts = ["setting 50", "1,250 bytes", "0.254 bpp", "PSNR 27.25 dB"]
    assert one(chrome, "#caption-left").text.split("\n")[0] == "jpeg"
    for fact in facts:
        assert fact in one(chrome, "#caption-left").text
    assert one(chrome, "#caption-right").text.startswith("bincodec:layers=3")
    one(chrome, "#swap").click()
    assert one(chrome, "#caption-right").text.startswith("jpeg")
    choose(chrome, "#picture-left", "original")
    choose(chrome, "#picture-target", "0.500 bpp")
    choose(chrome, "#picture-image", sample.hostile)
    # The choice is kept for another image and target.
    assert one(chrome, "#left").get_attribute("alt") == f"{sample.hostile}, original"
    assert one(chrome, "#right").get_attribute("alt") == f"{sample.hostile}, jpeg"
    assert one(chrome, "#picture-target").get_attribute("value") == "0.5"


def box(chrome: Chrome, selector: str) -> dict[str, float]:
    """Return where an element is seen, including transforms."""
    script = "return arguments[0].getBoundingClientRect().toJSON()"
    seen = chrome.execute_script(script, one(chrome, selector))
    return {name: seen[name] for name in ("x", "y", "width", "height")}


def test_zoom_and_moving_the_view(opened: Open) -> None:
    from selenium.webdriver import ActionChains, Keys

    chrome = opened()
    frame = box(chrome, "#stage")
    for zoom in (2, 4):
        press(chrome, "zoom", str(zoom))
        assert box(chrome, "#left")["width"] == pytest.approx(zoom * frame["width"])
        assert box(chrome, "#right") == box(chrome, "#left")
        # The middle stays in the middle.
        assert box(chrome, "#left")["x"] == pytest.approx(frame["x"] - (zoom - 1) * frame["width"] / 2)
    # This scrolls to where the element begins.
    ActionChains(chrome).move_to_element_with_offset(one(chrome, "#stage"), 100, 50).perform()
    before = box(chrome, "#left")
    ActionChains(chrome).click_and_hold().move_by_offset(60, 30).release().perform()
    assert box(chrome, "#left")["x"] == pytest.approx(before["x"] + 60, abs=2)
    assert box(chrome, "#left")["y"] == pytest.approx(before["y"] + 30, abs=2)
    assert clip(chrome) == 50
    ActionChains(chrome).send_keys(Keys.ARROW_LEFT).perform()
    assert box(chrome, "#left")["x"] > before["x"] + 65
    # The picture never leaves its frame.
    ActionChains(chrome).send_keys(Keys.ARROW_LEFT * 60).perform()
    assert box(chrome, "#left")["x"] == pytest.approx(box(chrome, "#stage")["x"], abs=1)
    press(chrome, "zoom", "1")
    assert box(chrome, "#left") == pytest.approx(box(chrome, "#stage"))


def test_it_fits_a_phone(opened: Open) -> None:
    chrome = opened(390, 844)
    size = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert chrome.execute_script(size) == [390, 390]
    assert len(curves(chrome)) == 4
    controls = chrome.find_elements("css selector", "nav a, button, select, label:has(input)")
    sizes = [(control.text, control.size) for control in controls if control.is_displayed()]
    assert len(sizes) > 20
    assert [entry for entry in sizes if min(entry[1]["width"], entry[1]["height"]) < 44] == []
    # The tables are wider than the screen, and scroll in boxes of their own.
    choose(chrome, "#files-image", "all, one by one")
    inner, outer = chrome.execute_script(
        "const box = document.querySelector('#files .scroll'); return [box.scrollWidth, box.clientWidth]"
    )
    assert inner > outer
    assert chrome.execute_script(size) == [390, 390]


def swipe(chrome: Chrome, x: float, y: float, by_x: float = 0, by_y: float = 0) -> None:
    """Put a finger down, move it in ten steps and lift it. Without a distance, this is a tap."""

    def send(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": across, "y": down} for across, down in points]
        chrome.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    send("touchStart", (x, y))
    for step in range(1, 11) if by_x or by_y else ():
        send("touchMove", (x + by_x * step / 10, y + by_y * step / 10))
    send("touchEnd")


def test_it_works_by_finger(opened: Open) -> None:
    chrome = opened(390, 844)
    into_view = "arguments[0].scrollIntoView({ block: 'center' })"
    chrome.execute_script(into_view, one(chrome, "#plot"))
    point = chrome.execute_script(
        "return arguments[0].getBoundingClientRect().toJSON()",
        curves(chrome)[0].find_elements("css selector", ".point")[2],
    )
    tapped = (point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    before = ticks(chrome)
    swipe(chrome, *tapped)
    until(one(chrome, "#readout").is_displayed)
    assert "setting 70" in one(chrome, "#readout").text
    assert ticks(chrome) == before
    # A horizontal move changes the boundary. A vertical move scrolls the page and keeps the boundary.
    chrome.execute_script(into_view, one(chrome, "#stage"))
    frame = box(chrome, "#stage")
    middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    swipe(chrome, *middle, by_x=-frame["width"] / 4)
    until(lambda: clip(chrome) == pytest.approx(25, abs=1))
    seen = chrome.execute_script("return scrollY")
    swipe(chrome, frame["x"] + frame["width"] * 0.8, middle[1], by_y=-150)
    until(lambda: chrome.execute_script("return scrollY") > seen + 50)
    assert clip(chrome) == pytest.approx(25, abs=1)


def test_the_network_is_out_of_reach(opened: Open) -> None:
    chrome = opened()
    script = """
const done = arguments[0], seen = [];
document.addEventListener("securitypolicyviolation", (event) => {
  seen.push(event.effectiveDirective);
  if (seen.length === 2) done(seen.sort());
});
new Image().src = "https://example.org/a.png";
fetch("https://example.org/").catch(() => 0);
"""
    assert chrome.execute_async_script(script) == ["connect-src", "img-src"]
    # The browser logs the two refusals, which are the point of this test.
    assert len(chrome.get_log("browser")) >= 2  # type: ignore[no-untyped-call]
    chrome.execute_script("performance.clearResourceTimings()")
