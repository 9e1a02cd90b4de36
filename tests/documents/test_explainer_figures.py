"""The explainer's figures are those that its script makes of the shipped models."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import explainer
import numpy as np
import pytest
from PIL import Image

import bincodec

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "explainer"


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    text = (FOLDER / "data.js").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text.removeprefix("window.bincodecExplainer=").removesuffix(";\n"))
    return result


def unpacked(text: str) -> np.ndarray:
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8))


def test_all_of_it_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


def test_the_script_makes_every_figure(data: dict[str, Any]) -> None:
    assert set(data) == set(explainer.FIGURES)


@pytest.mark.parametrize("name", ["gaussian", "schedules"])
def test_cheap_figures_come_out_again(data: dict[str, Any], name: str) -> None:
    assert data[name] == explainer.FIGURES[name]()[0]


def test_the_pictures_are_those_that_the_model_draws(data: dict[str, Any]) -> None:
    """Another model would draw others: then the figures have to be made again."""
    (code,) = explainer.drawn(explainer.LABELS[0])
    bits = explainer.bits_of(code.levels).ravel()
    assert (unpacked(data["forward"]["bits"][0][0]) == bits).all()
    assert (unpacked(data["reverse"]["bits"][0][-1]) == bits).all()


def test_the_photo_s_file_is_the_size_it_says(data: dict[str, Any]) -> None:
    """Another model would need other bytes. The encoder may round otherwise on another machine."""
    photo = data["bits"]["photos"][0]
    found = len(bincodec.compress(explainer.photo(photo["name"]), quality=data["bits"]["quality"]))
    assert found == pytest.approx(photo["bytes"], rel=0.005)
    assert data["layers"]["layers"][-1]["bytes"] == photo["bytes"]


def test_sheets_have_a_picture_for_every_state(data: dict[str, Any]) -> None:
    for name in ("forward", "reverse"):
        with Image.open(FOLDER / f"{name}.webp") as sheet:
            assert sheet.width == sheet.height * len(data[name]["keeps"]) / len(data[name]["labels"])


def test_the_bits_of_a_position_stand_together() -> None:
    channels = np.zeros((64, 2, 3), np.uint8)
    channels[:, 1, 2] = 1
    picture = explainer.by_position(channels)
    assert picture.shape == (16, 24)
    assert picture[8:, 16:].all()
    assert picture.sum() == 64


def test_the_forward_process_keeps_bits_as_often_as_it_says() -> None:
    levels = (np.ones((64, 32, 32), np.uint8),)
    states = explainer.chain(levels, [64, 48, 16, 0], np.random.default_rng(1))
    shares = [state[0].mean() for state in states]
    assert shares == pytest.approx([1.0, (1 + 48 / 64) / 2, (1 + 16 / 64) / 2, 0.5], abs=0.01)
