"""A photo, a .bld made from it by the public API, and a way to run the command in this process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import bincodec
from bincodec.bitstream import stream
from bincodec.cli.main import main

ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def crop() -> Image.Image:
    """A small piece of the example photo; its sides are no multiples of 16."""
    with Image.open(ROOT / "examples" / "chelsea.png") as image:
        return image.convert("RGB").crop((150, 60, 150 + 73, 60 + 50))


@pytest.fixture(scope="session")
def compressed(crop: Image.Image) -> bytes:
    return bincodec.compress(np.array(crop), quality=30)


@pytest.fixture(scope="session")
def layered(crop: Image.Image) -> bytes:
    """The same picture in a file in which each layer is a group of its own, as in those of large pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "GROUP_BYTES", 0)
        return bincodec.compress(np.array(crop), quality=80)


@pytest.fixture
def photo(crop: Image.Image, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    crop.save(path)
    return path


@pytest.fixture
def bld(compressed: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "small.bld"
    path.write_bytes(compressed)
    return path


@pytest.fixture
def run() -> Run:
    def invoke(*arguments: object, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
        # A traceback would be a bug: failures of ours end in SystemExit.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke
