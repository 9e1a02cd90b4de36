"""Additions to `cosmic-ray` for this repository (docs/mutation.md): selection, warm tests, and a table.

choose   keep one mutant of each kind at each place of the code, or a random sample of those
again    try survivors once more: new tests cannot rescue a mutant that old tests killed
serve    import pytest, NumPy and PyTorch once, then run each request's tests in a fork
ask      request the tests that match what is mutated: the test command of the configuration files
report   count outcomes by module and show the survivors
"""

import argparse
import ast
import gc
import json
import os
import random
import re
import resource
import select
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOCKET = ROOT / "build" / "mutants.socket"
SECONDS = 60
"""The seconds after which a mutant counts as killed. The slowest correct run takes half as long."""
MEMORY = 16 * 2**30
"""The memory of a run. A mutant may ask for any size, and should get a MemoryError."""

WARM = ("pytest", "_hypothesis_pytestplugin", "pytest_cov.plugin", "pytest_timeout", "numpy", "constriction")
# Each operator has one replacement. Eleven for each plus would say no more, and take eleven times as long.
REPLACED = {
    "Add": "Sub",
    "Sub": "Add",
    "Mul": "FloorDiv",
    "Div": "Mul",
    "FloorDiv": "Mul",
    "Mod": "FloorDiv",
    "Pow": "Mul",
    "LShift": "RShift",
    "RShift": "LShift",
    "BitAnd": "BitOr",
    "BitOr": "BitAnd",
    "BitXor": "BitAnd",
}
MATCHING = {
    "bitstream/coder.py": ["coder", "format"],
    "bitstream/container.py": ["container", "damage", "stream"],
    "bitstream/errors.py": ["header", "container"],
    "bitstream/header.py": ["header", "format", "container"],
    "bitstream/index.py": ["index", "container", "damage"],
    "bitstream/levels.py": ["levels", "format"],
    "bitstream/limits.py": ["limits", "header", "format", "container"],
    "bitstream/make_tables.py": ["probability", "imports"],
    "bitstream/probability.py": ["probability", "format"],
    "bitstream/raw.py": ["raw", "stream"],
    "bitstream/rice.py": ["rice"],
    "bitstream/stream.py": ["format", "stream", "groups"],
    "bitstream/repair.py": ["damage"],
    "bitstream/tiles.py": ["tiles"],
    "bincodec/coding/cost.py": ["test_tiles", "test_codec"],
    "bincodec/coding/order.py": ["coding/test_order", "coding/test_passes"],
    "bincodec/coding/packing.py": ["test_codec", "test_tiles"],
    "bincodec/coding/passes.py": ["coding/test_passes", "test_codec"],
    "bincodec/model/integer.py": ["model/test_integer"],
    "bincodec/model/kernels.py": ["model/test_kernels", "model/test_integer"],
    "bincodec/model/products.py": ["model/test_kernels", "model/test_integer"],
    "bincodec/windows.py": ["test_windows", "test_regions"],
    "bincodec/workers.py": ["test_workers"],
}
"""The tests of each module, with those first that are most likely to fail."""


def is_chosen(operator: str) -> bool:
    """Return whether a mutant of this kind is worth its time. Changes to `is` for numbers, say, are not."""
    if binary := re.search(r"ReplaceBinaryOperator_(\w+)_(\w+)$", operator):
        return REPLACED[binary[1]] == binary[2]
    return not re.search(r"ReplaceComparisonOperator_(?!Is_)\w+_Is(Not)?$", operator)


def annotations(path: Path) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield the start and the end of each annotation of a module, because annotations compute nothing."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr):
                yield (part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)


def choose(session: str, sample: int | None, seed: int) -> None:
    """Remove what is not chosen from a new session."""
    with sqlite3.connect(session) as database:
        specs = database.execute(
            "select job_id, module_path, operator_name, start_pos_row, start_pos_col from mutation_specs"
            " order by module_path, operator_name, operator_args, occurrence"
        ).fetchall()
        places = {module: list(annotations(ROOT / module)) for module in {spec[1] for spec in specs}}
        kept = [
            job
            for job, module, operator, *place in specs
            if is_chosen(operator) and not any(a <= tuple(place) < b for a, b in places[module])
        ]
        if sample is not None and sample < len(kept):
            kept = random.Random(seed).sample(kept, sample)
        for job in {spec[0] for spec in specs} - set(kept):
            database.execute("delete from mutation_specs where job_id = ?", (job,))
            database.execute("delete from work_items where job_id = ?", (job,))
    print(f"{len(kept)} of {len(specs)} mutants chosen")


