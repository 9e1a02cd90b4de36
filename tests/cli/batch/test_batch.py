"""Several inputs: which there are, where outputs go, what is skipped, what fails, what is said."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bincodec
from bincodec.cli.batch import inputs
from bincodec.cli.batch.job import Job, Outcome
from bincodec.cli.batch.report import Report

HERE = ("-j", 0)
TINY = ("--model", "tiny-1")
CODED = {"a.bld", "b.bld", "below/c.bld", "below/deep/d.bld"}


def below(folder: str | Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_tree_there_and_back(run, pictures: Path) -> None:
    result = run("compress", pictures, "-r", "-o", "out", *TINY, *HERE)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert below("out") == CODED
    assert result.stderr.startswith("4 compressed: ")
    assert result.stderr.count("\n") == 1
    for name in ("a.png", "below/c.png"):
        data = Path("out", name).with_suffix(".bld").read_bytes()
        assert data == bincodec.compress(pictures / name, model="tiny-1")
    result = run("decompress", "out", "-r", "-o", "back", "--format", "tif", *HERE)
    assert result.stderr.startswith("4 decompressed: ")
    assert below("back") == {name.replace(".bld", ".tif") for name in CODED}
    shown = bincodec.decompress("out/a.bld")
    with Image.open("back/a.tif") as image:
        assert np.array_equal(np.array(image), np.array(shown))


def test_folders_are_searched_as_deep_as_is_asked(run, pictures: Path) -> None:
    assert run("compress", f"{pictures}/", "-o", "out", *TINY, *HERE).exit_code == 0
    assert below("out") == {"a.bld", "b.bld"}
    result = run("compress", pictures / "below" / "deep" / "..", "-o", "flat", *TINY, *HERE)
    assert below("flat") == {"c.bld"}, result.stderr
    (pictures / "empty" / "full").mkdir(parents=True)
    result = run("compress", pictures / "empty", *TINY, *HERE)
    assert result.exit_code == 1
    words = "this folder has no files for this command (--recursive also searches the folders in it)"
    assert f"photos/empty: {words}" in result.stderr


def test_a_folder_stands_for_its_files_not_for_pipes(pictures: Path) -> None:
    os.mkfifo(pictures / "pipe.png")
    (pictures / "nowhere.png").symlink_to("nothing")
    for name in ("photos", "photos/*.png"):
        found = inputs.gather(
            [name],
            [],
            wanted=lambda name: name.endswith(".png"),
            recursive=False,
            extension=".bld",
            folder=None,
        )
        assert [job.source for job in found.jobs] == ["photos/a.png", "photos/nowhere.png"]


def test_without_a_folder_outputs_stand_beside_their_inputs(run, pictures: Path) -> None:
    result = run("compress", pictures / "a.png", pictures / "below" / "c.png", *TINY, *HERE)
    assert result.exit_code == 0, result.stderr
    assert {name for name in below(pictures) if name.endswith(".bld")} == {"a.bld", "below/c.bld"}


def test_patterns(run, pictures: Path) -> None:
    assert run("compress", "photos/**/*.png", "-o", "out", *TINY, *HERE).exit_code == 0
    assert below("out") == CODED - {"b.bld"}
    result = run("compress", "photos/*.gif", "photos/a.png", "-o", "out", *TINY, *HERE)
    assert result.exit_code == 1
    assert "failed: photos/*.gif: no file matches this pattern" in result.stderr
    Path("odd[1].png").write_bytes((pictures / "a.png").read_bytes())
    assert run("compress", "odd[1].png", *TINY).exit_code == 0, "a file of that name is no pattern"
    assert Path("odd[1].bld").exists()


def test_a_listing(run, pictures: Path) -> None:
    listing = f"photos/below/c.png\n\n{pictures.resolve()}/a.png\n"
    result = run("compress", "--from", "-", "-o", "out", *TINY, *HERE, stdin=listing.encode())
    assert result.exit_code == 0, result.stderr
    assert below("out") == {"photos/below/c.bld", f"{str(pictures.resolve())[1:]}/a.bld"}
    Path("list.txt").write_text("../photos/a.png\n")
    result = run("compress", "--from", "list.txt", "-o", "out", *TINY, *HERE)
    assert result.stderr == "bincodec: error: ../photos/a.png: its output would be outside the folder out\n"


def test_a_listing_has_one_name_a_line_with_any_other_signs(run, pictures: Path) -> None:
    (pictures / "b.jpg").rename(pictures / "b\u2028\x0cb.jpg")
    Path("list.txt").write_bytes("\ufeffphotos/a.png\r\nphotos/b\u2028\x0cb.jpg\r\n".encode())
    result = run("compress", "--from", "list.txt", *TINY, *HERE)
    assert result.exit_code == 0, result.stderr
    assert {"a.bld", "b\u2028\x0cb.bld"} <= below(pictures)


def test_a_listing_with_other_ends_of_lines_is_a_failure_in_one_line(run, pictures: Path) -> None:
    listing = b"photos/a.png\0photos/b.jpg\0"
    result = run("compress", "photos/a.png", "--from", "-", *TINY, *HERE, stdin=listing)
    assert result.exit_code == 1
    assert result.stderr.startswith("1 compressed, 1 failed: ")
    assert "cannot be read: embedded null byte" in result.stderr


def test_a_line_that_leads_nowhere_stops_no_other(run, pictures: Path) -> None:
    Path("list.txt").write_text("photos/a.png\nphotos/b.jpg/c.png\n")
    result = run("compress", "--from", "list.txt", *TINY, *HERE)
    assert result.exit_code == 1
    assert (pictures / "a.bld").exists()
    assert result.stderr.startswith("1 compressed, 1 failed: ")
    assert "failed: photos/b.jpg/c.png: photos/b.jpg: Not a directory" in result.stderr


def test_one_failure_does_not_stop_the_others(run, pictures: Path) -> None:
    (pictures / "a.png").write_bytes(b"no picture")
    result = run("compress", pictures, "missing.png", "-o", "out", *TINY, *HERE)
    assert result.exit_code == 1
    assert below("out") == {"b.bld"}
    count, *failed, last = result.stderr.splitlines()
    assert count.startswith("1 compressed, 2 failed: ")
    assert failed[0].startswith("bincodec: note: failed: photos/a.png: this is not an image")
    assert failed[1:] == ["bincodec: note: failed: missing.png: cannot be read: No such file or directory"]
    assert last == "bincodec: error: 2 failed; the 1 other did not"


def test_what_is_finished_is_skipped_unless_forced(run, pictures: Path) -> None:
    again = ("compress", pictures, "-o", "out", *TINY, *HERE)
    assert run(*again).exit_code == 0
    Path("out/b.bld").write_bytes(b"kept as it is")
    os.unlink("out/a.bld")
    result = run(*again)
    assert result.exit_code == 0
    assert result.stderr.startswith("1 compressed, 1 skipped (their outputs exist; --force replaces them): ")
    assert Path("out/b.bld").read_bytes() == b"kept as it is"
    assert run(*again, "--force").stderr.startswith("2 compressed: ")
    assert Path("out/b.bld").read_bytes() == bincodec.compress(pictures / "b.jpg", model="tiny-1")


def test_two_inputs_never_become_one_output(run, pictures: Path) -> None:
    shutil.copy(pictures / "a.png", pictures / "b.png")
    result = run("compress", pictures, "photos/a.png", "./photos/a.png", "-o", "out", *TINY, *HERE)
    assert result.exit_code == 1
    assert "failed: photos/b.png: its output out/b.bld is already that of photos/b.jpg" in result.stderr
    assert result.stderr.startswith("2 compressed, 1 failed: "), "a file that is named twice is done once"


def test_two_spellings_of_one_output_are_one_output(run, pictures: Path) -> None:
    shutil.copy(pictures / "a.png", pictures / "b.png")
    result = run("compress", "photos/b.jpg", "./photos/b.png", *TINY, *HERE)
    assert result.exit_code == 1
    assert (
        "failed: ./photos/b.png: its output ./photos/b.bld is already that of photos/b.jpg" in result.stderr
    )
    assert result.stderr.startswith("1 compressed, 1 failed: ")


def test_links_to_one_picture_have_outputs_of_their_own(run, pictures: Path) -> None:
    (pictures / "link.png").symlink_to("a.png")
    assert run("compress", pictures, "-o", "out", *TINY, *HERE).exit_code == 0
    assert below("out") == {"a.bld", "b.bld", "link.bld"}


def test_colons_do_not_make_a_url_of_a_file(run, pictures: Path) -> None:
    (pictures / "a.png").rename(pictures / "12::30.png")
    assert run("compress", pictures, "-o", "out", *TINY, *HERE).exit_code == 0
    assert below("out") == {"12::30.bld", "b.bld"}
    assert run("compress", "photos/12::30.png", "one.bld", *TINY).exit_code == 0


def test_json_lines_and_a_manifest_say_the_same(run, pictures: Path) -> None:
    (pictures / "b.jpg").write_bytes(b"")
    arguments = ("compress", pictures, "-o", "out", "--json", "--measure", "--manifest", "made/all.jsonl")
    result = run(*arguments, *TINY, *HERE)
    good, bad = lines(result.stdout)
    assert Path("made/all.jsonl").read_text() == result.stdout
    assert (good["input"], good["output"], good["status"]) == ("photos/a.png", "out/a.bld", "done")
    assert good["bits_per_pixel"] == 8 * good["bytes"] / (24 * 32)
    decoded = np.array(bincodec.decompress("out/a.bld")).astype(float)
    error = np.mean((decoded - np.array(Image.open(pictures / "a.png"))) ** 2)
    assert good["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=0.01)
    assert good["seconds_total"] >= good["seconds_code"]
    assert (bad["input"], bad["output"], bad["status"]) == ("photos/b.jpg", "out/b.bld", "failed")
    assert bad["error"] == "photos/b.jpg: the file is empty, so there is no image in it"
    assert lines(run(*arguments, *TINY, *HERE).stdout)[0]["status"] == "skipped"


def test_info_and_verify_of_many(run, pictures: Path) -> None:
    run("compress", pictures, "-r", "-o", "out", *TINY, *HERE)
    result = run("info", "out", "-r", *HERE)
    assert (result.exit_code, result.stdout.count("\n")) == (0, 4)
    assert result.stdout.startswith("out/a.bld: BLD 32x24 RGB, ")
    data = Path("out/a.bld").read_bytes()
    Path("out/a.bld").write_bytes(data[:-1])
    shown = lines(run("info", "out", "--json", *HERE).stdout)
    assert [(line["input"], line["status"]) for line in shown] == [
        ("out/a.bld", "failed"),
        ("out/b.bld", "done"),
    ]
    assert (shown[0]["width"], len(shown[0]["damage"])) == (32, 1)
    result = run("verify", "out/a.bld", "out/b.bld", *HERE)
    assert result.exit_code == 1
    assert result.stdout.startswith("out/b.bld: ok, ")
    assert "bincodec: note: failed: out/a.bld: " in result.stderr
    assert result.stderr.startswith("1 verified, 1 failed: ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["compress", "-", "photos"], 2, "- (standard input) does not go with further inputs"),
        (["compress", "photos/a.png", "photos/b.jpg", "c.bld"], 2, "c.bld: this is a .bld file already"),
        (["compress", "photos", "-o", "photos/a.png"], 1, "photos/a.png: this exists and is not a folder"),
        (["compress", "photos", "-o", ""], 2, "the name of the output is empty"),
        (["compress", "photos", "-o", "/proc/nothing"], 1, "/proc/nothing: No such file or directory"),
        (["compress", "photos", "--model", "none"], 1, "no model is called 'none'"),
        (["verify", "photos", "--device", "cuda:99"], 2, "device 'cuda:99'"),
        (
            ["compress", "photos", "--device", "cuda", "--engine", "ray"],
            2,
            "--device cuda does not go with --engine ray",
        ),
        (["compress", "photos", "--address", "here:1"], 2, "--address is the address of a Ray cluster"),
        (
            ["compress", "photos", "--manifest", "photos/below"],
            1,
            "photos/below: this is a folder, not a file",
        ),
        (
            ["compress", "photos", "--manifest", "./photos/a.png"],
            2,
            "the manifest would replace photos/a.png",
        ),
        (
            ["info", "photos/a.png", "--from", "photos/readme.txt", "--manifest", "photos/readme.txt"],
            2,
            "the ",
        ),
        (["compress", "photos/b.jpg/c.png", "-j", "0"], 1, "photos/b.jpg: Not a directory"),
        (["compress", "--from", "nothing.txt"], 1, "nothing.txt: cannot be read: No such file"),
        (
            ["decompress", "photos", "--format", "gif"],
            2,
            "Invalid value for '--format': cannot write",
        ),
        (["info"], 2, "Missing argument 'FILE'"),
    ],
)
def test_what_cannot_be_done_at_all_is_one_line(
    run, pictures: Path, arguments: list[str], code: int, words: str
) -> None:
    before = below(".")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"bincodec: error: {words}")
    assert result.stderr.count("\n") == 1
    assert below(".") == before


class Terminal(io.StringIO):
    """What is written to it is seen by somebody."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("file", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_a_bar_on_a_terminal_alone(
    file: type[io.StringIO], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", file())
    report = Report("compress", 8, as_json=False, quiet=False, prints=False, manifest=None)
    with report.open():
        report.add(Job("a.png", "a.bld"), Outcome("done", {"bytes": 3}))
        report._bar.refresh()
    assert ("compress:  12%" in sys.stderr.getvalue()) == shown
    assert ("picture/s" in sys.stderr.getvalue()) == shown


