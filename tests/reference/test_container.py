"""What the reader of files in format 0.1 notices although all checksums of bytes hold."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .decode import TABLES, decode
from .errors import Refused
from .model_file import read_model
from .probability import read_tables

TESTS = Path(__file__).resolve().parents[1]
DATA = (TESTS / "vectors" / "photo-q50.bld").read_bytes()
HEADER, CHUNK_HEAD, CHUNK_TAIL = 36, 4, 8


@pytest.fixture(scope="module")
def refusal() -> Callable[[bytes], str]:
    """Why a file is refused."""
    model = read_model((TESTS / "models" / "tiny-1.safetensors").read_bytes())
    tables = read_tables(TABLES.read_bytes())

    def decoded(data: bytes) -> str:
        with pytest.raises(Refused) as caught:
            decode(model, tables, data)
        return caught.value.kind

    return decoded


@pytest.mark.parametrize("place", range(HEADER + CHUNK_HEAD, len(DATA) - CHUNK_TAIL))
def test_other_levels(place: int, refusal: Callable[[bytes], str], repair: Callable[..., bytes]) -> None:
    damaged = bytearray(DATA)
    damaged[place] ^= 1 << place % 8
    assert refusal(repair(bytes(damaged))) == "bits mismatch"


@pytest.mark.parametrize(("place", "value"), [(12, 111), (20, 51)], ids=["width", "quality"])
def test_a_forged_header(
    place: int, value: int, refusal: Callable[[bytes], str], repair: Callable[..., bytes]
) -> None:
    """Another quality gives other probabilities; another width, with the same grid, the same levels."""
    damaged = bytearray(DATA)
    damaged[place] = value
    assert refusal(repair(bytes(damaged))) == "bits mismatch"


@pytest.mark.parametrize(
    ("place", "value", "kind"),
    [
        (8, 1, "unsupported"),
        (9, 0, "unsupported"),
        (10, 2, "unsupported"),
        (22, 1, "unsupported"),
        (12, 0, "corrupt"),
        (20, 101, "corrupt"),
        (21, 4, "corrupt"),
        (24, 0, "wrong model"),
        (HEADER, 0x40, "unsupported"),
        (HEADER, 0x42, "unsupported"),
        (HEADER, 0x52, "corrupt"),
        (HEADER, 0x63, "corrupt"),
        (HEADER, 0x13, "truncated"),
        (HEADER, 0xC0, "corrupt"),
    ],
)
def test_fields_out_of_range(
    place: int, value: int, kind: str, refusal: Callable[[bytes], str], repair: Callable[..., bytes]
) -> None:
    damaged = bytearray(DATA)
    assert damaged[place] != value
    damaged[place] = value
    assert refusal(repair(bytes(damaged))) == kind
