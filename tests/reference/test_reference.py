"""The second decoder finds in files what the codec wrote, by means of the documents alone."""

import ast
import dataclasses
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bincodec import Codec

from .container import read_file
from .decode import Decoded, decode, netpbm
from .errors import Refused
from .integer_network import IntegerNetwork
from .model_file import Model, read_model
from .probability import Tables
from .writing import Draft, draft_of, group_ends, pieces_of

FOLDER = Path(__file__).resolve().parent
TESTS = FOLDER.parent
TINY = TESTS / "models" / "tiny-1.safetensors"
GOLDEN = sorted((TESTS / "golden").glob("*.bld"))
VECTORS = sorted(path.parent for path in (TESTS / "vectors" / "v1").glob("*/case.json"))
KINDS = {"not-bld": ("not-a-.bld-file",), "bits-mismatch": ("bits-mismatch", "corrupt")}
"""Our names for errors that the vectors name otherwise, or that may have either name."""
DIFFERENT = 1e-3
"""The share of samples that may be rounded to the other side with another precision."""


@pytest.fixture(scope="module")
def models() -> dict[bytes, Model]:
    """Return the tiny model and the shipped ones, by the fingerprints that files name."""
    shipped = (TESTS.parent / "bincodec" / "weights").glob("*.safetensors")
    read = [read_model(path.read_bytes()) for path in (TINY, *shipped)]
    return {model.fingerprint: model for model in read}


def check_pixels(found: np.ndarray, expected: np.ndarray) -> None:
    """Require the same picture, except for samples that another precision rounds to the other side."""
    difference = np.abs(found.astype(int) - np.atleast_3d(expected))
    assert found.shape == np.atleast_3d(expected).shape
    assert difference.max() <= 1
    assert (difference > 0).mean() <= DIFFERENT


@pytest.mark.parametrize(
    ("size", "side", "tiles"),
    [((1, 1), 16, 1), ((257, 256), 16, 2), ((300, 530), 16, 6), ((300, 530), 17, 4), ((40, 1030), 64, 2)],
)
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_pictures_of_several_tiles(
    size: tuple[int, int],
    side: int,
    tiles: int,
    grey: bool,
    tiled: Callable[..., bytes],
    tiny: Callable[[bytes], Decoded],
    codec: Codec,
) -> None:
    data = tiled(*size, side=side, grey=grey, quality=73)
    assert len(read_file(data).tiles) == tiles
    found, code = tiny(data), codec.unpack(data)
    assert found.digest() == code.digest()
    check_pixels(found.pixels, np.asarray(codec.decode(code)))


@pytest.mark.parametrize("layers", [1, 2])
def test_files_of_fewer_layers(
    layers: int,
    tiled: Callable[..., bytes],
    network: IntegerNetwork,
    tables: Tables,
    tiny: Callable[[bytes], Decoded],
    codec: Codec,
) -> None:
    """Missing layers are expected across the borders of tiles, and no post-filter is applied."""
    data = tiled(40, 530)
    bare = draft_of(read_file(data)).with_head(21, bytes([layers]))
    groups, header = [range(layers)], dataclasses.replace(read_file(data).header, head=bare.head)
    pieces = pieces_of(network, tables, header, tiny(data).levels[:layers], groups)
    whitening = np.array([6400, 6400, 6400], "<i2").tobytes() + bytes(7)
    draft = Draft(bare.head, group_ends(groups), ((0x81, whitening),), pieces)
    found, code = tiny(draft.write()), codec.unpack(draft.write())
    assert len(found.levels) == layers
    assert found.digest() == code.digest()
    check_pixels(found.pixels, np.asarray(codec.decode(code)))
    assert np.array_equal(found.pixels, tiny(dataclasses.replace(draft, extras=()).write()).pixels)


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_post_filters(
    grey: bool, tiled: Callable[..., bytes], tiny: Callable[[bytes], Decoded], codec: Codec
) -> None:
    """Feature 46 has 5, -3 and 2 eighths for red, green and blue: the codes are 11010, 1001 and 1000."""
    bare = draft_of(read_file(tiled(40, 530, grey=grey)))
    offsets = np.array([900, 0, -900], "<i2").tobytes()
    payload = offsets + (1 << 46).to_bytes(7, "little") + b"\x32" + b"\xd4\xc0"
    data = dataclasses.replace(bare, extras=((0x81, payload),)).write()
    found = tiny(data)
    assert not np.array_equal(found.pixels, tiny(bare.write()).pixels)
    check_pixels(found.pixels, np.asarray(codec.decode(codec.unpack(data))))


