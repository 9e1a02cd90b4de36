"""Every adapter writes a real file of its format and reads it back; matching finds the nearest size."""

import numpy as np
import pytest
from numpy.typing import NDArray

import bincodec
from bincodec.eval import match, peers
from bincodec.eval.metrics import psnr

Crops = dict[str, NDArray[np.uint8]]
MAGIC = {"jpeg": b"\xff\xd8\xff", "webp": b"RIFF", "avif": b"\x00\x00\x00", "jp2": b"\x00\x00\x00\x0cjP  "}


@pytest.mark.parametrize("name", MAGIC)
def test_adapters_code_real_files(name: str, crops: Crops) -> None:
    try:
        peer = peers.find(name)
    except peers.NotInstalled as missing:
        # Pillow may be built without these two, and only these.
        assert name in {"avif", "jp2"}
        pytest.skip(str(missing))
    pixels = crops["eye"]
    coarse, fine = peer(pixels, peer.settings[1]), peer(pixels, peer.settings[-1])
    for encoded in (coarse, fine):
        assert encoded.data.startswith(MAGIC[name])
        assert encoded.pixels.shape == pixels.shape
        assert encoded.pixels.dtype == np.uint8
    assert len(coarse.data) < len(fine.data)
    assert psnr(pixels, coarse.pixels) < psnr(pixels, fine.pixels)
    assert psnr(pixels, fine.pixels) > 30
    assert peer.settings == tuple(sorted(set(peer.settings)))


def test_jpeg_is_progressive_and_subsampled(crops: Crops) -> None:
    data = peers.find("jpeg").encode(crops["eye"], 50)
    assert b"\xff\xc2" in data, "no progressive frame"
    frame = data[data.index(b"\xff\xc2") + 4 :]
    assert frame[7] == 0x22, "luma is not sampled twice as densely as chroma"


def test_bincodec_decodes_what_it_wrote(codec: bincodec.Codec, crops: Crops) -> None:
    peer = peers.bincodec(codec)
    encoded = peer(crops["fur"], 50)
    assert bincodec.read_header(encoded.data).quality == 50
    assert np.array_equal(encoded.pixels, np.asarray(codec.decode(codec.unpack(encoded.data))))
    assert "tiny-1" in peer.about


def test_unknown_codecs_and_models_are_named() -> None:
    with pytest.raises(peers.UnknownCodec, match=r"'gif'.*bincodec, jpeg, webp"):
        peers.find("gif")
    with pytest.raises(bincodec.WrongModel, match="nosuch"):
        peers.find("bincodec", model="nosuch")


def test_matching_agrees_with_trying_everything(crops: Crops) -> None:
    peer, pixels = peers.find("jpeg"), crops["eye"]
    sizes = {setting: len(peer.encode(pixels, setting)) for setting in range(1, 96)}
    for target in (600, 900, 1500, 2200):
        found = match.nearest(peer, pixels, target)
        assert len(found.encoded.data) == sizes[found.setting]
        assert abs(sizes[found.setting] - target) == min(abs(size - target) for size in sizes.values())
        below = match.nearest(peer, pixels, target, at_most=True)
        fitting = [size for size in sizes.values() if size <= target] or [min(sizes.values())]
        assert sizes[below.setting] == max(fitting)


def test_matching_stops_at_both_ends(crops: Crops) -> None:
    peer = peers.find("jpeg")
    assert match.nearest(peer, crops["eye"], 1).setting == 1
    assert match.nearest(peer, crops["eye"], 1, at_most=True).setting == 1
    assert match.nearest(peer, crops["eye"], 10**9).setting == 95
