"""Fuzz one reader in this process with atheris and libFuzzer. `run.py` starts it.

    python engine.py READER FINDINGS CORPUS [options of libFuzzer]

A reader is a module of `readers` with

    check(data)   reads the data: any BincodecError is an answer, any other exception a finding
    seeds()       yields the first inputs of the corpus
    MAX_BYTES     the longest input
    mutate(data, max_bytes, seed, change)
                  optional: turns one input into another, if most changes would only fail a checksum. It may
                  pass bytes to `change(bytes, max_bytes)`, libFuzzer's own mutation, and then repair
                  what depends on them

A finding does not end the run. For each place that fails, the first input is kept with its exception.
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
"""The modules whose branches are counted. New branches lead to new inputs."""


def instrumented(name: str) -> Any:
    """Import the reader, with the modules of INSTRUMENTED changed to report their branches."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        return importlib.import_module(f"readers.{name}")


def noting(check: Callable[[bytes], None], findings: Path) -> Callable[[bytes], None]:
    """Wrap `check` so that it stores what it finds instead of raising it."""
    from bincodec.bitstream.errors import BincodecError

    known = set()

    def checked(data: bytes) -> None:
        try:
            check(data)
        except (BincodecError, KeyboardInterrupt) as answer:
            if isinstance(answer, KeyboardInterrupt):
                raise
        except BaseException as failure:  # A panic of Rust is not an Exception.
            name = name_of(failure)
            if name not in known:
                known.add(name)
                (findings / f"{name}.input").write_bytes(data)
                text = "".join(traceback.format_exception(failure))
                (findings / f"{name}.txt").write_text(f"{data.hex()}\n\n{text}")

    return checked


def name_of(failure: BaseException) -> str:
    """Return what was raised and where. Inputs that fail in the same way give the same text."""
    last = traceback.extract_tb(failure.__traceback__)[-1]
    return f"{type(failure).__name__}-{Path(last.filename).stem}-{last.lineno}"


def main() -> None:
    """Run the fuzzer. This never returns, because libFuzzer ends the process."""
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
            )  # Fuzz() replaces an earlier handler, so this cannot be set before.
            return changed

        own["custom_mutator"] = functools.partial(reader.mutate, change=change)
    arguments = [sys.argv[0], f"-max_len={reader.MAX_BYTES}", *options, corpus]
    atheris.Setup(arguments, noting(reader.check, Path(findings)), **own)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
