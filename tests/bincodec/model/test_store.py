"""Which model is found by a name, a family, a path and a fingerprint."""

import os
from pathlib import Path

import pytest

from bincodec import DamagedModel, UnknownModel, models
from bincodec.model import store, weights
from bincodec.model.card import ModelCard, read_card

TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-1.safetensors"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write models of one family, out of order, beside a file that is not a model."""
    tiny = weights.load(read_card(TINY))
    state, network = tiny.autoencoder.state_dict(), tiny.prior.network
    for number in (2, 10, 9):
        path = tmp_path / f"tiny-{number}.safetensors"
        weights.save(path, f"tiny-{number}", tiny.card.architecture, state, network, {"number": number})
    (tmp_path / "another.safetensors").write_bytes(b"nothing")
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def tinies(cards: tuple[ModelCard, ...]) -> list[str]:
    return [card.name for card in cards if card.name.startswith("tiny")]


def test_a_family_means_its_newest_model(folder: Path) -> None:
    assert store.find("tiny").name == "tiny-10"
    assert tinies(store.available()) == ["tiny-2", "tiny-9", "tiny-10"]
    assert models() == store.available()


def test_a_name_and_a_path_mean_that_model(folder: Path) -> None:
    assert store.find("tiny-9").name == "tiny-9"
    assert store.find(str(folder / "tiny-2.safetensors")).card == {"number": 2}


def test_what_is_not_installed_is_unknown(folder: Path) -> None:
    for name in ("tiny-3", "photos", "", str(folder / "tiny-3.safetensors")):
        with pytest.raises(UnknownModel):
            store.find(name)
    with pytest.raises(UnknownModel, match="0102030405060708, which is not installed; installed are: "):
        store.find_for(bytes(range(1, 9)))
    with pytest.raises(DamagedModel):
        store.find(str(folder / "another.safetensors"))


def test_a_model_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = str(folder / "tiny-9.safetensors")
    monkeypatch.setattr(store.os, "access", lambda path, _: str(path) != hidden)
    for call in (lambda: store.find("tiny-3"), lambda: store.find_for(bytes(8))):
        with pytest.raises(UnknownModel, match=f"; no permission to read {hidden}$"):
            call()


@pytest.mark.skipif(os.name == "nt", reason="there is no umask")
def test_a_model_file_may_be_read_by_whom_the_umask_lets(folder: Path) -> None:
    path = folder / "tiny-9.safetensors"
    (folder / "plain").touch()
    assert path.stat().st_mode == (folder / "plain").stat().st_mode


def test_the_model_of_a_file_is_found_unless_another_is_named(folder: Path) -> None:
    card = read_card(folder / "tiny-9.safetensors")
    assert store.find_for(card.fingerprint).fingerprint == card.fingerprint
    assert store.find_for(bytes(8), "tiny-9").name == "tiny-9"
    with pytest.raises(UnknownModel):
        store.find_for(card.fingerprint, "tiny-8")
