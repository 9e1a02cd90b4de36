"""The second decoder decodes every golden file and every vector, and notices damage.

It does what the documents say, so what it decodes is documented. Nothing of `bincodec` runs here.
"""

import ast
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .decode import TABLES, Decoded, decode, netpbm
from .errors import Refused
from .levels import CodedLevels
from .model_file import Model, read_model
from .probability import Tables, read_tables

FOLDER = Path(__file__).resolve().parent
TESTS = FOLDER.parent
GOLDEN = sorted((TESTS / "golden").glob("*.bld"))
VECTORS = TESTS / "vectors"
FILES = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))["files"]
TINY = TESTS / "models" / "tiny-1.safetensors"
EXAMPLE = (
    np.array([[0, 70, -10], [-150, 20, 64]]),
    np.array([[20, 24, 28], [30, 16, 30]]),
    np.array([[2, 4, 1], [0, 3, 5]]),
)
"""Locations, scales and levels of FORMAT's worked example, whose payload is 03 04."""
DIFFERENT = 1e-3
"""The part of all samples that may round to the other side in another precision."""


@pytest.fixture(scope="module")
def tables() -> Tables:
    return read_tables(TABLES.read_bytes())


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    shipped = (TESTS.parent / "bincodec" / "weights").glob("*.safetensors")
    return {path.stem: read_model(path.read_bytes()) for path in (TINY, *shipped)}


@pytest.fixture
def tiny(models: dict[str, Model], tables: Tables) -> Callable[[bytes], Decoded]:
    """Decode with the tiny model."""
    return lambda data: decode(models["tiny-1"], tables, data)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_decode_to_their_pixels(path: Path, models: dict[str, Model], tables: Tables) -> None:
    """`decode` refuses levels whose checksum is not that of the file, so these are the right ones."""
    (model,) = (model for name, model in models.items() if path.stem.startswith(name))
    found = decode(model, tables, path.read_bytes()).pixels.astype(int)
    expected = np.asarray(Image.open(path.with_suffix(".png"))).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() <= DIFFERENT


@pytest.mark.parametrize("name", FILES)
def test_vectors_decode_to_their_levels(name: str, tiny: Callable[[bytes], Decoded]) -> None:
    found, expected = tiny((VECTORS / f"{name}.bld").read_bytes()), FILES[name]
    assert found.digest() == expected["digest"]
    colours = 1 if expected["grey"] else 3
    assert found.pixels.shape == (expected["height"], expected["width"], colours)


def test_there_are_files_of_every_model(models: dict[str, Model]) -> None:
    assert len(FILES) >= 10
    assert {name for name in models for path in GOLDEN if path.stem.startswith(name)} == {*models} - {
        "tiny-1"
    }


@pytest.mark.parametrize("name", ["photo-q50", "raw", "ancillary"])
def test_no_damaged_byte_goes_unnoticed(name: str, tiny: Callable[[bytes], Decoded]) -> None:
    data = (VECTORS / f"{name}.bld").read_bytes()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(Refused):
            tiny(bytes(damaged))


@pytest.mark.parametrize("name", ["photo-q50", "raw", "ancillary"])
def test_no_cut_goes_unnoticed(name: str, tiny: Callable[[bytes], Decoded]) -> None:
    data = (VECTORS / f"{name}.bld").read_bytes()
    for length in range(len(data)):
        with pytest.raises(Refused):
            tiny(data[:length])
    with pytest.raises(Refused, match="corrupt"):
        tiny(data + b"\0")


def test_the_model_of_another_file_is_refused(models: dict[str, Model], tables: Tables) -> None:
    data = (VECTORS / "photo-q50.bld").read_bytes()
    other = next(name for name in models if name != "tiny-1")
    with pytest.raises(Refused, match="wrong model"):
        decode(models[other], tables, data)


@pytest.mark.parametrize(
    "tensor", ["prior.stem.weight", "prior.head.shift", "decoder.fidelity.decoder.up.bias"]
)
def test_a_damaged_model_is_refused(tensor: str) -> None:
    data = bytearray(TINY.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start + json.loads(data[8:start])[tensor]["data_offsets"][0]] ^= 1
    with pytest.raises(Refused, match="damaged model: its fingerprint"):
        read_model(bytes(data))


def test_the_worked_example_of_the_format_can_be_followed(tables: Tables) -> None:
    mu, scale, levels = EXAMPLE
    reader = CodedLevels(bytes([3, 4]), tables)
    assert np.array_equal(reader.read(mu, scale, 6), levels)
    reader.check_end()


@pytest.mark.parametrize("payload", [[3, 4, 0], [3, 5], [3, 4, 0, 0, 0, 0, 0, 0, 0]])
def test_of_all_payloads_for_the_same_levels_only_one_is_taken(payload: list[int], tables: Tables) -> None:
    mu, scale, levels = EXAMPLE
    reader = CodedLevels(bytes(payload), tables)
    assert np.array_equal(reader.read(mu, scale, 6), levels)
    with pytest.raises(Refused, match="a writer ends this payload after 2 bytes"):
        reader.check_end()


def run_command(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reference.decode", *map(str, paths)]
    return subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["photo-q50", "grey"])
def test_the_command(name: str, tmp_path: Path, tiny: Callable[[bytes], Decoded]) -> None:
    file, picture = VECTORS / f"{name}.bld", tmp_path / "picture.ppm"
    done = run_command(TINY, file, picture)
    assert done.returncode == 0, done.stderr
    assert done.stdout == FILES[name]["digest"] + "\n"
    pixels = tiny(file.read_bytes()).pixels
    assert picture.read_bytes() == netpbm(pixels)
    assert np.array_equal(np.atleast_3d(np.asarray(Image.open(io.BytesIO(picture.read_bytes())))), pixels)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "cut.bld"
    file.write_bytes((VECTORS / "photo-q50.bld").read_bytes()[:70])
    done = run_command(TINY, file)
    assert (done.returncode, done.stdout) == (1, "")
    assert "truncated" in done.stderr


def test_the_decoder_imports_numpy_and_the_standard_library_only() -> None:
    seen = set()
    for path in FOLDER.glob("*.py"):
        if path.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                seen |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, f"{path.name} reaches outside its folder"
            elif isinstance(node, ast.ImportFrom):
                seen.add((node.module or "").partition(".")[0])
    assert "numpy" in seen
    assert seen - {"numpy"} <= sys.stdlib_module_names
