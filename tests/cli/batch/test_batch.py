"""Several inputs: which there are, where outputs go, what is skipped, what fails, what is said."""

import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bincodec
from bincodec.cli.batch import inputs, local, stores
from bincodec.cli.batch.job import Job, Order, Outcome
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


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_file_where_a_folder_is_needed_is_a_failure(run, pictures: Path, force: tuple[str, ...]) -> None:
    Path("out").mkdir()
    Path("out/below").write_text("in the way")
    result = run("compress", pictures, "-r", "-o", "out", *force, *TINY, *HERE)
    assert result.exit_code == 1
    assert "failed: photos/below/c.png: out/below: Not a directory" in result.stderr
    assert below("out") == {"a.bld", "b.bld", "below"}
    # An output may also be in the way of another one.
    (pictures / "below").rename(pictures / "a.bld")
    result = run("compress", pictures, "-r", "-o", "other", *force, *TINY, *HERE)
    assert result.exit_code == 1
    reason = "Is a directory" if force else "exists and is no file"
    assert f"failed: photos/a.png: other/a.bld: {reason}" in result.stderr


def test_a_manifest_does_not_replace_an_input_that_cannot_be_done(run, pictures: Path) -> None:
    (pictures / "more").mkdir()
    shutil.copy(pictures / "a.png", pictures / "more" / "a.png")
    before = (pictures / "more" / "a.png").read_bytes()
    names = ("photos/a.png", "photos/more/a.png")
    result = run("compress", *names, "-o", "out", "--manifest", names[1], *TINY, *HERE)
    assert (result.exit_code, f"the manifest would replace {names[1]}" in result.stderr) == (2, True)
    assert (pictures / "more" / "a.png").read_bytes() == before


def test_photographs_of_phones_are_not_left_out(run, pictures: Path) -> None:
    small = Image.new("RGB", (8, 6))
    with Image.open(pictures / "b.jpg") as image:
        image.save(pictures / "phone.mpo", save_all=True, append_images=[small])
    assert run("compress", pictures, "-o", "out", *TINY, *HERE).exit_code == 0
    assert below("out") == {"a.bld", "b.bld", "phone.bld"}


