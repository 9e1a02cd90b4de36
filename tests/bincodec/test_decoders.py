"""A second decoder of the same files, and what lies between it and the main one."""

import dataclasses
import gc
import io
import json
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import bincodec
from bincodec import BinaryCode, Codec, InvalidSetting
from bincodec.bitstream import stream
from bincodec.model.decoders import DecoderChoice
from bincodec.pillow_plugin import BldImageFile

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
FLAT = np.full((64, 64, 3), (250, 128, 9), np.uint8)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def two(two_decoders: Path) -> Codec:
    return Codec.load(str(two_decoders))


@pytest.fixture(scope="module")
def code(two: Codec) -> BinaryCode:
    return two.encode(PIXELS, 60)


@pytest.fixture
def installed(two_decoders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINCODEC_MODELS", str(two_decoders.parent))


def shown(codec: Codec, code: BinaryCode, **options: Any) -> np.ndarray:
    return np.asarray(codec.decode(code, **options)).astype(int)


def without_second(source: Path, destination: Path) -> Path:
    """Write the model file `source` once more, without its second decoder."""
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    digests = json.loads(metadata["decoder_digests"])
    del digests["realism"]
    tensors = {
        name: value for name, value in load_file(source).items() if not name.startswith("decoder.realism.")
    }
    save_file(tensors, destination, metadata | {"decoder_digests": json.dumps(digests)})
    return destination


def without_filter(code: BinaryCode) -> BinaryCode:
    return dataclasses.replace(code, extras=())


# --- the weights ------------------------------------------------------------------------------------------


def test_files_are_the_same_with_and_without_a_second_decoder(two: Codec, tmp_path: Path) -> None:
    one = Codec.load(str(without_second(two.model.card.path, tmp_path / "one-1.safetensors")))
    assert one.model.card.decoders == ("fidelity",)
    data = one.compress(PIXELS, 60)
    assert two.compress(PIXELS, 60) == data
    main, other = (np.asarray(two.decompress(data, realism=share)) for share in (0, 1))
    assert np.array_equal(np.asarray(one.decompress(data)), main)
    assert np.array_equal(np.asarray(one.decompress(data, realism=0)), main)
    assert (main != other).any()


def test_the_ends_are_the_two_decoders(two: Codec, code: BinaryCode) -> None:
    main, other = (shown(two, code, decoder=name) for name in two.model.card.decoders)
    assert np.array_equal(shown(two, code), main)
    assert np.array_equal(shown(two, code, realism=0), main)
    assert np.array_equal(shown(two, code, decoder="realism", realism=0), main)
    assert np.array_equal(shown(two, code, realism=1), other)
    assert np.array_equal(shown(two, code, decoder="realism", realism=1.0), other)
    assert (main != other).any()


def test_pictures_go_steadily_from_one_end_to_the_other(two: Codec, code: BinaryCode) -> None:
    pictures = [shown(two, code, realism=share) for share in SHARES]
    from_start, to_end = ([np.abs(p - end).mean() for p in pictures] for end in (pictures[0], pictures[-1]))
    assert from_start == sorted(from_start)
    assert to_end == sorted(to_end, reverse=True)
    assert len(set(from_start)) == len(SHARES)
    assert np.abs(shown(two, code, realism=1e-6) - pictures[0]).max() <= 1
    assert np.abs(shown(two, code, realism=1 - 1e-6) - pictures[-1]).max() <= 1


def test_every_weight_is_mixed_in_the_same_proportion(two: Codec) -> None:
    decoders = two.model.decoders
    main, mixed, other = (decoders.network(DecoderChoice("realism", share)) for share in (0.0, 0.25, 1.0))
    assert main is decoders.main
    assert mixed.encoder is main.encoder
    assert mixed.gains is main.gains
    ends = dict(main.named_parameters()), dict(other.named_parameters())
    for name, value in mixed.named_parameters():
        if name.startswith(("decoder.", "inverse_gains.")):
            expected = 0.75 * ends[0][name] + 0.25 * ends[1][name]
            np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_only_the_latest_mixture_is_kept(two: Codec) -> None:
    decoders = two.model.decoders
    first = weakref.ref(decoders.network(DecoderChoice("realism", 0.3)))
    assert decoders.network(DecoderChoice("realism", 0.3)) is first()
    decoders.network(DecoderChoice("realism", 0.4))
    gc.collect()
    assert first() is None


def test_threads_with_mixtures_of_their_own_do_not_meet(two: Codec, code: BinaryCode) -> None:
    shares = [index / 8 for index in range(9)] * 3
    alone = [shown(two, code, realism=share) for share in shares]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda share: shown(two, code, realism=share), shares))
    assert all(map(np.array_equal, together, alone))


# --- the post-filter --------------------------------------------------------------------------------------


def test_what_the_post_filter_adds_fades(two: Codec) -> None:
    code = two.encode(FLAT, 100)
    assert code.extras, "this picture is to have a post-filter"

    def added(share: float) -> float:
        """Return the mean change of the colour that the filter changes most, over the flat picture."""
        change = shown(two, code, realism=share) - shown(two, without_filter(code), realism=share)
        return float(np.abs(change.mean((0, 1))).max())

    whole, half, none = added(0), added(0.5), added(1)
    assert whole > 4
    assert half == pytest.approx(whole / 2, rel=0.25)
    assert none == 0


