"""Golden files: what was written once is read the same for ever, and written the same again."""

import json
from pathlib import Path
from typing import Any

import pytest

from bincodec import Codec, read_header
from bincodec.bitstream.container import read

FOLDER = Path(__file__).resolve().parent
MODEL = FOLDER.parent / "models" / "tiny-1.safetensors"
RECORD: dict[str, Any] = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
FILES: dict[str, dict[str, Any]] = RECORD["files"]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(str(MODEL))


def content(name: str) -> bytes:
    return (FOLDER / f"{name}.bld").read_bytes()


def test_no_file_is_missing_and_none_is_forgotten() -> None:
    assert {path.stem for path in FOLDER.glob("*.bld")} == set(FILES)
    assert len(FILES) >= 10


def test_the_model_is_the_one_that_wrote_them(codec: Codec) -> None:
    assert codec.model.card.fingerprint.hex() == RECORD["fingerprint"]


@pytest.mark.parametrize("name", FILES)
def test_header(name: str) -> None:
    header, expected = read_header(content(name)), FILES[name]
    found = {key: getattr(header, key) for key in ("width", "height", "quality", "layers", "grey")}
    assert found == {key: expected[key] for key in found}
    assert header.fingerprint.hex() == RECORD["fingerprint"]


@pytest.mark.parametrize("name", FILES)
def test_levels_and_bytes(codec: Codec, name: str) -> None:
    data, expected = content(name), FILES[name]
    code = codec.unpack(data)
    assert len(data) == expected["bytes"]
    assert code.digest() == expected["digest"]
    assert [[extra.kind, extra.payload.hex()] for extra in code.ancillary] == expected["ancillary"]
    assert codec.pack(code) == data


@pytest.mark.parametrize("name", FILES)
def test_picture(codec: Codec, name: str) -> None:
    image, expected = codec.decode(codec.unpack(content(name))), FILES[name]
    assert image.size == (expected["width"], expected["height"])
    assert image.mode == ("L" if expected["grey"] else "RGB")


def test_the_files_cover_what_they_should() -> None:
    """A raw chunk, a coded one, other data, fewer layers, a grey picture and the smallest one."""
    chunks = [chunk for name in FILES for chunk in read(content(name)).chunks]
    assert {chunk.raw for chunk in chunks} == {True, False}
    assert any(entry["ancillary"] for entry in FILES.values())
    assert {entry["layers"] for entry in FILES.values()} == {2, 3}
    assert {entry["grey"] for entry in FILES.values()} == {True, False}
    assert (1, 1) in {(entry["width"], entry["height"]) for entry in FILES.values()}
