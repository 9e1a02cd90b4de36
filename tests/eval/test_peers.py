"""Every adapter writes a real file of its format and reads it again, and matching finds the nearest size."""

import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

import bincodec
from bincodec.eval import match, peers
from bincodec.eval.errors import NotInstalled, UnknownCodec
from bincodec.eval.metrics import psnr

Crops = dict[str, NDArray[np.uint8]]
MAGIC = {
    "jpeg": b"\xff\xd8\xff",
    "webp": b"RIFF",
    "avif": b"\x00\x00\x00",
    "jp2": b"\x00\x00\x00\x0cjP  ",
    "jxl": b"\xff\x0a",
    "heic": b"\x00\x00\x00",
}
REQUIRED = {"jpeg", "webp"}


def find(text: str) -> peers.Peer:
    try:
        return peers.find(text)
    except NotInstalled as missing:
        # Pillow may be built without some formats, and the plugins are an extra.
        assert text.partition(":")[0] not in REQUIRED
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", MAGIC)
def test_adapters_code_real_files(name: str, crops: Crops) -> None:
    peer = find(name)
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
    assert peer.limits[0] <= peer.settings[0] < peer.settings[-1] <= peer.limits[1]


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        ("jpeg", "jpeg:subsampling=444"),
        ("jpeg:progressive=no", "jpeg:optimize=no:progressive=no"),
        ("jpeg", "jpeg:progressive=no"),
        ("webp", "webp:method=0"),
        ("avif", "avif:tune=psnr"),
        ("avif", "avif:speed=9"),
        ("avif", "avif:subsampling=444"),
        ("jxl", "jxl:effort=1"),
        ("heic", "heic:subsampling=444"),
        ("bincodec", "bincodec:layers=1"),
    ],
)
def test_options_change_the_file_and_what_is_said_of_it(usual: str, other: str, crops: Crops) -> None:
    one, two = find(usual), find(other)
    assert (one.name, two.name) == (usual, other)
    assert one.about != two.about
    setting = one.settings[len(one.settings) // 2]
    assert one.encode(crops["fur"], setting) != two.encode(crops["fur"], setting)


def test_jpeg_is_progressive_and_subsampled(crops: Crops) -> None:
    data = peers.find("jpeg").encode(crops["eye"], 50)
    assert b"\xff\xc2" in data, "no progressive frame"
    frame = data[data.index(b"\xff\xc2") + 4 :]
    assert frame[7] == 0x22, "luma is not sampled twice as densely as chroma"


def test_adapters_read_no_other_format(crops: Crops) -> None:
    """The picture must come from the codec's own file."""
    buffer = BytesIO()
    Image.fromarray(crops["eye"]).save(buffer, format="PNG")
    with pytest.raises(OSError, match="cannot identify"):
        peers.find("jpeg").decode(buffer.getvalue())


def test_bincodec_decodes_what_it_wrote(codec: bincodec.Codec, crops: Crops) -> None:
    peer = peers.bincodec(codec)
    encoded = peer(crops["fur"], 50)
    assert bincodec.read_header(encoded.data).quality == 50
    assert np.array_equal(encoded.pixels, np.asarray(codec.decode(codec.unpack(encoded.data))))
    assert "tiny-1" in peer.about


def test_bincodec_with_fewer_layers_writes_a_shorter_file(tiny: Path, crops: Crops) -> None:
    whole, part = peers.find("bincodec", model=str(tiny)), peers.find("bincodec:layers=1", model=str(tiny))
    data = part.encode(crops["fur"], 100)
    assert bincodec.read_header(data).layers == 1
    assert len(data) < len(whole.encode(crops["fur"], 100))
    assert part.decode(data).shape == crops["fur"].shape


def test_bincodec_says_which_networks_and_loads_them_late(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        msg = "loaded"
        raise AssertionError(msg)

    monkeypatch.setattr(bincodec.Codec, "load", refuse)
    peer = peers.find("bincodec", model=str(tiny))
    card = bincodec.model.store.find(str(tiny))
    assert card.fingerprint.hex() in peer.about
    assert card.encoder_digest[:8] in peer.about
    with pytest.raises(AssertionError, match="loaded"):
        peer.prepare()


def test_own_settings_replace_the_grid() -> None:
    assert peers.find("webp:settings=90,10").settings == (10, 90)


def test_unknown_codecs_models_layers_and_settings_are_named() -> None:
    with pytest.raises(UnknownCodec, match=r"'gif'.*bincodec, jpeg, webp"):
        peers.find("gif")
    with pytest.raises(bincodec.UnknownModel, match="nosuch"):
        peers.find("bincodec", model="nosuch")
    with pytest.raises(UnknownCodec, match=r"bincodec:layers=16: model photo-\d+ has only \d+ layers"):
        peers.find("bincodec:layers=16")
    with pytest.raises(UnknownCodec, match=r"jpeg: setting 0 is not in 1\.\.95"):
        peers.find("jpeg:settings=0,50")


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("jxl", "pillow_jxl", "pillow-jxl-plugin"), ("heic", "pillow_heif", "pillow-heif")],
)
def test_a_missing_plugin_is_named(
    name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotInstalled, match=rf"{name} needs the package {package}: pip install"):
        peers.find(name)