def again(session: str) -> None:
    """Delete the results of the survivors, so that `cosmic-ray exec` tries only them again."""
    with sqlite3.connect(session) as database:
        found = database.execute("delete from work_results where test_outcome = 'SURVIVED' returning job_id")
        print(f"{len(found.fetchall())} mutants to be tried again")


def serve(extra: list[str]) -> None:
    """Answer requests until interrupted. The modules of `extra` are imported as well."""
    sys.dont_write_bytecode = True  # Two mutants with the same second and size would share their bytecode.
    for module in (*WARM, *extra):
        __import__(module)
    from hypothesis import Phase, settings

    # The failing example does not matter, so Hypothesis does not simplify it, which would take longest.
    settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutants")
    gc.freeze()
    SOCKET.parent.mkdir(exist_ok=True)
    SOCKET.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(SOCKET))
        server.listen()
        while True:
            connection, _ = server.accept()
            with connection:
                arguments = json.loads(connection.makefile("r").readline())
                connection.sendall(str(run_tests(arguments)).encode())


def run_tests(arguments: list[str]) -> int:
    """Run pytest in a fork. Return its exit status, or 99 if it took too long or was killed."""
    child = os.fork()
    if not child:
        status = 98
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            null = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(null, stream)
            import pytest

            status = int(pytest.main(arguments))
        finally:
            os._exit(status)
    handle = os.pidfd_open(child)
    ended, _, _ = select.select([handle], [], [], SECONDS)
    os.close(handle)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 99


def test_files(module: str) -> list[str]:
    """Return the paths of the tests of a module."""
    folder, _, _ = module.partition("/")
    prefix = "test_" if folder == "bitstream" else ""
    return [f"tests/{folder}/{prefix}{name}.py" for name in MATCHING[module]]


def ask() -> int:
    """Request the matching tests. Return 0 if all of them pass."""
    difference = ["git", "diff", "--name-only", "--", "bitstream", "bincodec"]
    changed = subprocess.run(difference, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = [file for module in changed or MATCHING for file in test_files(module)]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(SOCKET))
        # Hypothesis was imported before pytest could rewrite its assertions, which is not needed here.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider"]
        request = ["-x", "-q", "--tb=no", *quiet, *dict.fromkeys(files)]
        connection.sendall(json.dumps(request).encode() + b"\n")
        status = int(connection.makefile("r").read())
    print("exit status", status)
    return status


def report(session: str) -> None:
    """Print the counts of each module, then the survivors."""
    with sqlite3.connect(session) as database:
        rows = database.execute(
            "select module_path, test_outcome, output, diff from mutation_specs"
            " join work_results using (job_id) order by module_path, start_pos_row, start_pos_col"
        ).fetchall()
    counts: Counter[tuple[str, str]] = Counter()
    for module, outcome, output, _ in rows:
        late = outcome.lower() == "killed" and output.strip().endswith("99")
        counts[module, "timeout" if late else outcome.lower()] += 1
    modules = sorted({module for module, _ in counts})
    print(f"{'module':<32}{'mutants':>9}{'killed':>9}{'timeout':>9}{'survived':>9}{'score':>9}")
    for name, group in [*((module, [module]) for module in modules), ("all", modules)]:
        killed, timeout, survived = (
            sum(counts[module, what] for module in group) for what in ("killed", "timeout", "survived")
        )
        total = sum(number for (module, _), number in counts.items() if module in group)
        score = 100 * (total - survived) / total
        print(f"{name:<32}{total:>9}{killed:>9}{timeout:>9}{survived:>9}{score:>8.1f}%")
    for module, outcome, _, difference in rows:
        if outcome.lower() == "survived":
            changed = [x for x in difference.splitlines() if re.match(r"@@|[-+](?![-+])", x)]
            print("", module, *changed, sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    chooser = commands.add_parser("choose")
    chooser.add_argument("session")
    chooser.add_argument("--sample", type=int)
    chooser.add_argument("--seed", type=int, default=0)
    commands.add_parser("serve").add_argument("extra", nargs="*")
    commands.add_parser("ask")
    commands.add_parser("again").add_argument("session")
    commands.add_parser("report").add_argument("session")
    options = parser.parse_args()
    if options.command == "choose":
        choose(options.session, options.sample, options.seed)
    elif options.command == "again":
        again(options.session)
    elif options.command == "serve":
        serve(options.extra)
    elif options.command == "ask":
        sys.exit(ask())
    else:
        report(options.session)
