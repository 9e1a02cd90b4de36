"""Fuzzes one reader in this process, by atheris and libFuzzer; `run.py` starts it.

    python engine.py READER FINDINGS CORPUS [options of libFuzzer]

A reader is a module of `readers` with

    check(data)   reads the data: any BincodecError is an answer, any other exception a finding
    seeds()       what the corpus begins with
    MAX_BYTES     the longest input
    mutate(data, max_bytes, seed, change)
                  not needed: how one input becomes another, where most would only fail a checksum; it may
                  leave bytes to `change(bytes, max_bytes)`, which is libFuzzer's own way, and then mend what
                  depends on them

A finding does not end the run. The first input of each place that fails is kept, beside what was raised.
"""

from __future__ import annotations

import functools
import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
INSTRUMENTED = ["bincodec.bitstream", "bincodec.postfilter.filter", "bincodec.coding.packing"]
"""Whose branches are counted: they lead to inputs that take others."""


def instrumented(name: str) -> Any:
    """The reader, and what it imports of INSTRUMENTED such that it tells which branches it takes."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        return importlib.import_module(f"readers.{name}")


def noting(check: Callable[[bytes], None], findings: Path) -> Callable[[bytes], None]:
    """`check` that keeps what it finds instead of raising it."""
    from bincodec.bitstream.errors import BincodecError

    known = set()

    def checked(data: bytes) -> None:
        try:
            check(data)
        except (BincodecError, KeyboardInterrupt) as answer:
            if isinstance(answer, KeyboardInterrupt):
                raise
        except BaseException as failure:  # A panic of Rust is no Exception.
            name = name_of(failure)
            if name not in known:
                known.add(name)
                (findings / f"{name}.input").write_bytes(data)
                text = "".join(traceback.format_exception(failure))
                (findings / f"{name}.txt").write_text(f"{data.hex()}\n\n{text}")

    return checked


def name_of(failure: BaseException) -> str:
    """What was raised, and where: the same for inputs that fail alike."""
    last = traceback.extract_tb(failure.__traceback__)[-1]
    return f"{type(failure).__name__}-{Path(last.filename).stem}-{last.lineno}"


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, findings, corpus, *options = sys.argv[1:]
    sys.path.insert(0, str(HERE))
    reader = instrumented(name)
    for number, seed in enumerate(reader.seeds()):
        (Path(corpus) / f"seed-{number:03}").write_bytes(seed)

    import atheris

    own = {}
    if hasattr(reader, "mutate"):

        def change(data: bytes, max_bytes: int) -> bytes:
            changed: bytes = atheris.Mutate(
                data, max_bytes
            )  # Fuzz() puts another in its place: never earlier.
            return changed

        own["custom_mutator"] = functools.partial(reader.mutate, change=change)
    arguments = [sys.argv[0], f"-max_len={reader.MAX_BYTES}", *options, corpus]
    atheris.Setup(arguments, noting(reader.check, Path(findings)), **own)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
