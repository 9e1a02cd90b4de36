"""The readers that are fuzzed, without the fuzzer. Fuzzing would be useless if they missed failures."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import pytest

from bincodec.bitstream.errors import BincodecError

HERE = Path(__file__).resolve().parent
READERS = sorted(path.stem for path in (HERE / "readers").glob("*.py"))
MENDED = ("container", "extras", "file", "header")
"""The readers that change inputs themselves. libFuzzer does it for the others."""


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module(f"readers.{request.param}")


def test_who_changes_its_inputs_is_listed(reader: Any) -> None:
    assert hasattr(reader, "mutate") == (reader.__name__.removeprefix("readers.") in MENDED)


def test_seeds_are_read(reader: Any) -> None:
    seeds = list(reader.seeds())
    assert len(seeds) >= 4
    for seed in seeds:
        assert len(seed) <= reader.MAX_BYTES
        reader.check(seed)


def test_damaged_seeds_are_refused_or_read(reader: Any) -> None:
    dice, seeds, refused = random.Random(3), [bytes(20), *reader.seeds()], 0
    for _ in range(200):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(3)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            reader.check(bytes(data[: dice.randrange(len(data) + 1)]))
        except BincodecError:
            refused += 1
    # Any bytes are a valid payload of a range coder.
    assert refused or reader.__name__.endswith("coder")


@pytest.mark.parametrize("reader", MENDED, indirect=True)
def test_mended_seeds_are_refused_or_read(reader: Any) -> None:
    """Inputs are changed as the fuzzer changes them. Some then pass code that requires valid checksums."""
    dice, seeds, read = random.Random(4), list(reader.seeds()), set()

    def change(data: bytes, max_bytes: int) -> bytes:
        changed = bytearray(data)
        at = dice.randrange(len(changed) + 1)
        changed[at : at + dice.randrange(2)] = dice.randbytes(dice.randrange(3))
        return bytes(changed[:max_bytes])

    for seed in range(120):
        data = reader.mutate(dice.choice(seeds), reader.MAX_BYTES, seed, change)
        assert len(data) <= reader.MAX_BYTES
        try:
            reader.check(data)
            read.add(data)
        except BincodecError:
            continue
    assert len(read - set(seeds)) >= 3


def test_what_is_no_answer_is_kept_once_for_each_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(HERE)
    engine = importlib.import_module("engine")

    def check(data: bytes) -> None:
        if data == b"answer":
            raise BincodecError
        if data.startswith(b"a"):
            raise ZeroDivisionError
        if data.startswith(b"b"):
            raise SystemExit

    checked = engine.noting(check, tmp_path)
    for data in (b"answer", b"a1", b"a2", b"b1", b"c"):
        checked(data)
    kept = {path.name.split("-")[0]: path.read_bytes() for path in tmp_path.glob("*.input")}
    assert kept == {"ZeroDivisionError": b"a1", "SystemExit": b"b1"}
    texts = [path.read_text() for path in sorted(tmp_path.glob("*.txt"))]
    assert [text.split()[0] for text in texts] == [b"b1".hex(), b"a1".hex()]
    assert all("Traceback" in text for text in texts)


def test_the_runner_reads_what_libfuzzer_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    run = importlib.import_module("run")
    said = (
        "#2\tINITED cov: 3 ft: 4 corp: 1/2b exec/s: 0 rss: 40Mb\n"
        "#900\tDONE   cov: 25 ft: 92 corp: 19/120b lim: 64 exec/s: 30 rss: 245Mb\n"
    )
    assert run.PROGRESS.findall(said)[-1] == ("900", "25", "92", "19")
    row = run.table([run.Outcome("rice", 900, 25, 92, 19, 0.5, ())]).splitlines()[1].split()
    assert row == ["rice", "900", "1800", "25", "92", "19", "0"]
