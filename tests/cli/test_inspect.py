"""The commands that write nothing: info, verify, models."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bincodec
from bincodec.bitstream import container
from bincodec.bitstream.container import Memory
from bincodec.bitstream.header import FORMAT_VERSION
from bincodec.cli import output
from bincodec.model import store

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
GOLDEN = TINY.parents[1] / "golden" / "clothing-1-astronaut-10.bld"
FORMAT = ".".join(map(str, FORMAT_VERSION))


def details(text: str) -> dict[str, str]:
    """The lines below the first, by what they are about."""
    return {line[2:18].strip(): line[19:] for line in text.splitlines()[1:]}


def test_info_begins_with_the_picture(run, bld: Path, compressed: bytes) -> None:
    result = run("info", bld)
    assert (result.exit_code, result.stderr) == (0, "")
    name, size = store.find("photo").name, len(compressed)
    assert result.stdout.splitlines()[0] == (
        f"{bld}: BLD 73x50 RGB, {size} bytes, {8 * size / 3650:.3f} bits per pixel, quality 30, model {name}"
    )


def test_info_says_what_every_byte_is_for(run) -> None:
    compressed = GOLDEN.read_bytes()
    lines = details(run("info", GOLDEN).stdout)
    header = bincodec.read_header(compressed)
    assert lines.pop("format") == f"{FORMAT}, model fingerprint {header.fingerprint.hex()}"
    assert lines.pop("layers") == f"{header.layers} in 1 tile"
    assert [*lines] == [f"layers 1-{header.layers}", "post-filter", "header, checks"]
    sizes = [int(line.split(" bytes, ")[0]) for line in lines.values()]
    assert sum(sizes) == len(compressed)
    shares = [float(line.split(" bytes, ")[1].rstrip("%")) for line in lines.values()]
    assert shares == pytest.approx([100 * size / len(compressed) for size in sizes], abs=0.051)


def test_info_tells_the_bits_of_each_layer(run, bld: Path, compressed: bytes) -> None:
    result = run("info", bld, "--bits", "--json")
    codec = bincodec.Codec.load("photo")
    bits = codec.cost(codec.unpack(compressed)).sum((1, 2))
    facts = json.loads(result.stdout)
    assert facts["layer_bits"] == pytest.approx(bits.tolist())
    lines = details(run("info", bld, "--bits").stdout)
    assert lines["bits of layer 1"] == f"{bits[0]:.0f}, {bits[0] / 3650:.4f} bits per pixel"
    assert f"bits of layer {len(bits)}" in lines
    # The levels take the payloads, but for what the range coder rounds.
    payloads = sum(group["bytes"] for group in facts["groups"])
    assert bits.sum() / 8 == pytest.approx(payloads, abs=8 * len(facts["groups"]))
    bld.write_bytes(compressed[:-1])
    damaged = run("info", bld, "--bits", "--json")
    assert (damaged.exit_code, json.loads(damaged.stdout)["layer_bits"]) == (1, None)


def test_info_as_json(run, bld: Path, compressed: bytes) -> None:
    header = bincodec.read_header(compressed)
    for arguments, stdin in (([bld], None), (["-"], compressed)):
        facts = json.loads(run("info", *arguments, "--json", stdin=stdin).stdout)
        assert facts["input"] == str(arguments[0])
        groups, extras = facts["groups"], facts["extras"]
        assert sum(group["layers"] for group in groups) == facts["layers"] == header.layers
        assert facts["tiles"] == 1
        _, index, position = container.read_index(Memory(compressed))
        assert [(extra["kind"], extra["bytes"]) for extra in extras] == list(index.extras)
        payloads = sum(8 + group["bytes"] for group in groups) + sum(4 + extra["bytes"] for extra in extras)
        assert position + payloads == facts["bytes"] == len(compressed)
        assert facts["bits_per_pixel"] == pytest.approx(8 * len(compressed) / (73 * 50))
        assert facts["fingerprint"] == header.fingerprint.hex()
        assert (facts["schema"], facts["command"], facts["damage"]) == (2, "info", [])
        assert (facts["width"], facts["height"], facts["quality"], facts["grey"]) == (73, 50, 30, False)
        assert (facts["model"], facts["format"]) == (store.find("photo").name, FORMAT)


def test_info_on_a_damaged_file_shows_the_header(run, bld: Path, compressed: bytes) -> None:
    bld.write_bytes(compressed[:-1])
    result = run("info", bld)
    assert result.exit_code == 1
    assert "BLD 73x50 RGB" in result.stdout
    assert "header, checks" not in result.stdout
    assert result.stderr.startswith(f"bincodec: error: {bld}: the file ends at byte {len(compressed) - 1},")
    (damage,) = json.loads(run("info", bld, "--json").stdout)["damage"]
    assert damage in result.stderr


def test_info_gives_no_shares_of_a_file_that_was_cut_short(run, bld: Path, layered: bytes) -> None:
    bld.write_bytes(layered[: len(layered) // 2])
    shown = run("info", bld).stdout
    sizes = [group["bytes"] for group in json.loads(run("info", bld, "--json").stdout)["groups"]]
    assert [line for name, line in details(shown).items() if name.startswith("layer ")] == [
        output.counted(size, "byte") for size in sizes
    ]
    assert "%" not in shown


def test_info_of_many_files_does_not_load_pytorch(bld: Path, tmp_path: Path) -> None:
    (tmp_path / "other.bld").write_bytes(bld.read_bytes())
    program = """
