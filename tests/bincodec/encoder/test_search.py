"""The encoder's search: it is never worse, longer searches start like shorter ones, and files are valid."""

import dataclasses
import gc
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data as photos

import bincodec
from bincodec import Codec, InvalidSetting, arguments, decoder
from bincodec.bitstream.container import Extra
from bincodec.bitstream.index import POST_FILTER
from bincodec.coding import passes
from bincodec.encoder import analysis, search
from bincodec.io import images
from bincodec.postfilter.filter import apply_filter, read_filter
from bincodec.postfilter.fit import fit_filter
from bincodec.windows import Window

MODELS = Path(__file__).resolve().parents[2] / "models"
LAMBDA_RANGE = (0.001, 0.05)


@pytest.fixture(scope="module")
def codec() -> Codec:
    """Return the tiny model with a card that has Lagrange multipliers."""
    plain = Codec.load(str(MODELS / "tiny-1.safetensors"))
    card = dataclasses.replace(
        plain.model.card, card={**plain.model.card.card, "lambda_range": list(LAMBDA_RANGE)}
    )
    return dataclasses.replace(plain, model=dataclasses.replace(plain.model, card=card))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(photos.chelsea()[100:170, 120:225])


def error_weight(codec: Codec, quality: int) -> float:
    """Return lambda 255^2 / 3: the bits that a squared error of 1, summed over pixels and colours, costs."""
    lowest, highest = codec.model.card.card["lambda_range"]
    return float(lowest * (highest / lowest) ** (quality / 100) * 255**2 / 3)


def cost(codec: Codec, picture: np.ndarray, quality: int, level: int) -> float:
    """Return lambda 255^2 MSE + bits, for the filtered picture before it is rounded to 8 bits."""
    code = codec.encode(picture, quality, effort=level)
    whole = Window(0, 0, *code.grid)
    decoded, _ = decoder.synthesise(decoder.Shown(codec.model, code, code.layers), whole)
    shown = apply_filter(decoded, read_filter(code.extras))
    original = picture if picture.ndim == 3 else picture[..., None]
    error = float(((shown - original / 255) ** 2).sum())
    extra = 8 * (len(codec.pack(code)) - len(codec.pack(dataclasses.replace(code, extras=()))))
    return float(codec.cost(code).sum()) + extra + error_weight(codec, quality) * error


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_more_effort_is_never_worse(codec: Codec, picture: np.ndarray, quality: int) -> None:
    costs = [cost(codec, picture, quality, level) for level in (0, 1, 2, 4)]
    assert all(later <= earlier * (1 + 1e-4) for earlier, later in itertools.pairwise(costs))


@pytest.mark.parametrize(
    ("rows", "columns", "quality"),
    [((80, 120), (106, 111), 18), ((42, 82), (149, 151), 43), ((235, 268), (137, 141), 56)],
)
def test_more_effort_is_never_worse_in_grey(
    rows: tuple[int, int], columns: tuple[int, int], quality: int
) -> None:
    """In a grey picture, the mean of the colours is shown and counts."""
    part = np.ascontiguousarray(photos.camera()[slice(*rows), slice(*columns)])
    costs = [cost(Codec.load("photo"), part, quality, level) for level in (0, 1, 2)]
    assert all(later <= earlier * (1 + 1e-4) for earlier, later in itertools.pairwise(costs))


def test_a_photo_gains_by_effort() -> None:
    """This uses the shipped model. The decoder of the tiny one is random, so nothing can be gained."""
    codec, part = Codec.load("photo"), np.ascontiguousarray(photos.chelsea()[60:220, 100:292])
    costs = [cost(codec, part, 75, level) for level in (0, 3)]
    assert costs[1] < 0.975 * costs[0]


@pytest.fixture(scope="module")
def photo() -> Codec:
    return Codec.load("photo")


def beginning(photo: Codec, quality: int) -> search._Picture:
    """Return a part of a photo with odd sides, as the encoder's network codes it."""
    part = np.ascontiguousarray(photos.chelsea()[60:157, 100:250])
    weight, model = error_weight(photo, quality), photo.model
    target = search.Target(analysis.padded(part, photo.device), 97, 150, quality, weight)
    with torch.no_grad():
        start = model.autoencoder.quantise(model.autoencoder.analyse(target.image, target.at))
    return search._Picture(model.autoencoder, model.prior, start, target)


