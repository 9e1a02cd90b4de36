"""`bincodec eval`: tables on standard output, rows in the folder, failures named, exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bincodec.cli.main import main


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["eval", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_rd_writes_rows_and_prints_means(photos: list[Path], tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    codecs = ("--codec", "bincodec", "--codec", "jpeg")
    result = run("rd", *photos, *codecs, "--quality", "100,0", "--model", tiny, "-o", folder, "--quiet")
    assert result.exit_code == 0, result.stderr
    assert not result.stderr
    content = json.loads((folder / "rows.json").read_text())
    found = [(row["image"], row["codec"], row["setting"]) for row in content["rows"]]
    jpeg = [5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95]
    assert found == [
        (str(photo), codec, setting)
        for photo in photos
        for codec, settings in (("bincodec", [0, 100]), ("jpeg", jpeg))
        for setting in settings
    ]
    assert "Means over 2 images" in result.stdout
    mean = sum(row["psnr"] for row in content["rows"] if row["setting"] == 95) / 2
    assert f"{mean:.3f}" in result.stdout
    assert "bincodec  none: the tested curve has 2 points" in result.stdout
    assert "tiny-1" in content["codecs"]["bincodec"]


def test_rd_reports_a_bad_image_and_goes_on(photos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    result = run("rd", photos[0], bad, "--codec", "jpeg", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"failed: {bad}: not an image" in result.stderr
    assert "1 failed" in result.stderr.splitlines()[-1]
    assert "Means over 1 images" in result.stdout
    content = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert len(content["rows"]) == 12
    assert [failure["image"] for failure in content["failures"]] == [str(bad)]


def test_prior_prints_a_table(photos: list[Path], tiny: Path, tmp_path: Path) -> None:
    result = run("prior", photos[0], "--quality", "0,50", "--model", tiny, "-o", tmp_path, "--quiet")
    assert result.exit_code == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]] == ["0", "50", "all"]
    rows = json.loads((tmp_path / "prior.json").read_text())["rows"]
    assert [row["quality"] for row in rows] == [0, 50]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rd", "a.png"], "-o"),
        (["rd", "-o", "x"], "IMAGES"),
        (["rd", "a.png", "-o", "x", "--quality", "50,fine"], "list of integers"),
        (["rd", "a.png", "-o", "x", "--quality", "50,101"], "0..100"),
        (["rd", "a.png", "-o", "x", "--codec", "gif"], "no codec is called 'gif'"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