import atexit, sys
from bincodec.cli.main import main
atexit.register(lambda: print("torch" in sys.modules))
main(sys.argv[1:])
"""
    command = [
        sys.executable,
        "-c",
        program,
        "info",
        bld,
        tmp_path / "other.bld",
        "-j",
        "0",
        "--threads",
        "1",
    ]
    for more, loaded in (([], "False"), (["--bits"], "True")):
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[2:] == [loaded]


@pytest.mark.parametrize("length", [36, 40])
def test_info_on_a_file_without_an_index_shows_the_header(
    run, bld: Path, compressed: bytes, length: int
) -> None:
    bld.write_bytes(compressed[:length])
    result = run("info", bld, "--json")
    facts = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (facts["width"], facts["tiles"], facts["groups"], facts["extras"]) == (73, 1, [], [])
    assert facts["damage"] == [f"the file ends at byte {length}, within the index"]


def test_info_names_each_damage_and_says_how_much_more(
    run, bld: Path, layered: bytes, chunk_place: Callable[..., slice]
) -> None:
    data = bytearray(layered)
    for group in (1, 3):
        data[chunk_place(layered, group).start] ^= 1
    bld.write_bytes(data)
    result = run("info", bld, "--json")
    damage = json.loads(result.stdout)["damage"]
    assert [line.partition(" of tile 0")[0] for line in damage] == [
        f"the checksum of the chunk of layer {layer}" for layer in (2, 4)
    ]
    assert result.stderr == f"bincodec: error: {bld}: {damage[0]} (and 1 more)\n"


def test_info_counts_tiles(run, bld: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(TINY.parent))
    codec = bincodec.Codec.load(str(TINY))
    code = codec.encode(np.zeros((16, 272, 3), np.uint8))
    data = codec.pack(dataclasses.replace(code, tile_side=16))
    bld.write_bytes(data)
    assert details(run("info", bld).stdout)["layers"] == "3 in 2 tiles"
    facts = json.loads(run("info", bld, "--json").stdout)
    assert (facts["tiles"], facts["groups"][0]["layers"]) == (2, 3)
    chunks = container.read(Memory(data)).chunks[0]
    assert facts["groups"][0]["bytes"] == sum(len(chunk.payload) for chunk in chunks if chunk)


def test_info_needs_no_model(run, bld: Path, compressed: bytes, repair: Callable[..., bytes]) -> None:
    bld.write_bytes(repair(compressed[:24] + b"stranger" + compressed[32:]))
    result = run("info", bld)
    assert result.exit_code == 0
    assert f"model {b'stranger'.hex()} (not installed)" in result.stdout
    assert json.loads(run("info", bld, "--json").stdout)["model"] is None


def test_info_on_other_files(run, photo: Path) -> None:
    for path, words in (
        (photo, "not a .bld file"),
        (photo.parent, "this folder has no files for this command"),
    ):
        result = run("info", path)
        assert (result.exit_code, result.stdout) == (1, "")
        assert words in result.stderr
        assert result.stderr.startswith(f"bincodec: error: {path}: ")


def test_verify_says_ok(run, bld: Path, compressed: bytes) -> None:
    result = run("verify", bld)
    assert (result.exit_code, result.stderr) == (0, "")
    layers = bincodec.read_header(compressed).layers
    assert result.stdout == f"{bld}: ok, {layers} layers, {len(compressed)} bytes\n"
    quiet = run("verify", bld, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_verify_as_json_tells_the_bits(run, bld: Path, compressed: bytes) -> None:
    facts = json.loads(run("verify", "-", "--json", stdin=compressed).stdout)
    code = bincodec.Codec.load("photo").unpack(compressed)
    expected = hashlib.sha256()
    for layer in code.levels:
        expected.update(f"({', '.join(map(str, layer.shape))})".encode() + layer.tobytes())
    assert facts["levels_sha256"] == expected.hexdigest()
    assert (facts["schema"], facts["command"], facts["input"], facts["ok"]) == (2, "verify", "-", True)
    assert (facts["model"], facts["layers"], facts["bytes"]) == (code.model, code.layers, len(compressed))


def test_verify_finds_every_kind_of_damage(
    run, bld: Path, compressed: bytes, repair: Callable[..., bytes]
) -> None:
    stranger = repair(compressed[:24] + b"stranger" + compressed[32:])
    flipped = bytearray(compressed)
    flipped[60] ^= 4
    for data in (b"", compressed[:-1], compressed + b"\0", bytes(flipped), stranger):
        bld.write_bytes(data)
        result = run("verify", bld, "--json")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"bincodec: error: {bld}: ")
        assert result.stderr.count("\n") == 1


def test_models_are_listed(run) -> None:
    cards = store.available()
    lines = [line for line in run("models").stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[:2] for line in lines] == [[card.name, card.fingerprint.hex()] for card in cards]
    facts = json.loads(run("models", "--json").stdout)
    assert (facts["schema"], facts["command"]) == (2, "models")
    assert [model["name"] for model in facts["models"]] == [card.name for card in cards]
    assert all(Path(model["path"]).is_file() for model in facts["models"])
    assert "photo" in {model["name"].rpartition("-")[0] for model in facts["models"]}


def test_models_name_their_classes(run, bits_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(bits_model.parent))
    lines = run("models").stdout.splitlines()
    (index,) = (i for i, line in enumerate(lines) if line.startswith("bits-1  "))
    assert lines[index + 1] == "    classes: cat, dog, not sure"
    (facts,) = (m for m in json.loads(run("models", "--json").stdout)["models"] if m["name"] == "bits-1")
    assert facts["card"]["classes"] == ["cat", "dog", "not sure"]


def test_no_models_at_all(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WEIGHTS", tmp_path)
    monkeypatch.delenv(store.FOLDER_VARIABLE, raising=False)
    assert run("models").stdout == "no models are installed\n"
    assert json.loads(run("models", "--json").stdout)["models"] == []
    assert "models: none" in run("--version").stdout