def searched(photo: Codec, quality: int, *rounds: int) -> list[float]:
    """Return bits + lambda 255^2 MSE of that part after `rounds`."""
    start = beginning(photo, quality)
    networks, target = (start.autoencoder, start.prior), start.target
    found = [search.search(*networks, start.centred, target, count)[0] for count in rounds]
    return [search._Picture(*networks, levels, target).cost for levels in found]


@pytest.mark.parametrize(("quality", "share"), [(15, 0.995), (50, 0.985), (85, 0.98)])
def test_rounds_make_a_photo_s_levels_better(photo: Codec, quality: int, share: float) -> None:
    costs = searched(photo, quality, 0, 1, 3)
    assert costs[2] < costs[1] < share * costs[0]


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Return a list that receives the share and the least promise of each round from now on."""
    seen: list[tuple[float, float]] = []
    plain = search._SearchSource

    def source(
        picture: search._Picture,
        curvature: torch.Tensor,
        share: float,
        promise: float,
        rng: np.random.Generator,
    ) -> search._SearchSource:
        seen.append((share, promise))
        return plain(picture, curvature, share, promise, rng)

    monkeypatch.setattr(search, "_SearchSource", source)
    return seen


def test_rounds_that_go_wrong_are_undone(photo: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_CURVATURE_FACTOR", 0.0)
    monkeypatch.setattr(search, "_LEAST_PROMISE", -50.0)
    monkeypatch.setattr(search, "_SIEVES", 0)
    seen = watched(monkeypatch)
    costs = searched(photo, 50, 0, 3)
    assert costs[0] == costs[1]
    assert seen == [(1.0, -50.0), (0.5, -50.0), (0.25, -50.0)]


def test_where_no_move_promises_enough_less_is_asked_for(
    photo: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_LEAST_PROMISE", 2000.0)
    seen = watched(monkeypatch)
    costs = searched(photo, 50, 0, 3, 10)
    assert costs[0] == costs[1] > costs[2]
    assert seen[:5] == [(1.0, 2000.0), (1.0, 1000.0), (1.0, 500.0), (1.0, 2000.0), (1.0, 1000.0)]


def test_small_pictures_gain_too(photo: Codec) -> None:
    """Their moves are worth little. So after a while, moves that promise less are tried too."""
    part = np.ascontiguousarray(photos.chelsea()[100:117, 100:133])
    costs = [cost(photo, part, 25, level) for level in (0, 5)]
    assert costs[1] < 0.95 * costs[0]


def tried(start: search._Picture) -> search._SearchSource:
    """Return the source of the first round of a search, with the moves that it tries."""
    rng, layers = np.random.default_rng(0), start.prior.architecture.layers
    source = search._SearchSource(start, search._curvature(start, rng), 1.0, search._LEAST_PROMISE, rng)
    passes.run(start.prior, start.target.quality, source.bits.shape, layers, source)
    return source


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_the_effects_of_moves_add_up(photo: Codec, quality: int) -> None:
    """The mean of the gradients before and after moves tells what all of them do together."""
    start = beginning(photo, quality)
    source = tried(start)
    moves = search._kept(start, source.moves, search._bits_of_moves(start, source))
    moved = start.moved(moves)
    before, after = (float(one.errors.detach().square().sum()) for one in (start, moved))
    effects = (start.gradient + moved.gradient) / 2 * moves
    assert float(effects.sum()) == pytest.approx(after - before, rel=0.12)
    # The gradient at the beginning alone promises far more than there is.
    assert float((start.gradient * moves).sum()) < 4 * (after - before) < 0


def test_the_bits_of_moves_add_up(photo: Codec) -> None:
    start = beginning(photo, 60)
    source = tried(start)
    moves, bits = source.moves, search._bits_of_moves(start, source)
    added = torch.where(moves != 0, bits, 0.0).sum(0).numpy()
    anywhere = (moves != 0).any(0).numpy()
    assert anywhere.mean() > 0.7
    assert added[anywhere] == pytest.approx((start.moved(moves).bits - start.bits)[anywhere], abs=1e-3)


def test_a_move_of_the_last_pass_adds_its_own_bits(photo: Codec) -> None:
    """It changes no other level's context."""
    start = beginning(photo, 100)
    source, last = tried(start), start.prior.architecture.layer_channels[-1]
    assert start.prior.architecture.layer_phases[-1] == 1
    earlier = source.moves.clone()
    earlier[-last:] = 0
    changed = start.moved(source.moves).bits - start.moved(earlier).bits
    own = torch.where(source.moves != 0, source.added, 0.0)[-last:].sum(0).numpy()
    assert (own != 0).any()
    assert own == pytest.approx(changed, abs=0.05)


