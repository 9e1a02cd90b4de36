"""The benchmark that damages files counts what it should count."""

import dataclasses
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from bincodec import BinaryCode, Codec

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import damage  # noqa: E402 -- it lies in a folder of scripts


def packed() -> tuple[Codec, BinaryCode, bytes]:
    codec = Codec.load(str(ROOT / "tests" / "models" / "tiny-1.safetensors"))
    code = codec.encode(np.random.default_rng(0).integers(0, 256, (40, 300, 3), np.uint8), 60)
    code = dataclasses.replace(code, tile_side=16)
    assert len(code.tiles) == 2
    return codec, code, codec.pack(code)


def test_all_damage_is_noticed_and_the_rest_stays_whole() -> None:
    codec, code, data = packed()
    found = Counter(
        damage.outcome(codec, changed, code, partial=partial)
        for _, changed in damage.damaged(data, 60, 20, 20, 0)
        for partial in (False, True)
    )
    assert set(found) <= {"refused", "the same", "rest whole"}
    assert found["rest whole"] > 40
    assert found["refused"] > 90


def test_what_should_not_happen_would_be_told() -> None:
    codec, code, data = packed()
    other = dataclasses.replace(code, quality=61)
    assert damage.outcome(codec, data, code, partial=False) == "the same"
    assert damage.outcome(codec, data, other, partial=False) == "silent"
    assert damage.outcome(codec, data, other, partial=True) == "silent"
