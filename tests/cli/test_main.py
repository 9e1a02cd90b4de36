"""The group: help, version, exit codes of wrong usage and of errors, one line each."""

import re
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import bincodec
from bincodec.cli import main as main_module
from bincodec.cli.main import COMMANDS, main
from bincodec.model import store


def failing(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.fixture
def one_command(monkeypatch: pytest.MonkeyPatch) -> object:
    """Make `bincodec info` a given command."""

    def install(command: click.Command) -> None:
        monkeypatch.setattr(main, "get_command", lambda *_: command)

    return install


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command_in_order(run, option: str) -> None:
    result = run(option)
    assert result.exit_code == 0
    lines = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")]
    assert [word for word in lines if word in COMMANDS] == list(COMMANDS)
    assert len(result.stdout.splitlines()) < 25


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: bincodec {command} ")
    assert result.stderr == ""


def all_commands() -> list[tuple[str, click.Command]]:
    """Every command by the words that name it, those of groups as well."""
    context = click.Context(main)
    found = [(f"bincodec {name}", main.get_command(context, name)) for name in COMMANDS]
    for words, command in [*found]:
        if isinstance(command, click.Group):
            names = command.list_commands(context)
            found += [(f"{words} {name}", command.get_command(context, name)) for name in names]
    return [(words, command) for words, command in found if command is not None]


@pytest.mark.parametrize(("words", "command"), all_commands(), ids=lambda one: getattr(one, "name", one))
def test_every_help_has_examples_whose_options_exist(run, words: str, command: click.Command) -> None:
    shown = run(*words.split()[1:], "--help").stdout
    _, _, text = shown.partition("\n  Examples:\n")
    examples = [line.strip() for line in text.splitlines()]
    assert 1 <= len(examples) <= 4
    own = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    below = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else []
    for example in examples:
        assert f"{words} " in f"{example} "
        arguments = example.partition(words)[2].split()
        if not (arguments and arguments[0] in below):
            assert {word for word in arguments if word.startswith("-") and word != "-"} <= own


@pytest.mark.parametrize("group", [[], ["eval"]])
def test_no_summary_of_a_command_is_cut_short(run, group: list[str]) -> None:
    assert "..." not in run(*group, "--help").stdout.partition("\nCommands:\n")[2]


def test_every_option_explains_itself_and_names_its_range() -> None:
    for words, command in all_commands():
        context = click.Context(command)
        for option in (one for one in command.params if isinstance(one, click.Option)):
            record = option.get_help_record(context)
            assert record is not None
            assert option.help, (words, option.name)
            if isinstance(option.type, click.IntRange | click.FloatRange):
                assert re.search(r"\w[<>]=?\w", record[1]), (words, option.name)


@pytest.mark.parametrize("group", [[], ["eval"]])
def test_no_command_shows_the_help_and_fails(run, group: list[str]) -> None:
    result = run(*group)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == run(*group, "--help").stdout


def test_version_names_program_format_and_models(run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    start = f"bincodec {bincodec.__version__}, format {'.'.join(map(str, bincodec.FORMAT_VERSION))}, models: "
    assert result.stdout.startswith(start)
    for card in store.available():
        assert f"{card.name} ({card.fingerprint.hex()})" in result.stdout
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "No such command 'frobnicate'. (see"),
        (["decompres", "a.bld"], "No such command 'decompres'. Did you mean 'decompress'? (see"),
        ([__file__], "Name one before the file, as in 'bincodec compress "),
        (["--frobnicate"], "No such option"),
        (["compress"], "Missing argument 'IN'"),
        (["compress", "a.png", "b.bld", "c.bld"], "b.bld: this is a .bld file already"),
        (["compress", "a.png", "-q", "101"], "101 is not in the range"),
        (["compress", "a.png", "-q", "-1"], "-1 is not in the range"),
        (["compress", "a.png", "-q", "best"], "'best' is not a valid integer"),
        (["compress", "a.png", "b.png"], "b.png: the name of a compressed file has to end in .bld"),
        (["compress", "", "--force"], "'' is not the name of a file"),
        (["decompress", "a.bld", "b.xyz"], "cannot write images as '.xyz'"),
        (["decompress", "a.bld", "--layers", "0"], "0 is not in the range"),
        (["decompress", "-", "-", "--json"], "--json prints to standard output"),
        (["info"], "Missing argument 'FILE'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    run, arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("bincodec: error: ")
    assert words in result.stderr
    assert "--help')" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (bincodec.Corrupt("two\nlines"), 1, "bincodec: error: two lines"),
        (bincodec.InvalidSetting("no such device"), 2, "bincodec: error: no such device"),
        (OSError(28, "No space left on device"), 1, "bincodec: error: No space left on device"),
        (PermissionError(13, "Permission denied", "a.bld"), 1, "bincodec: error: a.bld: Permission denied"),
        (MemoryError(), 1, "bincodec: error: out of memory"),
        (KeyboardInterrupt(), 130, "bincodec: error: interrupted"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    one_command, error: BaseException, code: int, line: str
) -> None:
    one_command(failing(error))
    result = CliRunner().invoke(main, ["info"])
    assert result.exit_code == code
    assert result.stderr.strip() == line
    assert result.stdout == ""


def test_a_bug_is_not_dressed_up_as_an_error_of_the_user(one_command) -> None:
    one_command(failing(ZeroDivisionError("a bug")))
    assert isinstance(CliRunner().invoke(main, ["info"]).exception, ZeroDivisionError)


def test_warnings_become_notes(one_command) -> None:
    @click.command()
    def command() -> None:
        warnings.simplefilter("always")
        warnings.warn("something\nodd", stacklevel=1)

    one_command(command)
    result = CliRunner().invoke(main, ["info"])
    assert result.exit_code == 0
    assert result.stderr == "bincodec: note: something odd\n"


def test_the_console_script_is_the_group() -> None:
    assert main_module.main is main