def test_a_format_that_pillow_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.SAVE, "JPEG2000", raising=False)
    with pytest.raises(NotInstalled, match="jp2: this Pillow was built without JPEG2000"):
        peers.find("jp2")


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


@pytest.mark.parametrize("shape", [(5000, 2), (2, 5000), (20000, 1), (300, 300)])
def test_jpeg_takes_narrow_and_noisy_pictures(shape: tuple[int, int]) -> None:
    """The default buffer of Pillow is too small for these files."""
    before = ImageFile.MAXBLOCK
    noise = 255 * np.random.default_rng(0).integers(0, 2, (*shape, 3), dtype=np.uint8)
    encoded = peers.find("jpeg:subsampling=444")(noise, 95)
    assert encoded.pixels.shape == noise.shape
    assert before == ImageFile.MAXBLOCK


def fragile(broken: int) -> peers.Peer:
    """Return a codec with files of 10 bytes for each step of the setting, and an error at `broken`."""

    def encode(pixels: NDArray[np.uint8], setting: int) -> bytes:
        if setting == broken:
            msg = "no"
            raise OSError(msg)
        return bytes(10 * setting)

    shape = (1, 1, 3)
    return peers.Peer("fragile", "", (5,), (1, 9), encode, lambda data: np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("broken", "size", "answer"), [(9, 50, 5), (9, 999, 8), (1, 5, 2), (1, 50, 5)])
@pytest.mark.parametrize("at_most", [False, True])
def test_matching_does_without_an_end_that_fails(broken: int, size: int, answer: int, at_most: bool) -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    assert match.nearest(fragile(broken), pixels, size, at_most=at_most).setting == answer


def test_matching_fails_where_the_codec_does() -> None:
    with pytest.raises(OSError, match="no"):
        match.nearest(fragile(5), np.zeros((1, 1, 3), np.uint8), 50)


def test_effort_needs_the_multipliers_and_is_known_by_them(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownCodec, match=r"the card of tiny-1 has no .* only effort=0 is possible"):
        peers.find("bincodec:effort=5", model=str(tiny))
    card = bincodec.model.store.find(str(tiny))
    abouts = {peers.find("bincodec", model=str(tiny)).about}
    for multipliers in ([1e-4, 0.1], [1e-4, 0.2]):
        changed = replace(card, card={**card.card, "lambda_range": multipliers})
        monkeypatch.setattr(bincodec.model.store, "find", lambda _, changed=changed: changed)
        abouts.add(peers.find("bincodec", model=str(tiny)).about)
        assert peers.find("bincodec:effort=5", model=str(tiny)).name == "bincodec:effort=5"
    assert len(abouts) == 3


def test_realism_shows_the_same_file_with_another_decoder(two_decoders: Path, crops: Crops) -> None:
    soft, half, sharp = (
        peers.find(f"bincodec{realism}", model=str(two_decoders))
        for realism in ("", ":realism=0.5", ":realism=1")
    )
    assert (half.name, sharp.name) == ("bincodec:realism=0.5", "bincodec:realism=1")
    data = soft.encode(crops["fur"], 50)
    assert data == half.encode(crops["fur"], 50) == sharp.encode(crops["fur"], 50)
    codec = bincodec.Codec.load(str(two_decoders))
    for peer, realism in ((soft, 0.0), (half, 0.5), (sharp, 1.0)):
        expected = np.asarray(codec.decompress(data, realism=realism).convert("RGB"))
        assert np.array_equal(peer.decode(data), expected)
    digest = codec.model.card.decoder_digests["realism"][:8]
    assert digest in sharp.about
    assert digest not in soft.about
    assert sharp.about != half.about


@pytest.mark.parametrize("realism", ["2", "-0.1", "nan", "much", ""])
def test_realism_is_a_number(realism: str, two_decoders: Path) -> None:
    message = rf"^bincodec:realism={realism}: realism='{realism}': it must be a number in 0\.\.1$"
    with pytest.raises(UnknownCodec, match=message):
        peers.find(f"bincodec:realism={realism}", model=str(two_decoders))


def test_a_number_has_one_name_however_it_is_spelt(two_decoders: Path) -> None:
    for spellings in (("1", "1.0", "1e0"), ("0.001", "1e-3", "0.0010"), ("0", "0.0", "-0", "0e5")):
        found = [peers.find(f"bincodec:realism={text}", model=str(two_decoders)) for text in spellings]
        assert len({(peer.name, peer.about) for peer in found}) == 1
        assert found[0].name == f"bincodec:realism={spellings[0]}".removesuffix(":realism=0")


def test_realism_needs_a_model_with_that_decoder(tiny: Path) -> None:
    with pytest.raises(UnknownCodec, match=r"model tiny-1: decoder 'realism' is not"):
        peers.find("bincodec:realism=1", model=str(tiny))
    assert peers.find("bincodec:realism=0.0", model=str(tiny)).name == "bincodec"
