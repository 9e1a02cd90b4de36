"""Holds docs/FORMAT.md to the code: its worked example, its constants, its table of errors."""

import re
from pathlib import Path

import numpy as np
import pytest

from bincodec.bitstream import container, header, limits, probability, stream
from bincodec.bitstream.levels import MAX_LEVELS, decide, level_bits
from bincodec.bitstream.stream import LayerReader, LayerWriter

DOCUMENT = (Path(__file__).parents[2] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
EXAMPLE = DOCUMENT.split("## Worked example")[1]
MAXIMUM = 6


def table(heading: str) -> list[list[int]]:
    """The rows of the example's table whose first column has this heading."""
    rows = EXAMPLE.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[int(cell) for cell in row.strip("| ").split("|")] for row in rows]


@pytest.fixture
def file() -> bytes:
    (text,) = re.findall(r"```hex\n(.*?)```", EXAMPLE, re.DOTALL)
    return bytes.fromhex(text)


@pytest.fixture
def columns() -> list[np.ndarray]:
    """Locations, scales, levels, each (2 channels, 3 positions)."""
    return [np.array(column).reshape(2, 3) for column in list(zip(*table("channel"), strict=True))[2:]]


def test_example_writes_the_file(columns: list[np.ndarray], file: bytes) -> None:
    mu, scale, levels = columns
    levels = levels.astype(np.uint8)
    writer = LayerWriter(header.Header(48, 16, 50, 1, bytes(range(8))))
    writer.put(levels, mu, scale, MAXIMUM)
    writer.end_layer(levels.reshape(2, 1, 3))
    assert writer.finish() == file
    bits = level_bits(levels, mu, scale, MAXIMUM).sum()
    assert f"sum to {bits:.2f} bits" in EXAMPLE
    assert f"payload takes {len(file) - 48} bytes" in EXAMPLE


def test_example_reads_back(columns: list[np.ndarray], file: bytes) -> None:
    mu, scale, levels = columns
    reader = LayerReader(container.read(file))
    decoded = reader.get(mu, scale, MAXIMUM)
    reader.end_layer(decoded.reshape(2, 1, 3))
    assert np.array_equal(decoded, levels)


def test_example_lists_the_decisions(columns: list[np.ndarray]) -> None:
    mu, scale, levels = columns
    listed: list[list[int]] = []

    def ask(where: np.ndarray, j: np.ndarray, numerators: np.ndarray) -> np.ndarray:
        bits = levels.flat[where] >= j
        turn = listed[-1][0] + 1 if listed else 0
        listed.extend(
            [turn, position // 3, position % 3, threshold, int(bit), numerator]
            for position, threshold, bit, numerator in zip(
                *(x.tolist() for x in (where, j, bits, numerators)), strict=True
            )
        )
        return bits

    decide(mu, scale, MAXIMUM, ask)
    assert listed == table("round")


@pytest.mark.parametrize(
    "stated",
    [
        f"    {probability.TABLES_SHA256}\n",
        f"Version **{header.FORMAT_VERSION[0]}.{header.FORMAT_VERSION[1]}, a draft**",
        " ".join(f"{byte:02X}" for byte in header.MAGIC),
        f"{header.HEADER_BYTES} bytes:",
        f"payload of n · {stream.CHUNK_BYTES} bytes or more",
        f"| J | {MAX_LEVELS} |",
        f"| layers | {header.MAX_LAYERS} |",
        f"| layers in a chunk | {container.MAX_GROUPED} |",
        f"| chunks | {limits.CHUNKS} |",
        f"| width, height | {limits.SIDE} pixels |",
        f"type, length, two CRCs | {container.CHUNK_OVERHEAD} |",
    ],
)
def test_constants_are_the_documented_ones(stated: str) -> None:
    assert stated in DOCUMENT


def test_powers_of_two_are_the_documented_ones() -> None:
    assert "64 · 2^20 pixels" in DOCUMENT
    assert limits.PIXELS == 64 * 2**20
    assert "together | 2^20 bytes" in DOCUMENT
    assert limits.ANCILLARY_BYTES == 2**20
    assert "2^24 − 1 bytes" in DOCUMENT
    assert container.MAX_PAYLOAD == 2**24 - 1
