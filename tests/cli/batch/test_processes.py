"""Batches in processes: one that dies, Ctrl-C, what is written then, and going on."""

import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import click
import pytest

import bincodec
from bincodec.cli import options
from bincodec.cli.batch.asked import Asked
from bincodec.cli.batch.run import Batch

# A shell may have started the tests in the background, and then they ignore Ctrl-C.
START = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from bincodec.cli.start import main
main()
"""
COMMAND = [sys.executable, "-c", START]

# Other processes import what they are to do by name.
MODULE = """
import os, signal, time
from bincodec.cli.batch.job import Made

def work(source, given, destination):
    if "poison" in source:
        os.kill(os.getpid(), signal.SIGKILL)
    if "mistake" in source:
        raise RuntimeError("ours")
    with open(os.path.join(os.path.dirname(destination), "pids"), "a") as file:
        file.write(f"{os.getpid()}\\n")
    return Made({"bytes": 4}, "", b"made")
"""


def test_a_process_that_is_killed_is_one_failed_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "errands.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "errands", raising=False)
    monkeypatch.chdir(tmp_path)
    names = ("1.x", "poison.x", "2.x", "mistake.x", "3.x", "4.x")
    work, common = import_module("errands").work, options.reading(as_json=False)
    batch = Batch("compress", work, lambda name: True, ".y", None, common)
    asked = Asked(False, None, 1, None, "local", None, None, "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(click.ClickException, match=r"2 failed; the 4 others did not"):
        batch.run(names, asked)
    said = capsys.readouterr().err
    assert "failed: poison.x: the process that worked on it died (signal 9)\n" in said
    assert "failed: mistake.x: RuntimeError: ours\n" in said
    assert {path.name for path in tmp_path.glob("out/*.y")} == {"1.y", "2.y", "3.y", "4.y"}
    assert len(set((tmp_path / "out" / "pids").read_text().split())) == 2, "one process, and one for it"


def test_ctrl_c_leaves_whole_files_and_the_same_command_goes_on(pictures: Path) -> None:
    content = (pictures / "a.png").read_bytes()
    many = {f"{number:03}" for number in range(200)}
    for name in many:
        Path("many", name).with_suffix(".png").parent.mkdir(exist_ok=True)
        Path("many", f"{name}.png").write_bytes(content)
    command = [*COMMAND, "compress", "many", "-o", "out", "-j", "1", "--model", "tiny-1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120
        while not list(Path("out").glob("*.bld")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith("bincodec: error: interrupted")
    assert said.count("\n") == 1
    found = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    whole = bincodec.compress(content, model="tiny-1")
    assert 0 < len(found) < len(many)
    assert all(name.endswith(".bld") and data == whole for name, data in found.items())
    for name in sorted(many)[len(found) + 2 :]:
        Path("many", f"{name}.png").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.startswith(f"2 compressed, {len(found)} skipped ")
