"""Small crops of the example photo, the tiny model as a codec, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import bincodec

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "models" / "tiny-1.safetensors"


@pytest.fixture(scope="session")
def tiny() -> Path:
    return TINY


@pytest.fixture(scope="session")
def codec() -> bincodec.Codec:
    return bincodec.Codec.load(str(TINY))


@pytest.fixture(scope="session")
def crops() -> dict[str, NDArray[np.uint8]]:
    with Image.open(ROOT / "examples" / "chelsea.png") as image:
        photo = image.convert("RGB")
    boxes = {"eye": (150, 60, 214, 108), "fur": (300, 150, 348, 214)}
    return {name: np.asarray(photo.crop(box)) for name, box in boxes.items()}


@pytest.fixture
def photos(crops: dict[str, NDArray[np.uint8]], tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in crops]
    for path, pixels in zip(paths, crops.values(), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    pytest.importorskip("selenium", reason="the browser tests need the package selenium")
    from selenium import webdriver

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for name in names if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("the browser tests need chromium and chromedriver on PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "force-prefers-reduced-motion",
        f"user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome
