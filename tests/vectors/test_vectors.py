"""The test vectors: old files stay readable, are written the same again, or are refused."""

import hashlib
import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bincodec import BincodecError, Codec, errors
from bincodec.bitstream.alpha import CODED
from bincodec.bitstream.container import Container, Memory, read
from bincodec.bitstream.extras import METADATA
from bincodec.bitstream.extras import read as read_extras

FOLDER = Path(__file__).resolve().parent
MODEL = FOLDER.parent / "models" / "tiny-1.safetensors"
CASES: dict[str, dict[str, Any]] = {
    path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("v1/*/case.json")
}
PICTURES = sorted(name for name, case in CASES.items() if "error" not in case)
REFUSED = sorted(name for name, case in CASES.items() if "error" in case)
ERRORS: dict[str, type[BincodecError]] = {
    "not-bld": errors.NotBld,
    "truncated": errors.Truncated,
    "corrupt": errors.Corrupt,
    "bits-mismatch": errors.BitsMismatch,
    "unsupported": errors.Unsupported,
    "too-large": errors.TooLarge,
    "wrong-model": errors.WrongModel,
}


# One wrong bit in the header or the index is corrected.
LEFT = dict.fromkeys(("flipped-header", "flipped-index"), (3, 3)) | dict.fromkeys(
    ("all-ones", "coded-length", "other-levels", "raw-flag", "raw-length", "zero-appended"), (0, 3)
)
"""The layers of each tile that this reader shows of files whose cases do not say it. It may do more."""


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(str(MODEL))


def content(name: str) -> bytes:
    return (FOLDER / "v1" / name / "file.bld").read_bytes()


def test_every_folder_is_whole() -> None:
    for folder in FOLDER.glob("v1/*"):
        expected = {"file.bld", "case.json"} | ({"picture.png"} if folder.name in PICTURES else set())
        assert {path.name for path in folder.iterdir()} == expected, folder.name
        assert folder.name in CASES


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_is_said_of_every_file(name: str) -> None:
    case = CASES[name]
    assert case["class"] in {"must-decode", "must-fail", "once-broke-us"}
    assert case["shows"]
    assert len(content(name)) == case["bytes"] < 5000
    assert hashlib.sha256(content(name)).hexdigest() == case["sha256"]
    if case["class"] != "once-broke-us":
        assert ("error" in case) == (case["class"] == "must-fail")


@pytest.mark.parametrize("name", PICTURES)
def test_levels(codec: Codec, name: str) -> None:
    case, code = CASES[name], codec.unpack(content(name))
    fields = ("width", "height", "quality", "layers", "grey", "tile_side", "minor_version")
    assert {field: getattr(code, field) for field in fields} == {field: case[field] for field in fields}
    assert code.fingerprint.hex() == case["fingerprint"] == codec.model.card.fingerprint.hex()
    assert [[f"{extra.kind:#04x}", extra.payload.hex()] for extra in code.extras] == case["extras"]
    assert list(read(Memory(content(name))).groups) == case["groups"]
    levels = b"".join(part.tobytes() for part in code.levels)
    assert hashlib.sha256(levels).hexdigest() == case["levels_sha256"]
    assert code.intact


@pytest.mark.parametrize("name", PICTURES)
def test_packing_again_gives_the_same_bytes(codec: Codec, name: str) -> None:
    assert (codec.pack(codec.unpack(content(name))) == content(name)) == CASES[name]["packs_again"]


@pytest.mark.parametrize("name", PICTURES)
def test_picture(codec: Codec, name: str) -> None:
    case, image = CASES[name], codec.decompress(content(name))
    expected = Image.open(FOLDER / "v1" / name / "picture.png")
    assert (image.mode, image.size) == (expected.mode, expected.size)
    mode = (
        ("L" if case["grey"] else "RGB") if "alpha_sha256" not in case else "LA" if case["grey"] else "RGBA"
    )
    assert (image.mode, image.size) == (mode, (case["width"], case["height"]))
    off = np.abs(np.asarray(image).astype(int) - np.asarray(expected))
    assert off.max() <= case["tolerance"]


@pytest.mark.parametrize("name", PICTURES)
def test_what_stands_beside_the_levels(codec: Codec, name: str) -> None:
    """Alpha and metadata are exact to the last bit."""
    case, code = CASES[name], codec.unpack(content(name))
    held = read_extras(code.extras, code.width, code.height)
    found = {key: getattr(held, key).hex() for key in held.names if key in METADATA}
    assert found == case.get("metadata", {})
    digest = None if held.alpha is None else hashlib.sha256(held.alpha.tobytes()).hexdigest()
    assert digest == case.get("alpha_sha256")
    image = codec.decode(code)
    assert image.has_transparency_data == (held.alpha is not None)
    if held.alpha is not None:
        assert np.array_equal(np.asarray(image)[..., -1], held.alpha)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(codec: Codec, name: str) -> None:
    with pytest.raises(ERRORS[CASES[name]["error"]]) as caught:
        codec.decompress(content(name))
    assert type(caught.value) is ERRORS[CASES[name]["error"]]