def test_moves_that_are_not_worth_their_bits_are_taken_back(photo: Codec) -> None:
    start = beginning(photo, 60)
    source = tried(start)
    moves, bits = source.moves, search._bits_of_moves(start, source)
    kept = search._kept(start, moves, bits)
    stay = kept != 0
    assert torch.equal(kept[stay], moves[stay])
    assert 0.1 < float(stay.sum() / (moves != 0).sum()) < 0.9
    costs = [start.moved(made).cost for made in (moves, kept)]
    assert costs[1] < 0.985 * start.cost < costs[0]
    assert not search._kept(start, moves, torch.full_like(bits, 1e9)).any()


def test_no_effort_is_the_encoder_alone(codec: Codec, picture: np.ndarray) -> None:
    plain = Codec.load(str(MODELS / "tiny-1.safetensors"))
    assert codec.encode(picture, 50, effort=0).digest() == plain.encode(picture, 50).digest()


def test_the_same_image_gives_the_same_file(codec: Codec, picture: np.ndarray) -> None:
    first = codec.pack(codec.encode(picture, 60, effort=2), verify=True)
    assert codec.pack(codec.encode(picture, 60, effort=2)) == first
    assert codec.decode(codec.unpack(first)).size == (105, 70)


def test_a_search_leaves_nothing_in_memory(codec: Codec, picture: np.ndarray) -> None:
    """The graphs of the decoder, which the search differentiates, must not outlive it."""

    def tensors() -> int:
        gc.collect()
        return sum(type(found) is torch.Tensor for found in gc.get_objects())

    codec.encode(picture, 50, effort=1)
    before = tensors()
    codec.encode(picture, 50, effort=3)
    assert tensors() == before


def test_curvature_is_that_of_the_decoder(codec: Codec, picture: np.ndarray) -> None:
    """Moving one channel at every other position by half a level adds about h d^2."""
    image = analysis.padded(picture[:64, :96], codec.device)
    target = search.Target(image, 64, 96, 50, 1.0)
    autoencoder = codec.model.autoencoder
    centred = autoencoder.quantise(autoencoder.analyse(image, target.at))
    start = search._Picture(autoencoder, codec.model.prior, centred, target)
    found = search._curvature(start, np.random.default_rng(0))
    channel = int(found.argmax())
    moved = centred.clone()
    moved[:, channel, ::3, ::3] += 0.5
    with torch.no_grad():
        difference = autoencoder.synthesise(moved, target.at) - autoencoder.synthesise(centred, target.at)
    count = moved[0, channel, ::3, ::3].numel()
    expected = float(difference.square().sum()) / count / 0.25
    assert 0.5 < float(found[channel]) / expected < 2


def test_a_model_that_does_not_say_its_multipliers_is_refused(picture: np.ndarray) -> None:
    plain = Codec.load(str(MODELS / "tiny-1.safetensors"))
    with pytest.raises(InvalidSetting, match="Lagrange"):
        plain.encode(picture, 50, effort=1)


@pytest.mark.parametrize("level", [-1, 10])
def test_efforts_that_do_not_exist(level: int, picture: np.ndarray) -> None:
    with pytest.raises(InvalidSetting, match=r"effort .* is not an integer in 0\.\.9"):
        bincodec.compress(picture, effort=level)


@pytest.mark.parametrize("level", [1.5, True, "3"])
def test_efforts_that_are_no_integers(level: object, picture: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"effort must be an integer in 0\.\.9, not"):
        bincodec.compress(picture, effort=level)


def test_rounds_rise_with_effort() -> None:
    assert list(arguments.SEARCH_ROUNDS) == sorted(set(arguments.SEARCH_ROUNDS))


