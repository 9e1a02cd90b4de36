"""`bincodec eval speed`: real processes on a small crop; tables, JSON, what is skipped and what failed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bincodec.eval import timing
from bincodec.eval.errors import NotInstalled
from bincodec.eval.peers import Peer

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"

Run = Callable[..., Result]


def test_bincodec_beside_jpeg(run: Run, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    result = run(
        "eval", "speed", photo, "--codec", "bincodec:settings=70", "--codec", "jpeg", "--model", TINY,
        "--repeat", 1, "--threads", 1, "-o", folder, "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert not result.stderr
    content = json.loads((folder / "speed.json").read_text())
    assert (content["schema"], content["repeat"], content["threads"]) == (1, 1, 1)
    ours, jpeg = content["rows"]
    assert (ours["codec"], ours["setting"], ours["width"], ours["height"]) == ("bincodec", 70, 73, 50)
    assert "tiny-1" in content["codecs"]["bincodec"]
    assert ours["checked_seconds"] > 0
    assert ours["megabytes"] > jpeg["megabytes"]
    assert jpeg["checked_seconds"] is None
    parts = {row["part"]: row for row in content["networks"]}
    assert {row["codec"] for row in content["networks"]} == {"bincodec"}
    assert parts["encoding"]["multiply_adds_per_pixel"] > parts["decoding"]["multiply_adds_per_pixel"]
    commands = {row["command"]: row for row in content["commands"]}
    assert list(commands) == [
        "bincodec --help",
        "import bincodec",
        "bincodec compress",
        "bincodec decompress",
    ]
    assert commands["bincodec compress"]["megabytes"] > commands["bincodec --help"]["megabytes"]
    assert "prior, mean of 7 passes" in result.stdout
    assert "bincodec decompress" in result.stdout


def test_what_is_missing_is_skipped_in_one_line(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(spec: str, *, model: str, device: str) -> Peer:
        if spec == "jpeg":
            return real(spec, model=model, device=device)
        msg = "two of them need a package"
        raise NotInstalled(msg)

    real = timing.find
    monkeypatch.setattr(timing, "find", find)
    chosen = ("--codec", "mbt2018_mean", "--codec", "cheng2020_anchor", "--codec", "jpeg")
    result = run("eval", "speed", photo, *chosen, "--repeat", 1, "-o", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("note: skipped: two of them need a package") == 1
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content["skipped"] == ["two of them need a package"]
    assert [row["codec"] for row in content["rows"]] == ["jpeg"]


def test_a_bad_image_is_named_and_the_rest_is_there(run: Run, photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    out = tmp_path / "out"
    result = run("eval", "speed", bad, photo, "--codec", "jpeg", "--repeat", 1, "-o", out, "--quiet")
    assert result.exit_code == 1
    assert f"failed: {bad}: this is not an image" in result.stderr
    content = json.loads((out / "speed.json").read_text())
    assert [row["image"] for row in content["rows"]] == [str(photo)]
    assert [row["image"] for row in content["failures"]] == [str(bad)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png"], "-o"),
        (["-o", "x"], "IMAGES"),
        (["a.png", "-o", "x", "--codec", "gif"], "no codec is called 'gif'"),
        (["a.png", "-o", "x", "--repeat", "0"], "--repeat"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], message: str) -> None:
    result = run("eval", "speed", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_images_or_codecs_nothing_is_written(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    result = run("eval", "speed", tmp_path / "none.png", "--codec", "jpeg", "-o", out)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("nothing is left to report and nothing was written")
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    result = run("eval", "speed", photo, "--codec", "jxl", "-o", out, "--quiet")
    assert result.exit_code == 1
    assert "note: skipped: jxl needs the package" in result.stderr
    assert "none of the codecs that were asked for is installed" in result.stderr
    assert not out.exists()


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are text there")
def test_a_name_that_is_no_text_is_escaped(run: Run, photo: Path, tmp_path: Path) -> None:
    odd = photo.with_name("bad\udcff.png")
    photo.rename(odd)
    result = run("eval", "speed", odd, "--codec", "jpeg", "--repeat", 1, "-o", tmp_path / "out", "--quiet")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads((tmp_path / "out" / "speed.json").read_bytes())["rows"]
    assert row["image"].endswith("bad\\udcff.png")
