"""`--decoder` and `--realism`, and the commands that name the decoders of a model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

import bincodec

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"


@pytest.fixture
def file(two_decoders: Path, tmp_path: Path, crop: Image.Image, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .bld of a model with two decoders, which is at hand."""
    monkeypatch.setenv("BINCODEC_MODELS", str(two_decoders.parent))
    path = tmp_path / "two.bld"
    path.write_bytes(bincodec.compress(np.array(crop), quality=60, model=two_decoders))
    return path


@pytest.fixture
def plain(tmp_path: Path, crop: Image.Image, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .bld of a model with one decoder, which is at hand."""
    monkeypatch.setenv("BINCODEC_MODELS", str(TINY.parent))
    path = tmp_path / "plain.bld"
    path.write_bytes(bincodec.compress(np.array(crop), model=TINY))
    return path


def opened(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    with Image.open(path) as image:
        assert isinstance(image, PngImageFile)
        return np.array(image), dict(image.text)


@pytest.mark.parametrize(
    ("arguments", "realism"),
    [
        ((), 0.0),
        (("--decoder", "fidelity"), 0.0),
        (("--realism", "0"), 0.0),
        (("--realism", "0.5"), 0.5),
        (("--decoder", "realism", "--realism", "0.5"), 0.5),
        (("--decoder", "realism"), 1.0),
    ],
)
def test_the_picture_is_that_of_the_decoder(
    run, file: Path, two_decoders: Path, arguments: tuple[str, ...], realism: float
) -> None:
    facts = json.loads(run("decompress", file, *arguments, "--json").stdout)
    name = "realism" if realism else "fidelity"
    assert (facts["decoder"], facts["realism"]) == (name, realism)
    pixels, texts = opened(file.with_suffix(".png"))
    expected = bincodec.decompress(file, model=two_decoders, realism=realism)
    assert np.array_equal(pixels, np.array(expected))
    invented = {
        "Software": f"bincodec {bincodec.__version__}",
        "model": "two-1",
        "quality": "60",
        "decoder": "realism",
        "realism": str(realism),
    }
    assert texts == (invented if realism else {})


def test_the_line_names_a_decoder_that_is_not_the_main_one(run, file: Path) -> None:
    assert ", 3 layers, model two-1, realism 0.5, " in run("decompress", file, "--realism", "0.5").stderr
    assert ", 3 layers, model two-1, " in (line := run("decompress", file, "--force").stderr)
    assert "realism" not in line


def test_what_a_picture_says_of_drawn_layers_and_of_the_decoder(run, file: Path) -> None:
    assert (
        run("decompress", file, "--layers", 1, "--missing", "sample", "--decoder", "realism").exit_code == 0
    )
    _, texts = opened(file.with_suffix(".png"))
    assert (texts["realism"], texts["real_layers"], texts["seed"]) == ("1.0", "1", "0")


def test_a_batch_takes_the_decoder(run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "again.bld").write_bytes(file.read_bytes())
    result = run("decompress", file, tmp_path / "again.bld", "-j", 0, "--realism", "0.25", "--json")
    assert [json.loads(line)["realism"] for line in result.stdout.splitlines()] == [0.25, 0.25]
    expected = np.array(bincodec.decompress(file, realism=0.25))
    assert all(np.array_equal(opened(tmp_path / name)[0], expected) for name in ("two.png", "again.png"))


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--decoder", "beauty"), "'beauty' is not one of 'fidelity', 'realism'", 2),
        (("--realism", "1.5"), "1.5 is not in the range 0<=x<=1", 2),
        (("--realism", "0", "--decoder", "fidelity"), "--realism does not go with --decoder fidelity", 2),
    ],
)
def test_wrong_usage(run, file: Path, arguments: tuple[str, ...], words: str, code: int) -> None:
    result = run("decompress", file, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert not file.with_suffix(".png").exists()


@pytest.mark.parametrize("arguments", [("--realism", "0.5"), ("--decoder", "realism")])
def test_a_model_without_the_decoder_is_one_line(run, plain: Path, arguments: tuple[str, ...]) -> None:
    result = run("decompress", plain, *arguments)
    line = f"bincodec: error: {plain}: model tiny-1: decoder 'realism' is not one of fidelity\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line)
    assert not plain.with_suffix(".png").exists()


def test_a_batch_without_the_decoder_fails_before_any_work_if_its_model_is_known(run, plain: Path) -> None:
    result = run("decompress", plain, "-j", 0, "--realism", "0.5")
    assert result.exit_code == 1
    assert f"failed: {plain}: model " in result.stderr
    result = run("decompress", plain, "-j", 0, "--realism", "0.5", "--model", "tiny-1")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "decoder 'realism' is not one of fidelity" in result.stderr


def test_help_says_that_detail_is_invented(run) -> None:
    help_text = " ".join(run("decompress", "--help").stdout.split())
    assert (
        "The detail that realism adds is invented: it is not for evidence, nor for medical or legal use"
        in (help_text)
    )


def test_info_and_models_name_the_decoders(run, file: Path) -> None:
    assert "  decoders         fidelity, realism\n" in run("info", file).stdout
    assert json.loads(run("info", file, "--json").stdout)["decoders"] == ["fidelity", "realism"]
    lines = run("models").stdout.splitlines()
    (place,) = (index for index, line in enumerate(lines) if line.startswith("two-1 "))
    assert lines[place + 1] == "    decoders: fidelity, realism"
    (facts,) = (m for m in json.loads(run("models", "--json").stdout)["models"] if m["name"] == "two-1")
    assert facts["decoders"] == ["fidelity", "realism"]


def test_info_does_not_guess_the_decoders_of_a_model_that_is_not_at_hand(
    run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BINCODEC_MODELS")
    assert json.loads(run("info", file, "--json").stdout)["decoders"] == []
    assert "decoders" not in run("info", file).stdout
