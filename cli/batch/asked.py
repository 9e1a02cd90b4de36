"""The options of batches, and whether a command line asks for one."""

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
    """The values of `several`; `folder` stays None for commands that write nothing."""

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
        """Whether one of the options says that this is a batch."""
        return self != Asked(False, None, None, None, "local", None, None)


def several(*, writing: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What commands take that work on many inputs; the values reach them as one, `many`.

    `writing` commands have outputs, and so a folder for them.
    """
    taken = [
        click.argument(
            "names",
            metavar="IN... [OUT]" if writing else "FILE...",
            nargs=-1,
            shell_complete=options.complete_files,
        ),
        click.option("-r", "--recursive", is_flag=True, help="Look into the folders within folders too."),
        click.option(
            "--from", "listing", metavar="LIST", help="Read more inputs from a file, one a line; - is stdin."
        ),
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(min=0),
            help="Pictures at once, each in a process of its own; 0: in this one.  [default: one a core]",
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Threads for each picture.  [default: 1]"),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="What shares the work: processes here, or a Ray cluster.",
        ),
        click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster.  [default: one made here]"),
        click.option(
            "--manifest",
            metavar="FILE",
            help="Write what became of each input, in lines of JSON, to a path or URL.",
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
                help="The output of one file, or the folder for those of many, a path or URL, "
                "in a tree like theirs.",
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
    """IN and OUT of a command line about one file; None if it is about a batch.

    `is_output` says whether the second of two names is an output by its looks. One that is not, and does not
    exist either, is taken for an output with a wrong name. Without `is_output` there are no outputs. OUT may
    also be the value of --output, as with other codecs, where that looks like a file.
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
