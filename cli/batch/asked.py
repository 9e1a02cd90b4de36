"""Define the options of batches, and decide whether a command line asks for a batch."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from bincodec.cli import options, places
from bincodec.cli.batch import inputs


@dataclass(frozen=True)
class Asked:
    """The values of the options of `several`. `folder` is None for commands that write no files."""

    recursive: bool
    listing: str | None
    jobs: int | None
    threads: int | None
    engine: str
    address: str | None
    manifest: str | None
    folder: str | None = None

    @property
    def anything(self) -> bool:
        """Whether an option was given that makes this a batch. The number of threads does not."""
        other = dataclasses.replace(self, threads=None)
        return other != Asked(False, None, None, None, "local", None, None)

    def set_threads(self) -> None:
        """Let PyTorch use as many threads as --threads says, for a command about one file."""
        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)


def several(*, writing: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the arguments and options of commands that accept many inputs.

    The values are passed as one, `many`. If `writing` is set, the command has outputs and an option for their
    folder.
    """
    taken = [
        click.argument(
            "names",
            metavar="IN... [OUT]" if writing else "FILE...",
            nargs=-1,
            shell_complete=options.complete_files,
        ),
        click.option("-r", "--recursive", is_flag=True, help="Also search the folders inside folders."),
        click.option(
            "--from",
            "listing",
            metavar="LIST",
            help="Read more inputs from a file with one name on each line. - is standard input.",
        ),
        click.option(
            "-j",
            "--jobs",
            metavar="N",
            type=click.IntRange(min=0),
            help="Process N pictures at once, each in its own process. 0 uses no other process.  "
            "[default: one for each core]",
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Use this many threads for each picture.  [default: 1 for each picture of a batch; "
            "all cores for a single one, and with -j 0]",
        ),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Share the work among processes of this machine, or on a Ray cluster.",
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="The address of the Ray cluster.  [default: start one on this machine]",
        ),
        click.option(
            "--manifest",
            metavar="FILE",
            help="Write the outcome of each input as a line of JSON to this path or URL.",
        ),
    ]
    if writing:
        taken.insert(
            1,
            click.option(
                "-o",
                "--output",
                "folder",
                metavar="OUT",
                help="The output of one file. For several files, the folder of the outputs (a path or URL), "
                "which get folders like theirs.",
            ),
        )
    fields = [field.name for field in dataclasses.fields(Asked) if writing or field.name != "folder"]

    missing = "'IN'" if writing else "'FILE'"

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def gathered(**values: Any) -> Any:
            many = Asked(**{name: values.pop(name) for name in fields})
            if not values["names"] and many.listing is None:
                raise click.MissingParameter(param_type="argument", param_hint=missing)
            return command(many=many, **values)

        for option in reversed(taken):
            gathered = option(gathered)
        return gathered

    return decorate


def alone(
    names: tuple[str, ...], asked: Asked, is_output: Callable[[str], bool] | None = None
) -> tuple[str, str | None] | None:
    """Return IN and OUT of a command line about one file, or None if it is about a batch.

    `is_output` says whether the second of two names looks like an output. If it does not, but does not exist
    either, it is taken for an output with a wrong name. If `is_output` is None, the command has no outputs.
    OUT may also be the value of --output if that looks like a file, as with other codecs.
    """
    if not names or inputs.is_many(names[0]):
        return None
    out, others = asked.folder, dataclasses.replace(asked, folder=None)
    if out is not None and len(names) == 1 and not others.anything and inputs.is_file_name(out):
        return names[0], out
    if asked.anything:
        return None
    if len(names) == 1:
        return names[0], None
    if is_output is None or len(names) > 2:
        return None
    second = names[1]
    named = second == places.STANDARD or places.is_device(second) or places.is_same(*names)
    if named or is_output(second):
        return names[0], second
    return None if inputs.is_many(second) or os.path.lexists(second) else (names[0], second)
