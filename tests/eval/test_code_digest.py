"""Cached results belong to the code that made them: the key covers what encodes, not what only measures."""

import shutil
from pathlib import Path

import pytest

from bincodec.eval import cache, peers

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["repository", "installed"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Path]:
    """Copy each folder, either flat as in the repository, or one inside the other as in a wheel."""
    above = tmp_path if request.param == "repository" else tmp_path / "bincodec"
    folders = {"bincodec": tmp_path / "bincodec"}
    folders |= {name: above / name for name in ("bitstream", "cli", "eval")}
    for name, folder in folders.items():
        ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / name, folder, ignore=ignore, dirs_exist_ok=True)
    return folders


def key(folders: dict[str, Path]) -> str:
    return cache.key("file", peers.digest_of_code(folders["bincodec"], folders["bitstream"]))


def change_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("bincodec/codec.py", True),
        ("bincodec/coding/passes.py", True),
        ("bincodec/postfilter/fit.py", True),
        ("bitstream/rice.py", True),
        ("bitstream/probability_tables.zlib", True),
        ("eval/report.py", False),
        ("cli/compress.py", False),
        ("bincodec/py.typed", False),
    ],
)
def test_the_key_follows_what_codes(copy: dict[str, Path], changed: str, counts: bool) -> None:
    before = key(copy)
    assert key(copy) == before
    folder, _, name = changed.partition("/")
    if changed.endswith("py.typed"):
        (copy[folder] / name).write_text("x")
    else:
        change_a_byte(copy[folder] / name)
    assert (key(copy) != before) == counts


def test_a_module_that_moves_changes_the_key(copy: dict[str, Path]) -> None:
    before = key(copy)
    (copy["bincodec"] / "coding" / "order.py").rename(copy["bincodec"] / "model" / "order.py")
    assert key(copy) != before


def test_what_a_peer_says_holds_the_digest_of_this_code() -> None:
    digest = peers.digest_of_code(ROOT / "bincodec", ROOT / "bitstream")
    assert f"(code {digest[:8]})" in peers.find("bincodec").about
