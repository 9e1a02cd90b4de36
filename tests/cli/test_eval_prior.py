"""`bincodec eval prior`: a table by quality, all values in JSON, bad images named."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from safetensors.torch import save_file

from bincodec import Codec
from bincodec.model.architecture import Architecture
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"

Run = Callable[..., Result]


def float_weights(path: Path, architecture: Architecture) -> Path:
    weights = {
        key: value.half() for key, value in Objective(architecture, ObjectiveSettings()).state_dict().items()
    }
    save_file(weights, path, {"architecture": architecture.to_json()})
    return path


def test_a_table_by_quality(run: Run, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    weights = float_weights(tmp_path / "float.safetensors", Codec.load(str(TINY)).model.card.architecture)
    result = run(
        "eval", "prior", photo, "--quality", "0,50", "--model", TINY,
        "--float-weights", weights, "-o", folder, "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert not result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1] == ["quality", "raw", "frequencies", "1", "2", "4", "7", "file"]
    assert [line[0] for line in lines[2:5]] == ["0", "50", "all"]
    content = json.loads((folder / "prior.json").read_text())
    assert (content["model"], content["passes"]) == ("tiny-1", 7)
    assert [row["quality"] for row in content["rows"]] == [0, 50]
    assert {row["image"] for row in content["rows"]} == {str(photo)}
    found = [(row["quality"], row["prior"], row["passes"]) for row in content["orders"]]
    assert found == [(q, p, n) for q in (0, 50) for p in ("integer", "float") for n in (1, 2, 4, 7)]
    assert content["orders"][3]["bits"] == content["rows"][0]["integer_bits"]
    assert content["orders"][7]["bits"] == content["rows"][0]["float_bits"]


def test_without_float_weights_there_is_no_float(run: Run, photo: Path) -> None:
    result = run("eval", "prior", photo, "--quality", "0", "--model", TINY, "--quiet")
    assert result.exit_code == 0, result.stderr
    assert "float" not in result.stdout


@pytest.mark.parametrize("others", [True, False])
def test_a_bad_image_is_named_and_the_rest_is_there(run: Run, photo: Path, others: bool) -> None:
    bad = photo.with_name("bad.png")
    bad.write_bytes(b"no image")
    images = [bad, photo] if others else [bad]
    folder = photo.with_name("out")
    result = run("eval", "prior", *images, "--quality", "0", "--model", TINY, "--quiet", "-o", folder)
    assert result.exit_code == 1
    assert f"failed: {bad}: this is not an image" in result.stderr
    assert bool(result.stdout) == folder.exists() == others
    assert ("nothing was written" in result.stderr) != others


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are text there")
def test_a_name_that_is_no_text_is_escaped(run: Run, photo: Path) -> None:
    odd = photo.with_name("bad\udcff.png")
    photo.rename(odd)
    folder = photo.with_name("out")
    result = run("eval", "prior", odd, "--quality", "0", "--model", TINY, "-o", folder, "--quiet")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads((folder / "prior.json").read_bytes())["rows"]
    assert row["image"] == str(photo.with_name("bad\\udcff.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--quality", "101"], "0..100"), (["--model", "nothing"], "no model is called 'nothing'")],
)
def test_wrong_usage(run: Run, photo: Path, arguments: list[str], message: str) -> None:
    result = run("eval", "prior", photo, *arguments)
    assert result.exit_code != 0
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
