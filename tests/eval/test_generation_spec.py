"""Specs of drawn sets, and how pictures are divided among classes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.errors import InvalidSetting
from bincodec.eval.generation_spec import Setting, apportion, parse


def settings_of(text: str) -> list[Setting]:
    return parse(text, model="photo", quality=50)


def test_an_empty_spec_is_the_usual() -> None:
    assert settings_of("") == [Setting("default", "photo", 50)]
    assert settings_of("")[0].how() == {"seed": 0}


def test_lists_are_combined() -> None:
    found = settings_of("steps=4,8:sampler=diffusion,autoregressive:temperature=0.6")
    assert [setting.label for setting in found] == [
        "sampler=diffusion:steps=4:temperature=0.6",
        "sampler=autoregressive:steps=4:temperature=0.6",
        "sampler=diffusion:steps=8:temperature=0.6",
        "sampler=autoregressive:steps=8:temperature=0.6",
    ]
    assert found[1].how() == {"sampler": "autoregressive", "steps": 4, "temperature": 0.6, "seed": 0}


def test_every_option_is_read() -> None:
    (found,) = settings_of(
        r"model=C:\models\a.safetensors:classes=real:guidance=2:guided_by=class:guidance_delay=0.1:renewal=0.5:final_temperature=0.6:schedule=cosine:seed=7:quality=3"
    )
    assert (found.model, found.quality, found.classes, found.seed) == (
        r"C:\models\a.safetensors",
        3,
        "real",
        7,
    )
    how = {"guidance": 2.0, "guided_by": "class", "guidance_delay": 0.1, "renewal": 0.5}
    assert found.how("hat", 2) == how | {
        "final_temperature": 0.6,
        "schedule": "cosine",
        "label": "hat",
        "seed": 7 + 2**33,
    }
    assert settings_of("seed=18446744073709551615")[0].how(None, 1)["seed"] == 2**32 - 1


def test_classes_are_the_real_ones_or_one_or_none() -> None:
    labels = ["shoe", "hat", "shoe"]
    assert settings_of("classes=real")[0].names(labels) == ["hat", "shoe"]
    assert settings_of("classes=hat")[0].names(labels) == ["hat"]
    assert settings_of("classes=none")[0].names(labels) == settings_of("")[0].names(labels) == [None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speed=4", "'speed' is no setting; there are sampler, steps, "),
        ("noise", "'noise' is no setting"),
        ("steps", "'steps' is no setting; there are .*each with =value"),
        ("steps=4:steps=8", "steps is given twice"),
        ("steps=four", "steps='four' is not an integer"),
        ("steps=4,", "steps='' is not an integer"),
        ("guidance=x", "guidance='x' is not a number"),
        ("sampler=", "sampler='' is not a word"),
        ("sampler=magic", "sampler=magic: sampler 'magic' is not one of"),
        ("steps=0", "steps 0 is not an integer in 1..1000"),
        ("temperature=nan", "temperature nan is not a number in 0..10"),
        ("seed=-1", "seed -1 is not an integer"),
        ("quality=101", "quality 101 is not an integer in 0..100"),
        ("schedule=steep", "schedule 'steep' is not one of"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        settings_of(text)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=60), st.integers(1, 200))
def test_shares_are_the_labels_own(labels: list[str], count: int) -> None:
    found = apportion(labels, count)
    assert sum(found.values()) == count
    assert set(found) == set(labels)
    for name, share in found.items():
        assert abs(share - count * labels.count(name) / len(labels)) < 1
