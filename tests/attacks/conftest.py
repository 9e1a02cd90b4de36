"""Files that somebody has forged: their contents are wrong, but their checksums hold.

Each of them is refused with one line, or decodes to a picture. If the header, the index and the lengths
already show that it is wrong, no network is run, because a few bytes could make that expensive.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bincodec import BinaryCode, BincodecError, Codec
from bincodec.bitstream import container
from bincodec.bitstream.container import Container, Memory
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.kernels import IntegerPrior

TINY = Path(__file__).parents[1] / "models" / "tiny-1.safetensors"
LONGEST_LINE = 200

Refuse = Callable[[bytes, type[BincodecError], str], None]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Decode parts one after the other, so that the calls of a network can be counted."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec.load(str(TINY))


@pytest.fixture(scope="session")
def header(codec: Codec, forge_header: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return `forge_header` for files of the tiny model with all its layers. The default is two tiles."""
    return lambda **changes: forge_header(
        **({"layers": 3, "fingerprint": codec.model.card.fingerprint} | changes)
    )


@pytest.fixture(scope="session")
def code(codec: Codec) -> BinaryCode:
    """Return the code of a picture of 500 x 20 pixels, in two tiles of 2 x 16 positions."""
    pixels = np.zeros((20, 500, 3), np.uint8)
    pixels += (np.arange(500) // 2)[:, None].astype(np.uint8)
    pixels[..., 1] += np.arange(20, dtype=np.uint8)[:, None]
    return dataclasses.replace(codec.encode(pixels, 50), tile_side=16, extras=())


@pytest.fixture(scope="session")
def honest(codec: Codec, code: BinaryCode) -> Container:
    """Return the parts of the file of `code`: two coded chunks of 60 bytes, whose levels take 64 uncoded."""
    file = container.read(Memory(codec.pack(code)))
    assert [[(len(chunk.payload), chunk.raw) for chunk in row if chunk] for row in file.chunks] == [
        [(60, False), (60, False)]
    ]
    return file


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test fail if a network is run."""

    def fail(*_: object, **__: object) -> None:
        pytest.fail("a network was asked")

    monkeypatch.setattr(IntegerPrior, "predict", fail)
    monkeypatch.setattr(IntegerPrior, "is_exact", fail)
    monkeypatch.setattr(Autoencoder, "synthesise", fail)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Collect the rows and columns of each context that the prior receives."""
    shapes: list[tuple[int, int]] = []
    predict = IntegerPrior.predict

    def watched(self: IntegerPrior, context: torch.Tensor, *rest: Any, **options: Any) -> Any:
        shapes.append((context.shape[0], context.shape[1]))
        return predict(self, context, *rest, **options)

    monkeypatch.setattr(IntegerPrior, "predict", watched)
    return shapes


@pytest.fixture
def refuse(codec: Codec) -> Refuse:
    """Return a function that requires a file to be refused with exactly this error, in one line."""

    def check(data: bytes, error: type[BincodecError], says: str) -> None:
        with pytest.raises(error, match=says) as caught:
            codec.decompress(data)
        assert type(caught.value) is error
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) <= LONGEST_LINE

    return check
