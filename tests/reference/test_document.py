"""The check values of docs/MODEL.md are those that the second decoder computes."""

import re
from pathlib import Path

import numpy as np
import pytest

from . import model_file
from .decoder_network import decoder_weights, inverse_gains, synthesise
from .integer_network import empty_context, integer_network, predict, with_known
from .model_file import Model, fingerprint, read_model
from .passes import centred_levels

TESTS = Path(__file__).resolve().parents[1]
DOCUMENT = (TESTS.parent / "docs" / "MODEL.md").read_text(encoding="utf-8")
VALUES = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", DOCUMENT.split("## Check values")[1], re.MULTILINE))
QUALITY = 50
LEVELS = np.array([6, 0]).reshape(2, 1, 1)


@pytest.fixture(scope="module")
def model() -> Model:
    return read_model((TESTS / "models" / "tiny-1.safetensors").read_bytes())


def test_digests(model: Model) -> None:
    digests = {
        "the prior's digest": model_file.probability_digest(model.architecture, model.tensors),
        "the decoder's digest": model_file.decoder_digest(model.tensors),
        "the fingerprint": fingerprint(model.architecture, model.tensors),
    }
    for name, digest in digests.items():
        assert VALUES[name] == f"`{digest.hex()}`"


def test_predictions(model: Model) -> None:
    network, architecture = integer_network(model), model.architecture
    context = empty_context(architecture, (1, 1))

    def pairs(layer: int) -> str:
        mu, scale = (part.ravel().tolist() for part in predict(network, context, QUALITY, layer))
        return " ".join(map(str, zip(mu, scale, strict=True)))

    assert VALUES["layer 0, with nothing known"] == pairs(0)
    context = with_known(architecture, context, 0, np.ones((1, 1), np.bool_), LEVELS[:, :, 0])
    shown = " ".join(map(str, context.ravel().tolist()))
    assert VALUES["the context, once its levels 6 and 0 are known"] == shown
    for layer in (1, 2):
        assert VALUES[f"layer {layer} with this context"] == pairs(layer)


def test_picture(model: Model) -> None:
    centred = centred_levels(integer_network(model), [LEVELS], QUALITY)
    assert VALUES["expectation of layer 1"] == " ".join(f"{value:.4f}" for value in centred[2:5].ravel())
    gains = inverse_gains(decoder_weights(model), QUALITY)
    assert VALUES["inverse gain of channel 0"] == f"{gains[0]:.4f}"
    colours = 255 * synthesise(model, centred, QUALITY)
    places = {"255 times the colours of layer 0 alone, row 0, column 0": 0, "the same, row 15, column 15": 15}
    for name, place in places.items():
        assert VALUES[name] == " ".join(f"{value:.2f}" for value in colours[place, place])