def test_the_model_of_another_file_is_refused(
    models: dict[bytes, Model], tables: Tables, tiled: Callable[..., bytes]
) -> None:
    data = tiled(16, 16)
    for fingerprint, model in models.items():
        if fingerprint != read_file(data).header.fingerprint:
            with pytest.raises(Refused, match="wrong model"):
                decode(model, tables, data)


@pytest.mark.parametrize(
    "tensor", ["prior.stem.weight", "prior.head.shift", "decoder.fidelity.decoder.up.bias"]
)
def test_a_damaged_model_is_refused(tensor: str) -> None:
    data = bytearray(TINY.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start + json.loads(data[8:start])[tensor]["data_offsets"][0]] ^= 1
    with pytest.raises(Refused, match="damaged model: its fingerprint"):
        read_model(bytes(data))


def run_command(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reference.decode", *map(str, paths)]
    return subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_the_command(
    grey: bool, tmp_path: Path, tiled: Callable[..., bytes], tiny: Callable[[bytes], Decoded]
) -> None:
    bare = draft_of(read_file(tiled(40, 50, grey=grey)))
    extras = ((0x81, bytes(13)), (0x90, b"note"))
    file, picture = tmp_path / "file.bld", tmp_path / "picture.ppm"
    file.write_bytes(dataclasses.replace(bare, extras=extras).write())
    done = run_command(TINY, file, picture)
    assert done.returncode == 0, done.stderr
    decoded = tiny(file.read_bytes())
    assert done.stdout.splitlines() == [
        decoded.digest(),
        "extra 0x81, post-filter: 13 bytes",
        "extra 0x90, unknown: 4 bytes",
    ]
    assert picture.read_bytes() == netpbm(decoded.pixels)
    shown = np.asarray(Image.open(io.BytesIO(picture.read_bytes())))
    assert np.array_equal(np.atleast_3d(shown), decoded.pixels)


def test_the_command_says_what_is_wrong(tmp_path: Path, tiled: Callable[..., bytes]) -> None:
    file = tmp_path / "cut.bld"
    file.write_bytes(tiled(16, 16)[:-1])
    done = run_command(TINY, file)
    assert (done.returncode, done.stdout) == (1, "")
    assert "truncated" in done.stderr


def test_the_decoder_imports_numpy_and_the_standard_library_only() -> None:
    seen = set()
    for path in FOLDER.glob("*.py"):
        if path.name.startswith("test_") or path.name == "conftest.py":
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


def decode_with_its_model(data: bytes, models: dict[bytes, Model], tables: Tables) -> Decoded:
    return decode(models[read_file(data).header.fingerprint], tables, data)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_decode_to_their_pixels(path: Path, models: dict[bytes, Model], tables: Tables) -> None:
    """`decode` refuses levels whose checksum is not that of the file, so these levels are right."""
    found = decode_with_its_model(path.read_bytes(), models, tables)
    check_pixels(found.pixels, np.asarray(Image.open(path.with_suffix(".png"))))


@pytest.mark.parametrize("folder", VECTORS, ids=lambda folder: folder.name)
def test_vectors(folder: Path, tiny: Callable[[bytes], Decoded]) -> None:
    """Pictures decode to their levels and pixels, and other files are refused for the right reason."""
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    data = (folder / "file.bld").read_bytes()
    if "error" in case:
        with pytest.raises(Refused) as caught:
            tiny(data)
        assert caught.value.kind.replace(" ", "-") in KINDS.get(case["error"], (case["error"],))
        return
    found = tiny(data)
    levels = b"".join(part.astype("u1").tobytes() for part in found.levels)
    assert hashlib.sha256(levels).hexdigest() == case["levels_sha256"]
    expected = np.atleast_3d(np.asarray(Image.open(folder / "picture.png"))).astype(int)
    assert np.abs(expected - found.pixels).max() <= case["tolerance"]
    titles = {"icc": "ICC profile", "exif": "Exif", "xmp": "XMP"}
    assert found.metadata == {
        titles[name]: bytes.fromhex(data) for name, data in case.get("metadata", {}).items()
    }
    assert (found.pixels.shape[2] in (2, 4)) == ("alpha_sha256" in case)
    if "alpha_sha256" in case:
        alpha = found.pixels[..., -1].astype("u1").tobytes()
        assert hashlib.sha256(alpha).hexdigest() == case["alpha_sha256"]


def test_there_are_files_of_every_model(models: dict[bytes, Model]) -> None:
    golden = {read_file(path.read_bytes()).header.fingerprint for path in GOLDEN}
    assert golden | {read_model(TINY.read_bytes()).fingerprint} == set(models)
    assert {path.stem for path in GOLDEN} == set(json.loads((TESTS / "golden" / "golden.json").read_text()))
    assert len(VECTORS) >= 60
