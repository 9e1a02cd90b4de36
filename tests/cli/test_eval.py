"""The group `bincodec eval`: its commands are there and their help needs nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

from bincodec.cli.eval import COMMANDS


def test_help_lists_every_command_in_order(run) -> None:
    result = run("eval", "--help")
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:")[2].partition("Examples:")[0]
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    assert names == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command: str) -> None:
    result = run("eval", command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: bincodec eval {command} [OPTIONS]")


def test_unknown_commands_are_named(run) -> None:
    result = run("eval", "frobnicate")
    assert result.exit_code == 2
    assert "No such command 'frobnicate'" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["eval", "--help"], *(["eval", name, "--help"] for name in COMMANDS)]
)
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = f"""
import sys
from bincodec.cli.main import main
try:
    main({arguments!r})
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {{"torch", "numpy", "PIL", "scipy", "matplotlib", "plotly"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
