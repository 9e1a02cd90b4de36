"""The frozen tiny model, loaded once, and damaged files whose checksums are repaired."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bincodec import Codec

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread. The networks of the tests are so small that a second thread only costs time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def codec() -> "Codec":
    """Return a codec with the tiny model."""
    from bincodec import Codec

    return Codec.load(str(TINY))
