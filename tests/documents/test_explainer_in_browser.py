"""What a reader sees and does with the explainer's figures, in headless Chromium, from files alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from bincodec.coding import bernoulli

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "explainer.md").read_text(encoding="utf-8")
FIGURES = re.findall(r'<figure data-figure="(\w+)">', PAGE)
HEAD = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
Open = Callable[..., "Chrome"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's own HTML: style, figures, scripts, without the prose between them."""
    folder = tmp_path_factory.mktemp("explainer")
    shutil.copytree(DOCS / "explainer", folder / "explainer")
    parts = re.findall(r"<link .*?>|<figure .*?</figure>|<script .*?</script>", PAGE, re.DOTALL)
    (folder / "page.html").write_text(HEAD + "\n".join(parts), encoding="utf-8")
    return folder / "page.html"


@pytest.fixture
def opened(browser: Chrome, page: Path, visit: Callable[[Chrome, str], None]) -> Iterator[Open]:
    """Opens the page at a width; at the end nothing may have been logged, or fetched from elsewhere."""

    def open_page(width: int = 1280) -> Chrome:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        visit(browser, page.as_uri())
        return browser

    yield open_page
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert all(address.startswith("file:") for address in fetched)


def one(chrome: Chrome, figure: str, selector: str) -> WebElement:
    return chrome.find_element("css selector", f"figure[data-figure={figure}] {selector}")


def move(chrome: Chrome, figure: str, label: str, value: int) -> None:
    """Set a slider, as if it had been moved."""
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    chrome.execute_script(script, one(chrome, figure, f"input[aria-label='{label}']"), value)


def choose(chrome: Chrome, figure: str, option: str) -> None:
    """Press a button of a choice, by its text."""
    for label in chrome.find_elements("css selector", f"figure[data-figure={figure}] .choice label"):
        if label.text == option:
            label.click()
            return
    msg = f"{figure} has no choice {option!r}"
    raise AssertionError(msg)


def reading(chrome: Chrome, figure: str) -> str:
    return one(chrome, figure, ".reading").text


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


def pixels(chrome: Chrome, figure: str, number: int = 0) -> np.ndarray:
    """The cells of a canvas of a figure: (height, width, 4)."""
    script = """const canvas = document.querySelectorAll(arguments[0])[arguments[1]];
    const offscreen = new OffscreenCanvas(canvas.width, canvas.height);
    const copy = offscreen.getContext("2d", {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    const image = copy.getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.height, canvas.width, Array.from(image.data)];"""
    height, width, values = chrome.execute_script(script, f"figure[data-figure={figure}] canvas", number)
    return np.array(values, np.uint8).reshape(height, width, 4)


def test_every_figure_comes_to_life_and_shows_its_pictures(opened: Open) -> None:
    chrome = opened()
    assert len(FIGURES) == len(set(FIGURES)) == 9
    assert len(chrome.find_elements("css selector", "figure.live")) == len(FIGURES)
    for figure in FIGURES:
        assert one(chrome, figure, ".controls").is_displayed()
    loaded = """const shown = document.querySelectorAll('.frame, .overlaid img');
    return Promise.all(Array.from(shown, async (element) => {
        const image = new Image();
        image.src = element.src ?? getComputedStyle(element).backgroundImage.slice(5, -2);
        await image.decode();
        return image.naturalWidth;
    }))"""
    widths = chrome.execute_script(loaded)
    assert len(widths) >= 9
    assert min(widths) > 100


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_reaches_beyond_the_page(opened: Open, width: int) -> None:
    chrome = opened(width)
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
    for figure in FIGURES:
        for control in chrome.find_elements(
            "css selector", f"figure[data-figure={figure}] :is(input[type=range], button)"
        ):
            assert control.size["height"] > 10


def test_random_pictures_are_counted_and_new(opened: Open) -> None:
    chrome = opened()
    first = pixels(chrome, "random")
    one(chrome, "random", "button").click()
    second = pixels(chrome, "random")
    assert (first != second).any()
    assert abs(second[..., :3].mean() - 127.5) < 3
    assert reading(chrome, "random").endswith("Drawn so far: 2.")
    choose(chrome, "random", "bits, by the prior")
    assert reading(chrome, "random").endswith("Drawn so far: 1.")
    assert one(chrome, "random", ".frame").is_displayed()
    place = one(chrome, "random", ".frame").value_of_css_property("background-position")
    one(chrome, "random", "button").click()
    assert one(chrome, "random", ".frame").value_of_css_property("background-position") != place


def test_gaussian_noise_drowns_the_photo(opened: Open) -> None:
    chrome = opened()
    clean = pixels(chrome, "gaussian")[..., :3].astype(float)
    move(chrome, "gaussian", "noise", 100)
    noise = pixels(chrome, "gaussian")[..., :3].astype(float)
    assert numbers(reading(chrome, "gaussian")) == [0.0, 1.0]
    assert abs(np.corrcoef(clean.ravel(), noise.ravel())[0, 1]) < 0.05
    move(chrome, "gaussian", "noise", 0)
    assert (pixels(chrome, "gaussian")[..., :3] == clean).all()


def test_the_forward_process_flips_as_many_bits_as_it_says(opened: Open) -> None:
    chrome = opened()
    for step in (0, 4, 8, 16):
        move(chrome, "forward", "step t", step)
        keep, _, _, percent, flipped, of = numbers(reading(chrome, "forward"))
        assert keep == 1 - step / 16
        assert percent == pytest.approx(50 * (1 - keep))
        assert of == 4096
        # Four standard deviations of a binomial distribution.
        share = percent / 100
        assert abs(flipped - of * share) <= 4 * (of * share * (1 - share)) ** 0.5
        red = pixels(chrome, "forward")[..., 0].astype(int) - pixels(chrome, "forward")[..., 2] > 100
        assert red.sum() == flipped


def test_the_reverse_process_ends_without_doubt(opened: Open) -> None:
    chrome = opened()
    doubts = []
    for step in (0, 8, 16):
        move(chrome, "reverse", "step", step)
        keep, expected, of, missing = numbers(reading(chrome, "reverse"))
        assert keep == step / 16
        assert of == 4096
        doubts.append((expected, missing))
    assert abs(doubts[0][0] - 2048) < 41
    assert doubts[0] > doubts[1] > doubts[2] == (0, 0)
    assert len(np.unique(pixels(chrome, "reverse", 1)[..., 0])) == 1


def test_play_goes_to_the_end_and_stops(opened: Open) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    chrome = opened()
    move(chrome, "reverse", "step", 14)
    button = one(chrome, "reverse", "button")
    button.click()
    assert button.text == "Stop"
    WebDriverWait(chrome, 30).until(lambda _: button.text == "Play")
    assert one(chrome, "reverse", ".slider output").text == "16"


@pytest.mark.parametrize(
    ("cavity", "observed", "keep_s", "keep_t"), [(0.3, 1, 0.6, 0.3), (0.9, 0, 1.0, 0.5), (0.02, 1, 0.2, 0.0)]
)
def test_the_reverse_step_is_the_codec_s(
    opened: Open, cavity: float, observed: int, keep_s: float, keep_t: float
) -> None:
    chrome = opened()
    found: dict[str, Any] = chrome.execute_script(
        "return bincodecPosterior(...arguments)", cavity, observed, keep_s, keep_t
    )
    log_cavity = torch.tensor([1 - cavity, cavity], dtype=torch.float64).log()
    calibrated = bernoulli.with_own_observation(
        log_cavity, torch.tensor(observed), torch.tensor(keep_t)
    ).exp()
    exact = float(bernoulli.posterior(calibrated, torch.tensor(observed), keep_s, keep_t)[1])
    assert found["calibrated"] == pytest.approx(float(calibrated[1]), abs=1e-6)
    assert found["mixture"] == pytest.approx(exact, abs=1e-6)
    assert found["product"] == pytest.approx(exact, abs=1e-6)
    assert keep_t == 0 or abs(found["wrong"] - exact) > 1e-3


def test_the_reverse_step_s_sliders_do_something(opened: Open) -> None:
    chrome = opened()
    before = [
        shown.text
        for shown in chrome.find_elements("css selector", "figure[data-figure=posterior] .bars output")
    ]
    choose(chrome, "posterior", "zₜ = 0")
    after = [
        shown.text
        for shown in chrome.find_elements("css selector", "figure[data-figure=posterior] .bars output")
    ]
    assert before[1] == before[2] != before[3]
    assert all(first > second for first, second in zip(before, after, strict=True))


def test_layers_arrive_and_bits_add_up(opened: Open) -> None:
    chrome = opened()
    arrived = []
    for layer in range(1, 7):
        move(chrome, "layers", "layers", layer)
        arrived.append(numbers(reading(chrome, "layers"))[2:])
    assert [numbers[0] for numbers in arrived] == sorted(numbers[0] for numbers in arrived)
    assert arrived[-1][1] > arrived[0][1] + 2
    choose(chrome, "layers", "drawn")
    move(chrome, "layers", "layers", 2)
    assert "dB" not in reading(chrome, "layers")
    whole, file = numbers(reading(chrome, "bits"))
    assert 0.9 * file < whole <= file
    single = []
    for layer in range(1, 7):
        choose(chrome, "bits", str(layer))
        single.append(numbers(reading(chrome, "bits"))[1])
    assert sum(single) == pytest.approx(whole, abs=6)
