"""What a shell is told about how a line may go on: by its own script, and fast."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bincodec.cli.main import COMMANDS
from bincodec.model import store

PROGRAM = [sys.executable, "-c", "from bincodec.cli.start import main; main()"]


def run(shell: str, words: list[str] | None = None) -> str:
    """The script of a shell, or what its script is told about the last of `words`."""
    line = {"COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words) - 1)} if words else {}
    task = "complete" if words else "source"
    environment = {**os.environ, "_BINCODEC_COMPLETE": f"{shell}_{task}", **line}
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bincodec", "dec"], ["plain,decompress"]),
        (["bincodec", "eval", "p"], ["plain,prior"]),
        (["bincodec", "compress", "--eff"], ["plain,--effort"]),
        (["bincodec", "compress", "ph"], ["file,ph"]),
        (["bincodec", "inpaint", "--mask", "h"], ["file,h"]),
        (["bincodec", "decompress", "a.bld", "--missing", "e"], ["plain,error", "plain,expect"]),
    ],
)
def test_words_are_completed(words: list[str], expected: list[str]) -> None:
    assert run("bash", words).split() == expected


def test_models_are_completed_by_their_names() -> None:
    names = [card.name for card in store.available() if card.name.startswith("photo")]
    assert names
    assert run("bash", ["bincodec", "compress", "--model", "photo"]).split() == [f"plain,{n}" for n in names]


@pytest.mark.parametrize(("shell", "hook"), [("zsh", "compdef _bincodec"), ("fish", "complete --no-files")])
def test_other_shells_have_scripts_and_answers(shell: str, hook: str) -> None:
    assert hook in run(shell)
    environment = {"_BINCODEC_COMPLETE": f"{shell}_complete", "COMP_WORDS": "bincodec dec"}
    environment["COMP_CWORD"] = "dec" if shell == "fish" else "1"
    done = subprocess.run(
        PROGRAM, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert "decompress" in done.stdout
    assert "compress\n" not in done.stdout.replace("decompress\n", "")


def test_no_completion_loads_torch() -> None:
    code = f"""
import os, sys
import bincodec.cli.main as module
os.environ |= {{"_BINCODEC_COMPLETE": "bash_complete", "COMP_CWORD": "2"}}
for name in {COMMANDS!r}:
    os.environ["COMP_WORDS"] = f"bincodec {{name}} --"
    try:
        module.main.main()
    except SystemExit:
        pass
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("plain,--help") >= len(COMMANDS)
    assert lines[-1] == "False"


@pytest.mark.skipif(shutil.which("bash") is None, reason="this test sources the script of bash")
def test_bash_fills_in_a_command(tmp_path: Path) -> None:
    """The documented line, the function that it defines, and what bash would insert."""
    program = tmp_path / "bincodec"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_BINCODEC_COMPLETE=bash_source bincodec)"\n'
        "COMP_WORDS=(bincodec ver); COMP_CWORD=1; _bincodec_completion bincodec ver bincodec\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("verify\n", 0)