@pytest.mark.parametrize("name", [name for name in REFUSED if CASES[name]["class"] == "must-fail"])
def test_what_is_left(codec: Codec, name: str) -> None:
    """Where damage is allowed, a file shows what is intact, or it is refused all the same."""
    expected = CASES[name].get("partial", {}).get("tile_layers") or LEFT.get(name)
    if expected is None:
        with pytest.raises(BincodecError):
            codec.unpack(content(name), partial=True)
        return
    code = codec.unpack(content(name), partial=True)
    assert (code.tile_layers or (code.layers,) * len(code.tiles)) == tuple(expected)
    assert len(code.damage) >= 1


@pytest.mark.parametrize("name", [name for name in REFUSED if CASES[name]["class"] == "once-broke-us"])
def test_what_once_broke_us_is_refused_as_well_where_damage_is_allowed(codec: Codec, name: str) -> None:
    with pytest.raises(BincodecError):
        codec.unpack(content(name), partial=True)


def files() -> dict[str, Container]:
    return {name: read(Memory(content(name))) for name in PICTURES}


def test_the_pictures_show_what_they_should() -> None:
    found = files()
    headers = [file.header for file in found.values()]
    chunks = [chunk for file in found.values() for row in file.chunks for chunk in row if chunk]
    assert {chunk.raw for chunk in chunks} == {True, False}
    assert b"" in {chunk.payload for chunk in chunks}
    assert {header.layers for header in headers} == {1, 2, 3}
    assert {header.grey for header in headers} == {True, False}
    assert {header.tile_side for header in headers} == {16, 64}
    assert {header.quality for header in headers} >= {0, 50, 100}
    assert {(1, 1), (1, 600)} <= {(header.width, header.height) for header in headers}
    # There are tiles beside each other, below each other, and both, and of different sizes in one file.
    assert {(header.tiles[-1].row, header.tiles[-1].column) for header in headers} >= {(0, 1), (2, 0), (1, 1)}
    assert any(len({tile.shape for tile in header.tiles}) > 1 for header in headers)
    assert {len(file.groups) for file in found.values()} >= {1, 3}
    kinds = {extra.kind for file in found.values() for extra in file.extras}
    assert {0xFF, 0xBF, 0x81, 0x41, 0xC1, 0x82, 0x83} <= kinds
    methods = {extra.payload[0] for file in found.values() for extra in file.extras if extra.kind == 0x41}
    assert CODED in methods
    assert len(methods) > 1


def test_every_error_has_its_file() -> None:
    assert {CASES[name]["error"] for name in REFUSED} == set(ERRORS)
    assert {case["class"] for case in CASES.values()} == {"must-decode", "must-fail", "once-broke-us"}


def test_the_readme_explains_every_word() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    words = {key for case in CASES.values() for key in case} | set(ERRORS)
    assert not [
        word for word in words | {case["class"] for case in CASES.values()} if f"`{word}`" not in text
    ]


@pytest.fixture
def make_vectors(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the script, which imports its neighbours as when it is run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("make_vectors")


def test_only_missing_cases_are_written(
    make_vectors: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "v1"
    shutil.copytree(FOLDER / "v1", folder)
    shutil.rmtree(folder / "empty")
    (folder / "text-mode" / "file.bld").write_bytes(b"kept")
    monkeypatch.setattr(make_vectors, "HERE", tmp_path)
    make_vectors.main()
    assert (folder / "empty" / "case.json").read_bytes() == (FOLDER / "v1/empty/case.json").read_bytes()
    assert (folder / "text-mode" / "file.bld").read_bytes() == b"kept"


def test_a_folder_is_written_as_those_that_are_there(
    make_vectors: ModuleType, codec: Codec, tmp_path: Path
) -> None:
    """This is tested for forged files only. Those of photos depend on the encoder, a float network."""
    for case in make_vectors.once_broke_us(codec):
        if case.name in {"all-zeros", "large-raw", "many-extras"}:
            make_vectors.write(tmp_path / case.name, case, codec)
            for name in ("file.bld", "case.json"):
                written = (tmp_path / case.name / name).read_bytes()
                assert written == (FOLDER / "v1" / case.name / name).read_bytes()
