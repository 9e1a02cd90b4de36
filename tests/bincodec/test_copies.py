"""Codecs that are copied or pickled, and what remains in memory after a call."""

import copy
import dataclasses
import gc
import pickle
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bincodec import Codec, InvalidSetting, UnknownModel
from bincodec.model.products import ShiftedProducts

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture
def own(tmp_path: Path) -> Codec:
    """Return a codec whose file no other test uses."""
    shutil.copy(TINY, tmp_path / "own.safetensors")
    return Codec.load(str(tmp_path / "own.safetensors"), kernel="matmul")


def test_a_pickle_opens_the_same_model_again(own: Codec) -> None:
    pickled = pickle.dumps(own)
    assert len(pickled) < 10_000
    found = pickle.loads(pickled)
    assert (found.model.card, found.device) == (own.model.card, own.device)
    assert found.model.prior.kernel == found.model.prior.asked_for == "matmul"
    assert found.pack(found.encode(PIXELS)) == own.pack(own.encode(PIXELS))


def test_a_pickle_names_a_device_that_this_machine_lacks(own: Codec) -> None:
    opened_again, (kind, card, _, kernel) = own.__reduce__()[:2]  # type: ignore[misc]
    with pytest.raises(InvalidSetting, match="device 'cuda:99'"):
        opened_again(kind, card, "cuda:99", kernel)


def test_a_copy_is_the_codec_itself_which_never_changes(own: Codec) -> None:
    assert copy.copy(own) is own
    assert copy.deepcopy([own])[0] is own


def test_a_pickle_stays_valid_when_the_model_lies_elsewhere(
    own: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = pickle.dumps(own)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(own.model.card.path, tmp_path / "elsewhere")
    monkeypatch.setenv("BINCODEC_MODELS", str(tmp_path / "elsewhere"))
    assert pickle.loads(pickled).model.card.fingerprint == own.model.card.fingerprint


@pytest.mark.parametrize("what", ["gone", "no model", "another model", "other pixels"])
def test_a_pickle_never_becomes_another_model(own: Codec, what: str, bits_model: Path) -> None:
    path = own.model.card.path
    if what == "other pixels":
        card = dataclasses.replace(own.model.card, encoder_digest="0" * 64)
        own = Codec(dataclasses.replace(own.model, card=card))
    pickled = pickle.dumps(own)
    if what == "gone":
        path.unlink()
    elif what == "no model":
        path.write_bytes(b"nothing")
    elif what == "another model":
        shutil.copy(bits_model, path)
    with pytest.raises(UnknownModel, match=r"tiny-1 .* now holds another model"):
        pickle.loads(pickled)


def test_a_codec_in_a_pickle_with_other_things(own: Codec) -> None:
    first, second = pickle.loads(pickle.dumps((own, own)))
    assert first is second


# --- what remains -----------------------------------------------------------------------------------------


class Counted:
    """`ShiftedProducts.stem`, which also records its inputs and which of its results are still in memory."""

    def __init__(self) -> None:
        self.honest = ShiftedProducts.stem
        self.channels: list[int] = []
        self.results: list[weakref.ref[Tensor]] = []

    def stem(self, products: ShiftedProducts, context: Tensor, weight: Tensor) -> Tensor:
        result = self.honest(products, context, weight)
        self.channels.append(context.shape[-1])
        self.results.append(weakref.ref(result))
        return result


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    watch = Counted()
    monkeypatch.setattr(
        ShiftedProducts, "stem", lambda products, context, weight: watch.stem(products, context, weight)
    )
    return watch


def test_no_sums_outlive_a_call(own: Codec, counted: Counted) -> None:
    code = own.encode(PIXELS)
    own.unpack(own.pack(code, verify=True))
    own.cost(code)
    own.decode(code, 1)
    own.sample(1, (48, 32), sampler="diffusion", steps=2)
    own.complete(code, 1)
    gc.collect()
    assert counted.results
    assert not any(result() is not None for result in counted.results)


def test_verification_starts_from_nothing(own: Codec, counted: Counted) -> None:
    """Verification unpacks a new file. It repeats the encoder's work and shares none of its sums."""
    code = own.encode(PIXELS)
    own.pack(code)
    once = counted.channels.copy()
    counted.channels.clear()
    own.pack(code, verify=True)
    whole = own.model.card.architecture.channels + own.model.card.architecture.layers
    assert once[0] == whole
    assert counted.channels == once + once


def test_guidance_asks_twice_and_sums_once(bits_model: Path, counted: Counted) -> None:
    codec = Codec.load(str(bits_model), kernel="matmul")
    counted.channels.clear()
    codec.sample(1, (48, 32), sampler="diffusion", steps=2, label="cat")
    plain = counted.channels.copy()
    counted.channels.clear()
    codec.sample(1, (48, 32), sampler="diffusion", steps=2, label="cat", guidance=2.0)
    assert counted.channels == plain
    assert torch.is_grad_enabled()
