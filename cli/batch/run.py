"""Run a batch, from its arguments to its report."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass

import click

from bincodec.cli import interruption, output, places
from bincodec.cli.batch import inputs, stores
from bincodec.cli.batch.asked import Asked
from bincodec.cli.batch.engine import Engine
from bincodec.cli.batch.inputs import Inputs
from bincodec.cli.batch.job import Job, Order, Outcome, Work
from bincodec.cli.batch.report import Report
from bincodec.cli.options import Common
from bincodec.errors import Unreadable
from bincodec.eval.workers import Broken


@dataclass(frozen=True)
class Batch:
    """A command that processes many inputs.

    Args:
        command: the name of the command.
        work: what it does with one input.
        wanted: a function that says whether a file of that name, found in a folder, is an input.
        extension: the extension of the outputs, or "" if there are none.
        model: the model that was asked for, or None.
        common: the device, and what is printed.
        computes: whether the work uses PyTorch. If it does not, no process loads it.
    """

    command: str
    work: Work
    wanted: Callable[[str], bool]
    extension: str
    model: str | None
    common: Common
    computes: bool = True

    def run(self, names: tuple[str, ...], asked: Asked) -> None:
        """Process all inputs in `names` and in the listing, and report the outcome of each.

        Raises:
            click.ClickException: if any input failed. All others are done by then.
            click.UsageError, OSError, BincodecError: before any work, if nothing can be done.
        """
        if places.STANDARD in names:
            msg = "- (standard input) does not go with further inputs, nor with options for many inputs"
            raise click.UsageError(msg)
        self._check_settings(asked)
        found = inputs.gather(
            names,
            [] if asked.listing is None else list(inputs.listed(_text(asked.listing))),
            wanted=self.wanted,
            recursive=asked.recursive,
            extension=self.extension,
            folder=asked.folder,
        )
        if not found.jobs and len(found.problems) == 1:
            raise click.ClickException(found.problems[0][1])
        _check_places(found, asked)
        self._carry_out(found, asked)

    def _carry_out(self, found: Inputs, asked: Asked) -> None:
        threads = asked.threads if asked.threads or asked.jobs == 0 else 1
        order = Order(self.work, self.common.force, threads if self.computes else None)
        report = Report(
            self.command,
            len(found.jobs) + len(found.problems),
            self.common.as_json,
            self.common.quiet,
            prints=not self.extension,
            manifest=asked.manifest,
        )
        engine = _engine(asked)
        there = _finished(found, asked) if self.extension and not self.common.force else set()
        jobs = [job for job in found.jobs if job.destination not in there]
        with report.open():
            for job, line in found.problems:
                report.add(job, Outcome("failed", error=line))
            for job in found.jobs:
                if job.destination in there:
                    report.add(job, Outcome("skipped"))
            with closing(engine(order, jobs)) as results:
                for index, outcome in results:
                    interruption.raise_lost()
                    report.add(jobs[index], _told(jobs[index], outcome))
        report.finish()

    def _check_settings(self, asked: Asked) -> None:
        """Check the settings that concern all inputs, before any work."""
        from bincodec.model import store

        if self.model is not None:
            store.find(self.model)
        if self.common.device != "cpu":
            if asked.engine == "ray":
                msg = f"--device {self.common.device} does not go with --engine ray, which uses the CPU only"
                raise click.UsageError(msg)
            from bincodec.arguments import checked_device

            checked_device(self.common.device)


def _told(job: Job, outcome: Outcome | Broken) -> Outcome:
    if isinstance(outcome, Broken):
        return Outcome("failed", error=f"{job.source}: {outcome.reason}")
    return outcome


def _finished(found: Inputs, asked: Asked) -> set[str]:
    """Return the outputs that exist. Asking for all of them at once is faster than one by one in each job."""
    with suppress(Unreadable):  # A user who may write need not be allowed to list.
        return stores.existing((job.destination for job in found.jobs), asked.folder)
    return set()


def _text(listing: str) -> str:
    data = places.read(listing) if listing == places.STANDARD else stores.read(listing)
    return data.decode("utf-8-sig", errors="surrogateescape")


def _check_places(found: Inputs, asked: Asked) -> None:
    """Check that the outputs and the manifest can be written, before any work."""
    if asked.folder is not None:
        places.require_name(asked.folder)
        path = stores.path_of(asked.folder) or ""
        if os.path.lexists(path) and not os.path.isdir(path):
            msg = f"{asked.folder}: this exists and is not a folder"
            raise places.Occupied(msg)
        if inputs.looks_like_a_file(asked.folder):
            msg = f"{asked.folder}: for many inputs, --output has to name a folder, not a file"
            raise click.UsageError(msg)
        stores.check_folder(asked.folder)
    else:
        _check_folders(found)
    if asked.manifest is not None:
        check_manifest(asked.manifest, found, asked.listing)


def _check_folders(found: Inputs) -> None:
    """Check the folders of the outputs. If one takes no file, the inputs with outputs there have failed.

    If none takes a file, the error is raised.
    """
    refused: dict[str, OSError] = {}
    folders = list(dict.fromkeys(os.path.dirname(job.destination) for job in found.jobs if job.destination))
    for folder in folders:
        try:
            stores.check_folder(folder or ".")
        except OSError as error:
            refused[folder] = error
    if not refused:
        return
    if len(refused) == len(folders):
        raise refused[folders[0]]
    for job in found.jobs:
        reason = refused.get(os.path.dirname(job.destination))
        if reason is not None:
            found.problems.append((job, f"{job.source}: {output.explained(reason)}"))
    found.jobs[:] = [job for job in found.jobs if os.path.dirname(job.destination) not in refused]


def check_manifest(name: str, found: Inputs, listing: str | None) -> None:
    """Check that the manifest can be written, and replaces no file that the batch reads or writes.

    Raises:
        click.UsageError, places.Occupied, OSError: if it cannot have that name.
    """
    places.require_name(name)
    if os.path.isdir(stores.path_of(name) or ""):
        msg = f"{name}: this is a folder, not a file"
        raise places.Occupied(msg)
    every = [*found.jobs, *(job for job, _ in found.problems)]
    others = [end for job in every for end in (job.source, job.destination) if end]
    own = found.identity(name)
    for other in [*others, *([] if listing is None else [listing])]:
        if found.identity(other) == own:
            msg = f"the manifest would replace {other}"
            raise click.UsageError(msg)
    stores.check_folder(os.path.dirname(name) or ".")


def _engine(asked: Asked) -> Engine:
    if asked.engine == "ray":
        from bincodec.cli.batch.cluster import engine as on_cluster

        return on_cluster(asked.address, asked.jobs, asked.threads or 1)
    if asked.address is not None:
        msg = "--address is the address of a Ray cluster, so it needs --engine ray"
        raise click.UsageError(msg)
    from bincodec.cli.batch.local import engine as on_this_machine

    return on_this_machine(asked.jobs)
