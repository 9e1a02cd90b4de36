"""Report a batch: a progress bar, a line for each picture, the counts, and at the end the failures."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import click

from bincodec.cli import output, places, standard
from bincodec.cli.batch import stores
from bincodec.cli.batch.job import Job, Outcome

_DONE = {"compress": "compressed", "decompress": "decompressed", "info": "read", "verify": "verified"}
_IN_MEMORY = 2**20
"""The largest manifest, in bytes, that is kept in memory while it grows. A longer one is in a file."""


@dataclass
class Report:
    """The report of a batch, to which outcomes are added.

    Args:
        command: the name of the command.
        total: the number of inputs.
        as_json: whether each outcome is printed as a line of JSON.
        quiet: whether only failures are printed.
        prints: whether the text of each outcome is a result that was asked for.
        manifest: a path or URL to which the lines of JSON are written at the end, or None.
    """

    command: str
    total: int
    as_json: bool
    quiet: bool
    prints: bool
    manifest: str | None
    _counts: Counter[str] = field(default_factory=Counter)
    _failures: list[str] = field(default_factory=list)
    _written: list[str] = field(default_factory=list)
    _bytes: int = 0
    _pixels: int = 0
    _lines: IO[bytes] | None = None
    _unwritten: bool = False
    _began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        context = click.get_current_context(silent=True)
        if context is not None:  # The message of an interruption can name these outputs.
            self._written = context.meta.setdefault(places.WRITTEN, self._written)

    @contextmanager
    def open(self) -> Iterator[Report]:
        """Let outcomes be added while the block runs. The manifest is written even if the block fails."""
        from tqdm import tqdm

        hidden = self.quiet or self.as_json or (self.prints and sys.stdout.isatty())
        with tqdm(
            total=self.total, desc=self.command, unit="picture", leave=False, disable=hidden or None
        ) as self._bar:
            if self.manifest is None:
                yield self
                return
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as self._lines:
                try:
                    yield self
                finally:
                    self._write_manifest(self.manifest, self._lines)

    def _write_manifest(self, name: str, lines: IO[bytes]) -> None:
        """Write the manifest. If this fails, print a note, so that the counts are still printed."""
        if not lines.tell():  # No input was processed.
            return
        lines.seek(0)
        try:
            stores.write(name, lines.read(), replace=True)
        except OSError as error:
            self._unwritten = True
            output.note(f"failed: the manifest: {output.explained(error)}")

    def add(self, job: Job, outcome: Outcome) -> None:
        """Add the outcome of one job, and print it.

        Raises:
            click.ClickException: if a result that was asked for cannot be printed.
        """
        self._counts[outcome.status] += 1
        if outcome.error is not None:
            self._failures.append(outcome.error)
        if outcome.status == "done":
            self._bytes += outcome.facts.get("bytes", 0)
            self._pixels += outcome.facts.get("width", 0) * outcome.facts.get("height", 0)
            if job.destination:
                self._written.append(job.destination)
        if outcome.notes:
            with self._bar.external_write_mode(file=sys.stderr):
                for sentence in outcome.notes:
                    output.note(f"{job.source}: {sentence}", quiet=self.quiet)
        line = output.json_line(self._facts(job, outcome))
        if self._lines is not None:
            self._lines.write(f"{line}\n".encode())
        kept = output.kept(self._written)
        if self.as_json:
            standard.print_text(line, kept=kept)
        elif self.prints and not self.quiet and outcome.text:
            standard.print_text(outcome.text, kept=kept)
        self._bar.update()

    def finish(self) -> None:
        """Print the counts and the failures.

        Raises:
            click.ClickException: if anything failed, or the manifest is not written.
        """
        if not self.quiet and not self.as_json:
            standard.say(self._summary())
        done = self._counts["done"] + self._counts["skipped"]
        others = f"the {output.counted(done, 'other')} did not" if done else "there was no other"
        output.failures(self._failures, others)
        if self._unwritten:
            msg = f"{self.manifest}: the manifest could not be written; everything else is done"
            raise click.ClickException(msg)

    def _facts(self, job: Job, outcome: Outcome) -> dict[str, Any]:
        ends = {"input": job.source} | ({"output": job.destination} if job.destination else {})
        about = {"status": outcome.status, "error": outcome.error, "seconds_total": outcome.seconds}
        return {"command": self.command} | outcome.facts | ends | about

    def _summary(self) -> str:
        counts = self._counts
        parts = [f"{counts['done']} {_DONE[self.command]}"]
        if counts["skipped"]:
            parts.append(f"{counts['skipped']} skipped (their outputs exist; --force replaces them)")
        if counts["failed"]:
            parts.append(f"{counts['failed']} failed")
        seconds = time.perf_counter() - self._began
        size = f"{self._bytes} bytes, " if self._bytes else ""
        rate = f"{8 * self._bytes / self._pixels:.3f} bits per pixel, " if self._pixels else ""
        speed = f", {counts['done'] / seconds:.2f} pictures per second" if counts["done"] else ""
        return f"{', '.join(parts)}: {size}{rate}{seconds:.2f} s{speed}"
