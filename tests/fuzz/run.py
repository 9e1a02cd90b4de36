"""Fuzz every reader for a number of executions each, and report the results (docs/fuzzing.md).

python tests/fuzz/run.py --executions 1000000 --readers rice post_filter
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
READERS = sorted(path.stem for path in (HERE / "readers").glob("*.py"))
PROGRESS = re.compile(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE)
MOST_AT_ONCE = 50_000
"""The executions of one process, before another one starts: with atheris, the memory of `extras` grows."""
LIMITS = ("-timeout=20", "-rss_limit_mb=4096")
"""The seconds that one input may take, and the mebibytes of the whole process."""


@dataclass(frozen=True)
class Outcome:
    """The last line of libFuzzer, the CPU seconds in it, and the texts that report findings."""

    reader: str
    executions: int
    edges: int
    features: int
    corpus: int
    seconds: float
    findings: tuple[Path, ...]

    @property
    def a_second(self) -> int:
        """The executions for each second of CPU time, including the start of the process."""
        return round(self.executions / self.seconds)


def fuzz(reader: str, executions: int, folder: Path, seed: int) -> Outcome:
    """Fuzz one reader in processes of its own. Its corpus stays in the folder, so the next run continues."""
    corpus, findings = folder / reader / "corpus", folder / reader / "findings"
    for path in (corpus, findings):
        path.mkdir(parents=True, exist_ok=True)
    numbers, ran, before = (0, 0, 0), 0, cpu_seconds()
    for part, start in enumerate(range(0, executions, MOST_AT_ONCE)):
        runs = min(MOST_AT_ONCE, executions - start)
        options = [f"-artifact_prefix={findings}/", f"-runs={runs}", f"-seed={seed + part}", *LIMITS]
        done = subprocess.run(
            [sys.executable, HERE / "engine.py", reader, findings, corpus, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        (folder / reader / "log.txt").write_text(done.stderr)
        lines = PROGRESS.findall(done.stderr)
        if lines:
            count, *counts = map(int, lines[-1])
            ran, numbers = ran + count, (counts[0], counts[1], counts[2])
        if done.returncode or not lines:  # An input took too much time or memory, or nothing ran.
            (findings / "ended.txt").write_text(done.stderr[-5000:])
            break
    return Outcome(reader, ran, *numbers, cpu_seconds() - before, tuple(sorted(findings.glob("*.txt"))))


def cpu_seconds() -> float:
    """Return the CPU seconds of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(outcomes: list[Outcome]) -> str:
    """Return a table with one row for each reader."""
    heads = ("reader", "executions", "a second", "edges", "features", "corpus", "findings")
    rows = [
        (one.reader, one.executions, one.a_second, one.edges, one.features, one.corpus, len(one.findings))
        for one in outcomes
    ]
    return "\n".join("  ".join(f"{cell!s:>11}" for cell in row) for row in (heads, *rows))


def main() -> int:
    """Return 1 if there is a finding of this run, or of an earlier one in the same folder."""
    parser = argparse.ArgumentParser(description="Fuzz the readers of bincodec.")
    parser.add_argument("--executions", type=int, default=100_000, help="of each reader")
    parser.add_argument("--readers", nargs="*", choices=READERS, default=READERS)
    folder = Path(tempfile.gettempdir()) / "bincodec-fuzz"
    parser.add_argument("--folder", type=Path, default=folder, help="of corpora and findings")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    outcomes = [fuzz(reader, given.executions, given.folder, given.seed) for reader in given.readers]
    print(table(outcomes))
    findings = [path for outcome in outcomes for path in outcome.findings]
    for path in findings:
        print(f"\n{path}:\n{path.read_text()}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
