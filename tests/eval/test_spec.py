"""Specs of codecs: options, spellings, labels, and the errors of invalid ones."""

import pickle

import pytest

from bincodec.eval.errors import UnknownCodec
from bincodec.eval.peers import read_spec
from bincodec.eval.spec import Option, parse

KNOWN = {
    "one": (Option("size", "small", ("small", "large")), Option("file", "none")),
    "two": (),
}


def test_defaults_are_filled_in_and_not_shown() -> None:
    spec = parse("one", KNOWN)
    assert (spec.codec, spec.label, spec.settings) == ("one", "one", ())
    assert spec.values == {"size": "small", "file": "none"}
    assert parse("one:size=small", KNOWN) == spec


def test_the_label_has_what_is_not_as_usual_in_one_order() -> None:
    spec = parse("one:file=a.bin:size=large", KNOWN)
    assert spec.label == "one:size=large:file=a.bin"
    assert parse(spec.label, KNOWN) == spec


def test_usual_values_replace_defaults() -> None:
    spec = parse("one", KNOWN, {"one": {"file": "b.bin"}})
    assert spec.label == "one"
    assert spec.values["file"] == "b.bin"
    assert parse("one:file=none", KNOWN, {"one": {"file": "b.bin"}}).label == "one:file=none"


def test_colons_may_stand_in_a_value() -> None:
    spec = read_spec("jpeg:subsampling=4:4:4:settings=9,5")
    assert spec == read_spec("jpeg:subsampling=444:settings=5,9")
    assert spec.label == "jpeg:subsampling=444"
    assert read_spec("jpeg:subsampling=4:2:0").label == "jpeg"
    assert read_spec(r"bincodec:model=C:\models\a.safetensors").values["model"] == r"C:\models\a.safetensors"


def test_settings_are_no_part_of_the_label() -> None:
    assert parse("two:settings=30,10,30", KNOWN).settings == (10, 30)
    assert parse("two:settings=30", KNOWN).label == "two"


def test_specs_travel_between_processes() -> None:
    spec = read_spec("avif:tune=psnr")
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    assert hash(copy) == hash(spec)
    assert copy.values == spec.values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("three", "no codec is called 'three'; there are one, two"),
        ("", "no codec is called ''"),
        ("three:fast", "no codec is called 'three:fast'"),
        ("one:fast", "one:fast: option fast needs =value"),
        ("one:fast:size=small", "one:fast:size=small: option fast needs =value"),
        ("one:Size=small", "one:Size=small: 'Size' is no option"),
        ("one:size=small:size=large", "one:size=small:size=large: option size is given twice"),
        ("two:settings=1:settings=2", "option settings is given twice"),
        ("one:colour=red", "one:colour=red: one has no option 'colour'; there are size, file, settings"),
        ("two:size=small", "two has no option 'size'; there are settings"),
        ("one:size=huge", "one:size=huge: size='huge': it must be one of small, large"),
        ("one:file=", "file='': it must be no empty text"),
        ("two:settings=10,x", r"two:settings=10,x: settings='10,x' is not a list of integers"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(UnknownCodec) as found:
        parse(text, KNOWN)
    assert message in str(found.value)
