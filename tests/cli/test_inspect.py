"""The commands that write nothing: info, verify, models."""

import json
from pathlib import Path

import pytest

import bincodec
from bincodec.model import store


def test_info_is_one_line(run, bld: Path, compressed: bytes) -> None:
    result = run("info", bld)
    assert (result.exit_code, result.stderr) == (0, "")
    name = store.find("photo").name
    assert result.stdout.startswith(f"{bld}: 73 x 50 pixels, colour, quality 30, model {name}, ")
    assert f", {len(compressed)} bytes, " in result.stdout
    assert result.stdout.count("\n") == 1


def test_info_as_json(run, bld: Path, compressed: bytes) -> None:
    header = bincodec.read_header(compressed)
    for arguments, stdin in (([bld], None), (["-"], compressed)):
        facts = json.loads(run("info", *arguments, "--json", stdin=stdin).stdout)
        assert facts["input"] == str(arguments[0])
        chunks = facts.pop("chunks")
        carried = sum(chunk["layers"] for chunk in chunks if "ancillary" not in chunk)
        assert carried == facts["layers"] == header.layers
        assert 36 + sum(12 + chunk["bytes"] for chunk in chunks) == facts["bytes"] == len(compressed)
        assert facts["bits_per_pixel"] == pytest.approx(8 * len(compressed) / (73 * 50))
        assert facts["fingerprint"] == header.fingerprint.hex()
        assert (facts["schema"], facts["command"], facts["damage"]) == (1, "info", None)
        assert (facts["width"], facts["height"], facts["quality"], facts["grey"]) == (73, 50, 30, False)
        assert (facts["model"], facts["format"]) == (store.find("photo").name, "0.1")


def test_info_on_a_damaged_file_shows_the_header(run, bld: Path, compressed: bytes) -> None:
    bld.write_bytes(compressed[:-1])
    result = run("info", bld)
    assert result.exit_code == 1
    assert "73 x 50 pixels" in result.stdout
    assert result.stderr.startswith("bincodec: error: ")
    assert "ends at byte" in json.loads(run("info", bld, "--json").stdout)["damage"]


def test_info_needs_no_model(run, bld: Path, compressed: bytes) -> None:
    header = bincodec.read_header(compressed)
    bld.write_bytes(type(header)(73, 50, 30, header.layers, b"stranger").pack() + compressed[36:])
    result = run("info", bld)
    assert result.exit_code == 0
    assert f"model not at hand, {b'stranger'.hex()}" in result.stdout
    assert json.loads(run("info", bld, "--json").stdout)["model"] is None


def test_info_on_other_files(run, photo: Path) -> None:
    for path, words in ((photo, "not a .bld file"), (photo.parent, "Is a directory")):
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
    assert facts["levels_sha256"] == code.digest()
    assert (facts["schema"], facts["command"], facts["input"], facts["ok"]) == (1, "verify", "-", True)
    assert (facts["model"], facts["layers"], facts["bytes"]) == (code.model, code.layers, len(compressed))


def test_verify_finds_every_kind_of_damage(run, bld: Path, compressed: bytes) -> None:
    header = bincodec.read_header(compressed)
    stranger = type(header)(73, 50, 30, header.layers, b"stranger").pack() + compressed[36:]
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
    assert (facts["schema"], facts["command"]) == (1, "models")
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
    assert run("models").stdout == "no models\n"
    assert json.loads(run("models", "--json").stdout)["models"] == []
    assert "models: none" in run("--version").stdout