def test_notes_name_their_picture(run, pictures: Path) -> None:
    Image.open(pictures / "a.png").convert("CMYK").save(pictures / "b.jpg")
    result = run("compress", pictures, "-o", "out", *TINY, *HERE)
    assert result.exit_code == 0
    assert "bincodec: note: photos/b.jpg: " in result.stderr
    assert "photos/a.png" not in result.stderr


def test_two_names_are_a_batch_only_where_the_second_is_an_input(pictures: Path) -> None:
    from bincodec.cli.batch.asked import Asked, alone
    from bincodec.cli.coded import is_coded

    nothing = Asked(False, None, None, None, "local", None, None)
    assert alone(("photos/a.png", "photos/b.jpg"), nothing, is_coded) is None
    assert alone(("photos/a.png", "new.bld"), nothing, is_coded) == ("photos/a.png", "new.bld")
    assert alone(("photos/a.png", "new.png"), nothing, is_coded) == ("photos/a.png", "new.png")
    assert alone(("photos/a.png", "-"), nothing, is_coded) == ("photos/a.png", "-")
    assert alone(("photos/a.png", "/dev/null"), nothing, is_coded) == ("photos/a.png", "/dev/null")
    assert alone(("photos/a.png",), nothing, is_coded) == ("photos/a.png", None)
    for many in ("photos", "*.png", "s3://bucket/a.png", "memory://a.png"):
        assert alone((many,), nothing, is_coded) is None
        assert inputs.is_many(many)
