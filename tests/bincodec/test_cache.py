"""The codecs that the module-level functions keep: no more than they say, no older than their file."""

import gc
import os
import weakref
from pathlib import Path

import numpy as np
import pytest

import bincodec
from bincodec import Codec, api

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
PIXELS = np.full((20, 30, 3), 77, np.uint8)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Codec]]:
    """Every codec that is loaded."""
    found: list[weakref.ref[Codec]] = []
    honest = Codec.load

    def load(*arguments: str) -> Codec:
        codec = honest(*arguments)
        found.append(weakref.ref(codec))
        return codec

    monkeypatch.setattr(api.Codec, "load", load)
    bincodec.clear_cache()
    return found


def test_one_codec_serves_all_calls_until_it_is_let_go(opened: list[weakref.ref[Codec]]) -> None:
    data = bincodec.compress(PIXELS, model=TINY)
    bincodec.decompress(data, model=TINY)
    bincodec.compress(PIXELS, quality=9, model=str(TINY))
    assert len(opened) == 1
    bincodec.clear_cache()
    gc.collect()
    assert opened[0]() is None


def test_a_replaced_model_file_is_read_anew(tmp_path: Path, opened: list[weakref.ref[Codec]]) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(TINY.read_bytes())
    bincodec.compress(PIXELS, model=path)
    other = tmp_path / "other"
    other.write_bytes(TINY.read_bytes())
    os.replace(other, path)
    bincodec.compress(PIXELS, model=path)
    assert len(opened) == 2


def test_no_more_are_kept_than_it_says(tmp_path: Path, opened: list[weakref.ref[Codec]]) -> None:
    for number in range(api.MAX_CACHED + 2):
        path = tmp_path / f"own-{number}.safetensors"
        path.write_bytes(TINY.read_bytes())
        bincodec.compress(PIXELS, model=path)
    gc.collect()
    assert sum(codec() is not None for codec in opened) == api.MAX_CACHED == 4
    bincodec.clear_cache()
