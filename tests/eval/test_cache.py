"""The cache: results are stored completely or not at all, damaged ones are ignored, keys cover everything."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from bincodec.eval import cache
from bincodec.eval.cache import Cache, default_folder

VALUE = {"bytes": 12, "name": "é", "psnr": 31.25, "lossless": math.inf}


@pytest.fixture
def kept(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "new" / "folder")


def only_file(folder: Path) -> Path:
    (path,) = [path for path in folder.rglob("*") if path.is_file()]
    return path


def test_what_was_put_comes_back(kept: Cache) -> None:
    name = cache.key("file", "a")
    assert kept.get(name) is None
    kept.put(name, VALUE)
    assert kept.get(name) == VALUE
    assert Cache(kept.folder).get(name) == VALUE
    assert kept.get(cache.key("file", "b")) is None
    kept.put(name, [1])
    assert kept.get(name) == [1]
    only_file(kept.folder)


def test_nan_survives(kept: Cache) -> None:
    kept.put("ab12", {"ms_ssim": math.nan})
    assert math.isnan(kept.get("ab12")["ms_ssim"])


def test_every_damage_is_noticed(kept: Cache) -> None:
    name = cache.key("file", "a")
    kept.put(name, VALUE)
    path = only_file(kept.folder)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert kept.get(name) is None, length
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert kept.get(name) is None, position
    for other in (b"", b"[]", b"1", b"null", b'{"value": 1}', b'{"digest": 1, "value": 1}', b"[" * 100_000):
        path.write_bytes(other)
        assert kept.get(name) is None, other[:20]
    kept.put(name, VALUE)
    assert kept.get(name) == VALUE


def test_nothing_half_written_stays(kept: Cache) -> None:
    with pytest.raises(TypeError):
        kept.put("ab12", {1, 2})
    assert not [path for path in kept.folder.rglob("*") if path.is_file()]


def test_keys_depend_on_every_part_and_its_place() -> None:
    parts = [("a", "b", 1), ("b", "a", 1), ("ab", "", 1), ("a", "b", 2), ("a", "b"), ("a", "b1")]
    keys = {cache.key("file", *part) for part in parts} | {cache.key("match", "a", "b", 1)}
    assert len(keys) == 7


def test_pictures_differ_by_samples_and_shape() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    other = picture.copy()
    other[1, 3, 2] += 1
    digests = {cache.pixels_digest(p) for p in (picture, other, picture.reshape(4, 2, 3))}
    assert len(digests) == 3
    assert cache.pixels_digest(picture.copy()) in digests


@pytest.mark.skipif(sys.platform != "linux", reason="where a cache belongs is told here for Linux")
def test_the_folder_is_the_system_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for said, base in ((None, tmp_path / ".cache"), ("", tmp_path / ".cache"), ("/x", Path("/x"))):
        if said is None:
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", said)
        assert default_folder() == base / "bincodec" / "eval"
    assert not list(tmp_path.iterdir()), "asking makes no folder"