def test_a_prefix_has_no_post_filter_whatever_the_decoder(two: Codec) -> None:
    code = two.encode(FLAT, 100)
    for share in (0, 0.5):
        filtered, bare = (shown(two, one, layers=2, realism=share) for one in (code, without_filter(code)))
        assert np.array_equal(filtered, bare)


# --- everything that decodes ------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [3, 1])
def test_regions_are_parts_of_the_whole(two: Codec, layers: int) -> None:
    code = two.encode(np.random.default_rng(1).integers(0, 256, (120, 150, 3), dtype=np.uint8), 60)
    left, top, width, height = region = (37, 21, 60, 50)
    whole = shown(two, code, layers=layers, realism=0.6)
    part = shown(two, code, layers=layers, realism=0.6, region=region)
    assert np.abs(part - whole[top : top + height, left : left + width]).max() <= 1
    data = two.pack(code)
    unpacked = np.asarray(two.decompress(data, layers=layers, realism=0.6, region=region)).astype(int)
    assert np.abs(unpacked - part).max() <= (1 if layers == 3 else 3)


@pytest.mark.usefixtures("installed")
def test_decompress_takes_the_decoder_wherever_layers_come_from(
    two: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "GROUP_BYTES", 0)
    code = two.encode(PIXELS, 60)
    data = two.pack(code)

    def check(picture: Image.Image, expected: Image.Image) -> None:
        assert np.array_equal(np.asarray(picture), np.asarray(expected))
        assert (picture.info["bld"]["decoder"], picture.info["bld"]["realism"]) == ("realism", 0.5)

    check(bincodec.decompress(data, realism=0.5), two.decode(code, realism=0.5))
    check(bincodec.decompress(data, layers=2, realism=0.5), two.decode(code, 2, realism=0.5))
    cut = bincodec.decompress(data[:-1], missing="expect", realism=0.5)
    check(cut, two.decode(two.unpack(data[:-1], partial=True), realism=0.5))
    drawn = bincodec.decompress(data, layers=1, missing="sample", seed=3, realism=0.5)
    check(drawn, two.decode(two.complete(code, 1, seed=3).code, realism=0.5))
    assert drawn.info["bld"]["real_layers"] == 1


def test_a_picture_says_what_decoded_it(two: Codec, code: BinaryCode) -> None:
    def said(**options: Any) -> tuple[str, float]:
        info = two.decode(code, **options).info["bld"]
        return info["decoder"], info["realism"]

    assert said() == said(realism=0) == said(decoder="fidelity") == ("fidelity", 0.0)
    assert said(decoder="realism") == said(realism=1) == ("realism", 1.0)
    assert said(realism=np.float32(0.5)) == ("realism", 0.5)


# --- refusals ---------------------------------------------------------------------------------------------


def calls(codec: Codec, code: BinaryCode, options: dict[str, Any]) -> tuple[Callable[[], object], ...]:
    data = codec.pack(code)
    return lambda: codec.decode(code, **options), lambda: codec.decompress(data, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decoder": "beauty"}, "model two-1: decoder 'beauty' is not one of fidelity, realism"),
        ({"realism": 1.01}, "realism 1.01 is not a number in 0..1"),
        ({"realism": -0.1}, "realism -0.1 is not a number in 0..1"),
        ({"realism": float("nan")}, "realism nan is not a number in 0..1"),
        ({"decoder": "fidelity", "realism": 0.5}, "realism 0.5 needs the decoder 'realism', not 'fidelity'"),
    ],
)
def test_decoders_that_do_not_exist(
    two: Codec, code: BinaryCode, options: dict[str, Any], words: str
) -> None:
    for call in calls(two, code, options):
        with pytest.raises(InvalidSetting) as caught:
            call()
        assert str(caught.value) == words


@pytest.mark.parametrize(
    "options", [{"decoder": "realism"}, {"decoder": "realism", "realism": 0}, {"realism": 0.5}]
)
def test_a_model_without_the_decoder_names_those_that_it_has(codec: Codec, options: dict[str, Any]) -> None:
    for call in calls(codec, codec.encode(PIXELS), options):
        with pytest.raises(InvalidSetting, match=r"^model tiny-1: decoder 'realism' is not one of fidelity$"):
            call()


@pytest.mark.parametrize("options", [{"decoder": 1}, {"realism": "0.5"}, {"realism": True}])
def test_decoders_of_another_type(two: Codec, code: BinaryCode, options: dict[str, Any]) -> None:
    for call in calls(two, code, options):
        with pytest.raises(TypeError, match=f"{next(iter(options))} must be "):
            call()


# --- Pillow -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("installed")
def test_pillow_decodes_by_the_decoder_that_the_first_load_names(two: Codec, code: BinaryCode) -> None:
    data = two.pack(code)
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, BldImageFile)
        image.load(realism=0.5)
        assert np.array_equal(np.asarray(image), np.asarray(two.decode(code, realism=0.5)))
        assert image.info["bld"]["realism"] == 0.5
        image.load()
        with pytest.raises(ValueError, match="the picture is decoded already"):
            image.load(decoder="fidelity")
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), np.asarray(two.decode(code)))


@pytest.mark.usefixtures("installed")
def test_pillow_may_try_again_after_a_decoder_that_is_not_there(two: Codec, code: BinaryCode) -> None:
    with Image.open(io.BytesIO(two.pack(code))) as image:
        assert isinstance(image, BldImageFile)
        with pytest.raises(ValueError, match="decoder 'beauty' is not one of fidelity, realism"):
            image.load("beauty")
        image.load("realism")
        assert np.array_equal(np.asarray(image), np.asarray(two.decode(code, decoder="realism")))
