"""Checks docs/FORMAT.md against the code: its worked example, its constants, and its table of errors."""

import re
from pathlib import Path

import numpy as np
import pytest

from bincodec.bitstream import container, header, index, limits, probability, stream, tiles
from bincodec.bitstream.levels import MAX_LEVELS, decide, level_bits
from bincodec.bitstream.stream import TileReader, TileWriter

DOCUMENT = (Path(__file__).parents[2] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
EXAMPLE = DOCUMENT.split("## Worked example")[1]
MAXIMUM = 6


def table(heading: str) -> list[list[int]]:
    """Return the rows of the table of the example whose first column has this heading."""
    rows = EXAMPLE.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[int(cell) for cell in row.strip("| ").split("|")] for row in rows]


@pytest.fixture
def file() -> bytes:
    (text,) = re.findall(r"```hex\n(.*?)```", EXAMPLE, re.DOTALL)
    return bytes.fromhex(text)


@pytest.fixture
def columns() -> list[np.ndarray]:
    """Return locations, scales and levels, each (2 channels, 3 positions)."""
    return [np.array(column).reshape(2, 3) for column in list(zip(*table("channel"), strict=True))[2:]]


def test_example_writes_the_file(columns: list[np.ndarray], file: bytes) -> None:
    mu, scale, levels = columns
    levels = levels.astype(np.uint8)
    own = header.Header(48, 16, 50, 1, bytes(range(8)))
    writer = TileWriter(own, own.tiles[0], (1,))
    writer.put(levels, mu, scale, MAXIMUM)
    writer.end_layer(levels.reshape(2, 1, 3))
    assert container.write(own, (1,), (tuple(writer.chunks),)) == file
    bits = level_bits(levels, mu, scale, MAXIMUM).sum()
    assert f"sum to {bits:.2f} bits" in EXAMPLE
    assert f"payload takes {len(writer.chunks[0].payload)} bytes" in EXAMPLE
    assert f"{len(file)} bytes long" in EXAMPLE


def test_example_reads_back(columns: list[np.ndarray], file: bytes) -> None:
    mu, scale, levels = columns
    found = container.read(container.Memory(file))
    reader = TileReader(found.header, found.header.tiles[0], found.groups, [row[0] for row in found.chunks])
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
        f"\n{probability.TABLES_SHA256}\n",
        f"carry the version number {header.FORMAT_VERSION[0]}.{header.FORMAT_VERSION[1]}",
        " ".join(f"{byte:02X}" for byte in header.MAGIC),
        f"{header.HEADER_BYTES} bytes:",
        f"reaches n · {stream.GROUP_BYTES} bytes a tile",
        f"| J | {MAX_LEVELS} |",
        f"| layers | {header.MAX_LAYERS} |",
        f"| width, height | {limits.SIDE} pixels |",
        f"| tile side | {tiles.SMALLEST_SIDE} to {tiles.LARGEST_SIDE} positions |",
        f"each chunk: two CRCs | {index.CHUNK_TAIL} |",
    ],
)
def test_constants_are_the_documented_ones(stated: str) -> None:
    assert stated in DOCUMENT


def test_powers_of_two_are_the_documented_ones() -> None:
    assert "64 · 2^20 pixels" in DOCUMENT
    assert limits.PIXELS == 64 * 2**20
    assert "together | 2^24 bytes" in DOCUMENT
    assert limits.ANCILLARY_BYTES == 2**24
    assert "2^31 − 1 bytes" in DOCUMENT
    assert index.MAX_LENGTH == 2**31 - 1