def test_a_number_of_threads_does_not_make_a_batch(
    run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    source, bld, more = pictures / "a.png", Path("named.bld"), ("--threads", 3)
    commands = (
        ("compress", source, bld, *TINY),
        ("verify", bld),
        ("info", bld, "--bits"),
        ("decompress", bld, "-o", "named.png"),
    )
    for number, words in enumerate(commands, 1):
        result = run(*words, *more)
        assert result.exit_code == 0, result.stderr
        assert asked.count(3) == number
    assert Path("named.png").exists()
    # Unlike in a batch, it is an error if the output exists.
    assert run("compress", source, bld, *TINY, *more).exit_code == 1
    assert run("compress", source, bld, *TINY, "-j", 0).exit_code == 2


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


def test_a_folder_that_cannot_be_read_does_not_stop_the_others(
    run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(path: str = ".") -> object:
        if path == "photos/below/deep":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = run("compress", "-r", pictures, pictures, "-o", "out", *TINY, *HERE)
    assert result.exit_code == 1
    assert result.stderr.startswith("3 compressed, 1 failed: "), result.stderr
    assert "failed: photos/below/deep: cannot be read: Permission denied" in result.stderr


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


def test_patterns_of_any_depth_do_not_go_round_in_circles(pictures: Path) -> None:
    for name in ("round", "again", "below/up"):
        (pictures / name).symlink_to(pictures.resolve())
    for name in (".hides/e.png", "odd[1]*/f.png"):
        (pictures / name).parent.mkdir()
        shutil.copy(pictures / "a.png", pictures / name)

    def found(pattern: str) -> list[str]:
        gathered = inputs.gather(
            [pattern], [], wanted=lambda _: True, recursive=False, extension=".bld", folder="out"
        )
        return [job.source for job in gathered.jobs]

    deep = ["below/c.png", "below/deep/d.png", "odd[1]*/f.png"]
    assert found("photos/**/*.png") == [f"photos/{name}" for name in ("a.png", *deep)]
    assert found("photos/**") == [f"photos/{name}" for name in ("a.png", "b.jpg", *deep, "readme.txt")]
    assert found("./ph*/**/deep/**/d.*") == ["./photos/below/deep/d.png"]
    assert found("photos/**/.hides/*") == ["photos/.hides/e.png"], "it is named"
    assert found(f"{pictures.resolve()}/**/d.png") == [f"{pictures.resolve()}/below/deep/d.png"]
    assert found("photos/nothing/**/*.png") == []
    os.chdir(pictures)
    assert found("**/*.png") == ["a.png", *deep]


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


def test_a_name_that_is_taken_by_no_file_is_a_failure(run, pictures: Path) -> None:
    Path("out/a.bld").mkdir(parents=True)
    Path("out/b.bld").symlink_to("nothing")
    os.mkfifo("out/c.bld")
    result = run("compress", pictures, "photos/below/c.png", "-o", "out", *TINY, *HERE)
    assert result.exit_code == 1
    assert result.stderr.startswith("0 compressed, 3 failed: "), result.stderr
    assert "failed: photos/a.png: out/a.bld: exists and is no file" in result.stderr
    assert "failed: photos/b.jpg: out/b.bld: exists and is no file" in result.stderr


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


@pytest.mark.parametrize("ignores_case", [False, True])
def test_names_that_differ_in_capitals_are_one_output_where_the_file_system_says_so(
    run, pictures: Path, monkeypatch: pytest.MonkeyPatch, ignores_case: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(stores, "ignores_case", lambda folder: asked.append(folder) or ignores_case)
    assert run("compress", pictures, "-o", "before", *TINY, *HERE).exit_code == 0
    assert asked == [], "nobody asks where no two names are alike"
    for name in ("A.png", "B.png"):
        shutil.copy(pictures / "a.png", pictures / name)
    result = run("compress", pictures, "-o", "out", *TINY, *HERE)
    assert asked == ["out"]
    if ignores_case:
        assert below("out") == {"A.bld", "B.bld"}
        assert result.stderr.startswith("2 compressed, 2 failed: ")
        told = "photos/a.png: its output out/a.bld is the same file there as out/A.bld, the output of "
        told += "photos/A.png"
        assert f"failed: {told}" in result.stderr
    else:
        assert result.exit_code == 0
        assert below("out") == {"A.bld", "B.bld", "a.bld", "b.bld"}


def test_names_that_differ_in_capitals_are_still_told_apart_from_the_same_name(run, pictures: Path) -> None:
    for name in ("A.png", "A.jpg", "a.jpg"):
        shutil.copy(pictures / "a.png", pictures / name)
    result = run("compress", pictures, "-o", "out", *TINY, *HERE)
    assert below("out") == {"A.bld", "a.bld", "b.bld"}
    assert "failed: photos/A.png: its output out/A.bld is already that of photos/A.jpg" in result.stderr
    assert "failed: photos/a.png: its output out/a.bld is already that of photos/a.jpg" in result.stderr


def test_a_file_system_is_asked_whether_it_ignores_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not stores.ignores_case(f"{tmp_path}/not/there/yet")
    assert not stores.ignores_case("s3://bucket/folder")
    there = os.path.lexists
    monkeypatch.setattr(
        os.path, "lexists", lambda path: there(path) or os.path.basename(path).lower() in os.listdir(tmp_path)
    )
    assert stores.ignores_case(str(tmp_path))
    assert below(tmp_path) == set()


def test_the_system_is_asked_once_for_each_folder(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: asked.append(path) or real(path))
    others = list(inputs.listed("".join(f"photos/{number}.png\n" for number in range(50))))
    inputs.gather([], others, wanted=bool, recursive=False, extension=".bld", folder="out")
    assert sorted(asked) == ["out/photos", "photos"]


def test_a_manifest_that_cannot_be_written_hides_nothing(
    run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = stores.write

    def full(name: str, data: bytes, *, replace: bool) -> None:
        if name.endswith(".jsonl"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        write(name, data, replace=replace)

    monkeypatch.setattr(stores, "write", full)
    arguments = ("compress", pictures, "-o", "out", "--manifest", "all.jsonl", *TINY, *HERE)
    result = run(*arguments)
    note, count, last = result.stderr.splitlines()
    assert note == "bincodec: note: failed: the manifest: all.jsonl: No space left on device"
    assert count.startswith("2 compressed: ")
    assert last == "bincodec: error: all.jsonl: the manifest could not be written; everything else is done"
    assert (result.exit_code, below("out")) == (1, {"a.bld", "b.bld"})
    (pictures / "c.png").write_bytes(b"no picture")
    assert run(*arguments).stderr.splitlines()[-1] == "bincodec: error: 1 failed; the 2 others did not"

    def interrupted(self: Report, job: Job, outcome: Outcome) -> None:
        assert self._lines is not None
        self._lines.write(b"{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(Report, "add", interrupted)
    result = run(*arguments)
    assert result.exit_code == 130
    assert result.stderr.splitlines() == [note, "bincodec: error: interrupted"]


def test_a_manifest_is_written_even_if_the_batch_is_interrupted(
    run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Report.add

    def interrupted(self: Report, job: Job, outcome: Outcome) -> None:
        honest(self, job, outcome)
        raise KeyboardInterrupt

    monkeypatch.setattr(Report, "add", interrupted)
    assert run("compress", pictures, "-o", "out", "--manifest", "all.jsonl", *TINY, *HERE).exit_code == 130
    (line,) = lines(Path("all.jsonl").read_text())
    assert (line["status"], below("out")) == ("done", {Path(str(line["output"])).name})


@pytest.mark.parametrize(
    ("options", "jobs", "threads"),
    [((), 5, 1), (("--threads", 3), 5, 3), (("-j", 2, "--threads", 3), 2, 3), (("-j", 0), 0, None)],
)
def test_processes_and_their_threads_are_as_many_as_is_said(
    run,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
    jobs: int,
    threads: int | None,
) -> None:
    asked = []

    def noted(order: Order, *_: object, jobs: int) -> Iterator[object]:
        asked.append((jobs, order.threads))
        yield from ()

    monkeypatch.setattr("bincodec.eval.workers.run", noted)
    monkeypatch.setattr(local, "usable_cores", lambda: 5)
    run("compress", pictures, "-o", "out", *TINY, *options)
    assert asked == [(jobs, threads)]


def test_output_of_one_file_may_be_a_file_or_a_folder(run, pictures: Path) -> None:
    assert run("compress", "photos/a.png", "-o", "new.bld", *TINY).exit_code == 0
    assert run("compress", "photos/a.png", "-o", "folder", *TINY, *HERE).exit_code == 0
    assert run("compress", "photos/a.png", "-o", "-", *TINY).stdout_bytes == Path("new.bld").read_bytes()
    assert run("decompress", "new.bld", "-o", "new.jpg").exit_code == 0
    assert run("decompress", "new.bld", "-o", "/dev/null").exit_code == 0
    assert {"new.bld", "new.jpg", "folder/a.bld"} <= below(".")
    Path("odd.bld").mkdir()
    assert run("compress", "photos/a.png", "-o", "odd.bld", *TINY, *HERE).exit_code == 0
    assert below("odd.bld") == {"a.bld"}
    assert run("compress", "photos/a.png", "-o", "new.bld").stderr == (
        "bincodec: error: new.bld: this file exists; --force overwrites it\n"
    )


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


def test_names_with_ends_of_lines_and_escapes_stay_one_line(run, pictures: Path) -> None:
    odd = "a\n\x1b[31mb"
    shutil.copy(pictures / "a.png", pictures / f"{odd}.png")
    (pictures / f"{odd}.jpg").write_bytes(b"no picture")
    assert run("compress", pictures / f"{odd}.png", "-o", "out", *TINY, *HERE).exit_code == 0
    for command, end in (("verify", "bld: ok"), ("info", "bld: BLD 32x24")):
        text = run(command, "out", *HERE).stdout
        assert text.startswith(rf"out/a\n\x1b[31mb.{end}"), text
        assert text.count("\n") == 1
    failed = run("compress", pictures / f"{odd}.jpg", "-o", "other", "--json", *TINY, *HERE)
    assert "\x1b" not in failed.stderr
    line = lines(failed.stdout)[0]
    assert line["input"] == f"photos/{odd}.jpg"
    assert str(line["error"]).count("jpg") == 1, "the name is not said twice"


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
        (
            ["compress", "photos", "-o", "all.bld"],
            2,
            "all.bld: for many inputs, --output has to name a folder",
        ),
        (
            ["decompress", "a.bld", "-j", "2", "-o", "a.png"],
            2,
            "a.png: for many inputs, --output has to name a folder",
        ),
        (
            ["compress", "photos/a.png", "-o", "memory://all.bld"],
            2,
            "memory://all.bld: for many inputs, --output has to name",
        ),
        (
            ["compress", "photos/a.png", "-o", "a.png"],
            2,
            "a.png: the name of a compressed file has to end in .bld",
        ),
        (["decompress", "photos/a.png", "-o", "a.gif"], 2, "cannot write images as '.gif'"),
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


def test_damage_that_is_shown_all_the_same_is_a_note(run, pictures: Path) -> None:
    with Image.open(pictures / "a.png") as image:
        image.save(pictures / "a.png", exif=b"Exif\0\0 at the end of the file")
    assert run("compress", pictures, "-o", "out", *TINY, *HERE).exit_code == 0
    whole = Path("out/a.bld").read_bytes()
    Path("out/a.bld").write_bytes(whole[:-1])
    result = run("decompress", "out", "-o", "back", "--missing", "expect", *HERE)
    assert result.exit_code == 0
    assert result.stderr.startswith("bincodec: note: out/a.bld: the file is damaged, and what is missing ")
    assert "out/b.bld" not in result.stderr


@pytest.fixture
def spoilt(pictures: Path) -> Path:
    """A good picture, and one of each kind that is not."""
    folder = Path("spoilt")
    folder.mkdir()
    with Image.open(pictures / "a.png") as image:
        image.save(folder / "good.png")
        image.save(folder / "profile.png", icc_profile=b"no profile" * 20)
        image.save(folder / "exif.png", exif=b"Exif\0\0" + bytes(5 * 2**20))
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:100])
    (folder / "coded.png").write_bytes(bincodec.compress(folder / "good.png", model="tiny-1"))
    return folder


NO_PICTURES = [
    "spoilt/coded.png: this is a .bld file already, not an image to compress",
    "spoilt/cut.png: it is damaged or cut short: image file is truncated",
    "spoilt/exif.png: the Exif of 5242880 bytes is over the limit metadata_bytes=4194304 "
    "(strip 'exif' leaves it out)",
]


def test_each_bad_picture_is_one_line_and_the_good_ones_are_done(run, spoilt: Path) -> None:
    result = run("compress", spoilt, "-o", "out", *TINY, *HERE)
    note, count, *failed, last = result.stderr.splitlines()
    assert note.startswith("bincodec: note: spoilt/profile.png: the colour profile is damaged (")
    assert count.startswith("2 compressed, 3 failed: ")
    assert failed == [f"bincodec: note: failed: {line}" for line in NO_PICTURES]
    assert (result.exit_code, last) == (1, "bincodec: error: 3 failed; the 2 others did not")
    assert below("out") == {"good.bld", "profile.bld"}
    assert bincodec.decompress("out/profile.bld").info["icc_profile"] == b"no profile" * 20


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (("--size", 20), "size 20 is out of reach: the smallest file of this image has"),
        (("--bpp", 0.01), "bits_per_pixel 0.01 is out of reach: the smallest file of this image has"),
        (("--psnr", 99), "psnr 99 is out of reach: this image reaches"),
    ],
)
def test_a_target_out_of_reach_is_the_failure_of_each(
    run, spoilt: Path, target: tuple[str, float], words: str
) -> None:
    result = run("compress", spoilt, "-o", "out", *TINY, *HERE, *target)
    assert result.exit_code == 1
    failed = [line for line in result.stderr.splitlines() if "note: failed: " in line]
    assert [words in line for line in failed] == [False, False, False, True, True]
    assert "spoilt/good.png" in failed[3]
    assert result.stderr.endswith("bincodec: error: 5 failed; there was no other\n")
    assert below("out") == set()


@pytest.mark.parametrize("command", ["decompress", "info", "verify"])
def test_an_image_that_is_called_bld_is_one_line(run, spoilt: Path, command: str) -> None:
    coded = Path("coded")
    coded.mkdir()
    shutil.copy(spoilt / "coded.png", coded / "a.bld")
    shutil.copy(spoilt / "good.png", coded / "b.bld")
    result = run(command, coded, *HERE)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-2:] == [
        "bincodec: note: failed: coded/b.bld: this is not a .bld file: the magic bytes are missing",
        "bincodec: error: 1 failed; the 1 other did not",
    ]
    assert ("coded/a.bld" in result.stdout) == (command != "decompress")
