"""Where the line between `TypeError` and `InvalidSetting` is, and that the API's options reach the codec."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bincodec
from bincodec import InvalidSetting, Limits, SamplingSettings, arguments
from bincodec.model import store

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "models" / "tiny-1.safetensors"
IMAGE = np.zeros((20, 30, 3), np.uint8)
NO_INTEGERS: tuple[object, ...] = (50.0, "50", True, None, np.bool_(True), np.float32(3), [3], 1j)


@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
def test_what_is_no_integer_is_a_wrong_type(value: object) -> None:
    with pytest.raises(TypeError, match=r"^quality must be an integer in 0\.\.100, not ") as caught:
        arguments.checked_quality(value)  # type: ignore[arg-type]
    assert f"({type(value).__name__})" in str(caught.value)
    if value is not None:  # That says that it is left to the codec.
        with pytest.raises(TypeError, match="quality must be an integer"):
            bincodec.compress(IMAGE, quality=value, model=str(TINY))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="effort must be an integer"):
        bincodec.compress(IMAGE, effort=value, model=str(TINY))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 101, 10**30, np.int64(101), np.int8(-1)])
def test_an_integer_out_of_range_is_a_setting_that_does_not_exist(value: int) -> None:
    with pytest.raises(InvalidSetting, match=r"^quality .* is not an integer in 0\.\.100$"):
        arguments.checked_quality(value)


@pytest.mark.parametrize("value", [np.int64(30), np.uint8(30), 30])
def test_the_integers_of_numpy_are_integers(value: int) -> None:
    quality = arguments.checked_quality(value)
    assert (quality, type(quality)) == (30, int)
    data = bincodec.compress(IMAGE, quality=value, model=str(TINY))
    assert data == bincodec.compress(IMAGE, quality=30, model=str(TINY))


@pytest.mark.parametrize("value", ["1", True, None, 1j, np.bool_(False)], ids=repr)
def test_what_is_no_number_is_a_wrong_type(value: object) -> None:
    with pytest.raises(TypeError, match=r"^renewal must be a number in 0\.\.1, not "):
        arguments.checked_number("renewal", value, 1)  # type: ignore[arg-type]
    if value is not None:
        with pytest.raises(TypeError, match=r"^renewal must be a number in 0\.\.1, not "):
            SamplingSettings(renewal=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), -0.1, 10.1, np.float32(11), 11])
def test_a_number_out_of_range_is_a_setting_that_does_not_exist(value: float) -> None:
    with pytest.raises(InvalidSetting, match=r"^temperature .* is not a number in"):
        SamplingSettings(temperature=value)
    assert SamplingSettings(temperature=np.float32(2)).temperature == 2  # type: ignore[arg-type]


def test_sizes() -> None:
    for size in (None, 32, (3.0, 4), ("3", "4"), "34"):
        with pytest.raises(TypeError, match="must be"):
            arguments.checked_size(size, Limits())  # type: ignore[arg-type]
    for size in ((3,), (3, 4, 5), (0, 4), (4, 70000)):
        with pytest.raises(InvalidSetting) as caught:
            arguments.checked_size(size, Limits())  # type: ignore[arg-type]
        assert caught.value.option is None
    with pytest.raises(InvalidSetting) as caught:
        arguments.checked_size((30, 40), Limits(pixels=1199))
    assert caught.value.option == "pixels"
    with pytest.raises(TypeError, match="limits must be a Limits, not int"):
        arguments.checked_size((30, 40), 1199)  # type: ignore[arg-type]
    assert arguments.checked_size((np.int64(30), 40), Limits(pixels=1200)) == (30, 40)


CALLS: dict[str, Callable[[], object]] = {
    "device": lambda: bincodec.compress(IMAGE, device=3, model=str(TINY)),  # type: ignore[arg-type]
    "device ": lambda: bincodec.Codec.load(str(TINY), None),  # type: ignore[arg-type]
    "kernel": lambda: bincodec.Codec.load(str(TINY), kernel=5),  # type: ignore[arg-type]
    "model": lambda: bincodec.compress(IMAGE, model=None),  # type: ignore[arg-type]
    "limits": lambda: bincodec.compress(IMAGE, model=str(TINY), limits=600),  # type: ignore[arg-type]
    "missing": lambda: bincodec.decompress(coded(), model=str(TINY), missing=None),  # type: ignore[arg-type]
    "layers": lambda: bincodec.decompress(coded(), model=str(TINY), layers="1"),  # type: ignore[arg-type]
    "region": lambda: bincodec.decompress(coded(), model=str(TINY), region=7),  # type: ignore[arg-type]
    "left of the region": lambda: bincodec.decompress(coded(), model=str(TINY), region=(0.5, 0, 1, 1)),  # type: ignore[arg-type]
}


def coded() -> bytes:
    return bincodec.compress(IMAGE, model=str(TINY))


@pytest.mark.parametrize("name", CALLS)
def test_the_wrong_type_is_named_with_the_argument(name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name.strip()} must be a"):
        CALLS[name]()


def test_writing_is_limited_by_the_sides_alone_and_limits_can_be_raised() -> None:
    codec = bincodec.Codec.load(str(TINY))
    for function in (bincodec.compress, bincodec.Codec.compress, bincodec.Codec.encode):
        assert inspect.signature(function).parameters["limits"].default.pixels == 65535**2
    wide, loose = np.zeros((1, 65537), np.uint8), Limits(side=65537)
    with pytest.raises(bincodec.TooLarge):
        codec.compress(wide)
    data = codec.compress(wide, limits=loose)
    with pytest.raises(bincodec.TooLarge):
        codec.decompress(data)
    assert codec.decompress(data, limits=loose).size == (65537, 1)


def test_compress_keeps_to_its_limits() -> None:
    for call in (bincodec.compress, bincodec.Codec.load(str(TINY)).compress):
        keywords = {"model": str(TINY)} if call is bincodec.compress else {}
        with pytest.raises(bincodec.TooLarge) as caught:
            call(IMAGE, limits=Limits(pixels=599), **keywords)  # type: ignore[arg-type]
        assert (caught.value.option, caught.value.value, caught.value.limit) == ("pixels", 600, 599)
        assert call(IMAGE, limits=Limits(pixels=600), **keywords)  # type: ignore[arg-type]


def test_decompress_keeps_to_its_limits() -> None:
    with pytest.raises(bincodec.TooLarge, match="600 is over the limit pixels=599"):
        bincodec.decompress(coded(), model=str(TINY), limits=Limits(pixels=599))


def test_decompress_takes_the_model_that_it_is_told() -> None:
    """`tiny-1` is not installed: its files can be read only by naming it, and no other model reads them."""
    assert store.find("photo").fingerprint != bincodec.read_header(coded()).fingerprint
    with pytest.raises(bincodec.UnknownModel):
        bincodec.decompress(coded())
    assert bincodec.decompress(coded(), model=str(TINY)).info["bld"]["model"] == "tiny-1"
    with pytest.raises(bincodec.WrongModel):
        bincodec.decompress(coded(), model="photo")


def test_a_kernel_that_does_not_exist_is_no_damaged_model() -> None:
    with pytest.raises(InvalidSetting, match="kernel 'fast' is not one of auto, "):
        bincodec.Codec.load(str(TINY), kernel="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"), [("levels", []), ("maximum", [1, 1, 1]), ("maximum", (1.0,)), ("model", None)]
)
def test_the_fields_of_a_code_have_their_types(field: str, value: object) -> None:
    code = bincodec.Codec.load(str(TINY)).encode(IMAGE)
    with pytest.raises(TypeError, match=f"^{field} must be a"):
        dataclasses.replace(code, **{field: value})  # type: ignore[arg-type]


def test_cards_are_equal_and_have_a_hash() -> None:
    assert len({*bincodec.models(), *bincodec.models()}) == len(bincodec.models())