@pytest.mark.parametrize("quality", [30, 70])
def test_tiles_are_searched_one_by_one(photo: Codec, quality: int) -> None:
    """Each of two tiles changes, and the whole picture, including the seam, costs less than before."""
    part = np.ascontiguousarray(photos.chelsea()[40:168, :400])
    picture = images.load(part)
    codes = [analysis.encode(photo.model, picture, quality, rounds, tile_side=16) for rounds in (0, 2)]
    assert len(codes[0].tiles) == 2
    for tile in codes[0].tiles:
        first, second = (code.levels_of(tile) for code in codes)
        assert any((one != two).any() for one, two in zip(first, second, strict=True))
    costs = []
    for code in codes:
        error = float(((np.asarray(photo.decode(code)) / 255 - part / 255) ** 2).sum())
        costs.append(8 * len(photo.pack(code)) + error_weight(photo, quality) * error)
    assert costs[1] < 0.995 * costs[0]


def test_a_searched_tile_leaves_all_others_alone(photo: Codec) -> None:
    part = np.ascontiguousarray(photos.chelsea()[40:168, :400])
    code = analysis.encode(photo.model, images.load(part), 50, 0, tile_side=16)
    left, right = code.tiles
    before = [levels.copy() for levels in code.levels_of(right)]
    weight = analysis.error_weight(photo.model.card, 50)
    assert weight is not None
    analysis._search_tile(photo.model, code, left, part, weight, 1)
    assert all(np.array_equal(one, two) for one, two in zip(before, code.levels_of(right), strict=True))


@pytest.mark.parametrize("multipliers", [(0.0, 1.0), (-1.0, 1.0), (0.2, 0.1), ("a", 1), (1.0,), None])
def test_multipliers_that_make_no_sense_are_refused(
    codec: Codec, picture: np.ndarray, multipliers: object
) -> None:
    card = dataclasses.replace(codec.model.card, card={"lambda_range": multipliers})
    odd = dataclasses.replace(codec, model=dataclasses.replace(codec.model, card=card))
    with pytest.raises(InvalidSetting, match="Lagrange"):
        odd.encode(picture, 50, effort=1)


def test_the_search_leaves_to_the_post_filter_what_it_will_filter() -> None:
    original = photos.astronaut()[:60, 100:190]
    image = analysis.padded(original, "cpu")
    shown = 0.8 * image + 0.15
    added, chunks = analysis._fit(original, 65025.0, shown)
    before, after = ((image - one)[..., :60, :90].square().mean() for one in (shown, shown + added))
    assert float(after) < 0.01 * float(before)
    (chunk,) = fit_filter(original, shown[0, :, :60, :90].permute(1, 2, 0).numpy(), 65025.0)
    assert chunks == (chunk,)
    nothing, chunks = analysis._fit(original, 65025.0, image)
    assert torch.equal(nothing, torch.zeros_like(image))
    assert chunks == ()


def test_the_post_filter_is_fitted_anew_as_levels_move(photo: Codec, picture: np.ndarray) -> None:
    calls: list[torch.Tensor] = []

    def fit(shown: torch.Tensor) -> search.Fitted:
        calls.append(shown)
        return torch.full_like(shown, 0.01 * len(calls)), (Extra(POST_FILTER, bytes(len(calls))),)

    model = photo.model
    target = search.Target(analysis.padded(picture, "cpu"), 70, 105, 50, 50.0, fit)
    with torch.no_grad():
        start = model.autoencoder.quantise(model.autoencoder.analyse(target.image, target.at))
    search.search(model.autoencoder, model.prior, start, target, 2)
    assert len(calls) == 3
    first = search._Picture(model.autoencoder, model.prior, start, target)
    assert first.filter_chunks == (Extra(POST_FILTER, bytes(4)),)
    assert float(first.fitted[0].mean()) == pytest.approx(0.04)
    expected = target.errors(model.autoencoder.synthesise(start, target.at) + 0.04)
    assert torch.allclose(first.errors, expected, atol=1e-6)


def test_a_post_filter_too_dear_is_no_gain(photo: Codec, picture: np.ndarray) -> None:
    """A round is undone if its picture needs a post-filter that costs more than the round saves."""
    model = photo.model
    dear = (Extra(POST_FILTER, bytes(10**8)),)
    chunks = iter([(), dear, dear])
    target = search.Target(
        analysis.padded(picture, "cpu"), 70, 105, 50, 50.0, lambda p: (torch.zeros_like(p), next(chunks))
    )
    with torch.no_grad():
        start = model.autoencoder.quantise(model.autoencoder.analyse(target.image, target.at))
    levels, kept = search.search(model.autoencoder, model.prior, start, target, 2)
    assert torch.equal(levels, start)
    assert kept == ()
