"""The check values of docs/MODEL.md and the worked example of docs/FORMAT.md hold in the second decoder."""

import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from . import model_file
from .container import read_file
from .decoder_network import decoder_weights, inverse_gains, synthesise
from .errors import Refused
from .integer_network import empty_context, integer_network, predict, with_known
from .levels import Bits, CodedLevels, by_rounds
from .model_file import Model, fingerprint
from .passes import centred_levels
from .probability import Integers, Tables
from .writing import bits_crc, draft_of

TESTS = Path(__file__).resolve().parents[1]
DOCUMENT = (TESTS.parent / "docs" / "MODEL.md").read_text(encoding="utf-8")
VALUES = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", DOCUMENT.split("## Check values")[1], re.MULTILINE))
EXAMPLE = (TESTS.parent / "docs" / "FORMAT.md").read_text(encoding="utf-8").split("## Worked example")[1]
MU, SCALE, LEVEL = np.array(
    re.findall(r"^\| [01] \| [012] \| (-?\d+) \| (\d+) \| (\d) \|$", EXAMPLE, re.MULTILINE), np.int64
).T.reshape(3, 2, 3)
"""Locations, scales and levels of the worked example, (channels, positions)."""
MAXIMUM = 6
QUALITY = 50
LEVELS = np.array([6, 0]).reshape(2, 1, 1)


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


def test_the_file_of_the_example() -> None:
    data = bytes.fromhex(re.search(r"```hex\n(.*?)```", EXAMPLE, re.DOTALL)[1])
    file = read_file(data)
    header, ((chunk,),) = file.header, file.tiles
    assert (header.width, header.height, header.grey, header.quality) == (48, 16, False, 50)
    assert (header.layers, header.tile_side, header.fingerprint) == (1, 64, bytes(range(8)))
    assert [tile.grid for tile in header.tiles] == [(1, 3)]
    assert (chunk.layers, chunk.raw, chunk.payload) == (range(1), False, b"\3\4")
    assert chunk.bits_crc == bits_crc(header.head, 0, [LEVEL.reshape(2, 1, 3)])
    assert draft_of(file).write() == data
    assert f"{len(data)} bytes long" in EXAMPLE


def test_the_decisions_of_the_example(tables: Tables) -> None:
    found, rounds = [], iter(range(9))

    def answers(which: Integers, thresholds: Integers, numerators: Integers) -> Bits:
        bits, turn = LEVEL.ravel()[which] >= thresholds, next(rounds)
        for index, *decision in zip(which, thresholds, bits.astype(int), numerators, strict=True):
            found.append((turn, *divmod(int(index), 3), *map(int, decision)))
        return bits

    assert np.array_equal(by_rounds(tables, MU, SCALE, MAXIMUM, answers), LEVEL)
    rows = re.findall(r"^\| (\d) \| (\d) \| (\d) \| (\d) \| ([01]) \| (\d+) \|$", EXAMPLE, re.MULTILINE)
    assert found == [tuple(map(int, row)) for row in rows]
    product = math.prod(Fraction(n if bit else 65536 - n, 65536) for *_, bit, n in found)
    assert f"sum to {-math.log2(product):.2f} bits" in EXAMPLE


def test_the_payload_of_the_example(tables: Tables) -> None:
    reader = CodedLevels(b"\3\4", tables)
    assert np.array_equal(reader.read(MU, SCALE, MAXIMUM), LEVEL)
    reader.check_end()


@pytest.mark.parametrize("payload", [[3, 4, 0], [3, 5], [3, 4, 0, 0, 0, 0, 0, 0, 0]])
def test_of_all_payloads_for_the_same_levels_only_one_is_taken(payload: list[int], tables: Tables) -> None:
    reader = CodedLevels(bytes(payload), tables)
    assert np.array_equal(reader.read(MU, SCALE, MAXIMUM), LEVEL)
    with pytest.raises(Refused, match="a writer ends this payload after 2 bytes"):
        reader.check_end()
