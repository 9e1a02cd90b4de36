"""Parts of the second decoder are compared with those of `bincodec`, where golden files do not reach.

These are extreme probabilities, saturated networks, all features of post-filters, prefixes, and models of
other shapes. Both decoders compute the values now, each with its own code.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec import Codec
from bincodec.bitstream.coder import BitEncoder
from bincodec.bitstream.levels import encode_levels
from bincodec.bitstream.raw import pack_raw
from bincodec.model import weights
from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.card import read_card
from bincodec.model.integer import Block, IntegerNetwork, Layer
from bincodec.model.kernels import IntegerPrior
from bincodec.postfilter.filter import PostFilter
from bincodec.postfilter.filter import apply_filter as their_filter

from . import integer_network, post_filter
from .decode import decode, picture_of
from .errors import Refused
from .levels import CodedLevels
from .model_file import Model, read_model
from .probability import Tables
from .range_decoder import RangeDecoder
from .raw import RawLevels

TESTS = Path(__file__).resolve().parents[1]
TINY = TESTS / "models" / "tiny-1.safetensors"
WEIGHTS = TESTS.parent / "bincodec" / "weights"
PHOTO = TESTS.parent / "examples" / "chelsea.png"


def random_model(path: Path, architecture: Architecture, seed: int) -> Path:
    """Write a model file with a random autoencoder and random integers, with some shifts below zero."""
    random = np.random.default_rng(seed)
    a = architecture
    inputs, width = a.channels + a.layers, a.prior_width

    def layer(*shape: int, shift: int, rows: int = 0) -> Layer:
        weight = random.integers(-9, 10, shape)
        bias = random.integers(-300, 301, (rows, shape[0]) if rows else shape[0])
        return Layer(*map(torch.from_numpy, (weight, bias, random.integers(shift - 2, shift + 3, shape[0]))))

    blocks = tuple(
        Block(
            int(random.integers(-1, 2)),
            layer(width, 1, 5, 5, shift=1),
            layer(2 * width, width, shift=2),
            layer(width, 2 * width, shift=1),
        )
        for _ in range(a.prior_blocks)
    )
    classes = None
    if a.classes:
        tables = (random.integers(-99, 100, (a.classes + 1, size)) for size in (width, 2 * a.channels))
        stem, head = (torch.from_numpy(table * (np.arange(len(table)) > 0)[:, None]) for table in tables)
        classes = stem, head
    network = IntegerNetwork(
        layer(width, inputs, 3, 3, shift=1, rows=101),
        blocks,
        1,
        layer(2 * a.channels, width, shift=8, rows=101),
        classes,
        activation_limit=700,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = Autoencoder(a).state_dict()
        moved = {name: value + 0.02 * torch.randn(value.shape) for name, value in state.items()}
    weights.save(path, "random-1", a, moved, network, {})
    return path


SHAPES = {
    "one of each": Architecture((3,), (5,), (1,), width_8=8, width_16=4, prior_width=16, prior_blocks=1),
    "shortcut": Architecture((2, 9), (254, 1), (2, 4), width_8=8, width_16=4, prior_width=8, prior_blocks=2),
    "bits": Architecture(
        (2, 5), (1, 1), (4, 2), "logistic", width_8=8, width_16=12, prior_width=16, prior_blocks=2, classes=3
    ),
}


@pytest.fixture(scope="module", params=SHAPES)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random model of another shape."""
    shape = dataclasses.replace(SHAPES[request.param], blocks_8=2, blocks_16=1)
    return random_model(tmp_path_factory.mktemp("random") / "random-1.safetensors", shape, 3)


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 300, 32768, 65000, 65534, 65535]), st.booleans()), max_size=300)
)
def test_bits_are_what_was_coded(decisions: list[tuple[int, bool]]) -> None:
    numerators, bits = (np.array([pair[i] for pair in decisions], np.int64) for i in (0, 1))
    encoder = BitEncoder()
    encoder.put(bits.astype(np.uint8), numerators)
    decoder = RangeDecoder(encoder.finish())
    assert decoder.bits(numerators.tolist()) == bits.tolist()
    decoder.check_end()


@given(st.lists(st.integers(1, 65535), min_size=1, max_size=60), st.binary(max_size=40))
def test_a_payload_ends_properly_only_if_an_encoder_writes_it(numerators: list[int], payload: bytes) -> None:
    decoder = RangeDecoder(payload)
    try:
        bits = decoder.bits(numerators)
        decoder.check_end()
        accepted = True
    except Refused:
        accepted = False
    if accepted:
        encoder = BitEncoder()
        encoder.put(np.array(bits, np.uint8), np.array(numerators))
        assert encoder.finish() == payload


@given(
    st.sampled_from([1, 2, 3, 6, 30, 126, 255]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 100, 2**13]),
)
def test_levels_are_what_was_coded(tables: Tables, maximum: int, seed: int, spread: int) -> None:
    encoder, passes, random = BitEncoder(), [], np.random.default_rng(seed)
    for _ in range(3):
        shape = tuple(random.integers(0, 6, 2))
        levels = random.integers(0, maximum + 1, shape).astype(np.uint8)
        mu, scale = random.integers(-spread, spread + 1, shape), random.integers(0, 64, shape)
        encode_levels(encoder, levels, mu, scale, maximum)
        passes.append((levels, mu, scale))
    payload, stored = encoder.finish(), pack_raw([(levels, maximum) for levels, _, _ in passes])
    coded, raw = CodedLevels(payload, tables), RawLevels(stored, tables)
    for levels, mu, scale in passes:
        assert np.array_equal(coded.read(mu, scale, maximum), levels)
        assert np.array_equal(raw.read(mu, scale, maximum), levels)
    coded.check_end()
    if len(payload) < len(stored):
        with pytest.raises(Refused, match=f"which coded would take {len(payload)}$"):
            raw.check_end()
    else:
        raw.check_end()


@pytest.mark.parametrize(
    ("total", "shift", "expected"),
    [(3, 1, 2), (-3, 1, -1), (-4, 1, -2), (6, 2, 2), (5, 2, 1), (-6, 2, -1), (7, 0, 7), (-7, -2, -28)],
)
def test_rescaling_rounds_halves_upwards(total: int, shift: int, expected: int) -> None:
    assert integer_network.rescale(np.array(total), shift, -100, 100) == expected


def check_predictions(path: Path, grid: tuple[int, int]) -> None:
    """Compare all locations and scales, for extreme levels at some positions and nothing at others."""
    model, random = read_model(path.read_bytes()), np.random.default_rng(0)
    network, a = integer_network.integer_network(model), model.architecture
    card = read_card(path)
    prior = IntegerPrior(card.architecture, weights.load(card).prior.network, kernel="int64")
    for share in (0, 0.5, 1):
        context = integer_network.empty_context(a, grid)
        for layer, top in enumerate(a.maximum_level):
            positions = random.random(grid) < share
            levels = top * random.integers(0, 2, (a.layer_channels[layer], positions.sum()))
            context = integer_network.with_known(a, context, layer, positions, levels)
        for layer in range(a.layers):
            quality = int(random.integers(0, 101))
            everywhere = torch.arange(grid[0] * grid[1])
            expected = prior.predict(torch.from_numpy(context), quality, layer, everywhere)
            found = integer_network.predict(network, context, quality, layer)
            for one, other in zip(found, expected, strict=True):
                assert np.array_equal(one.reshape(len(one), -1), other.numpy())


@pytest.mark.parametrize("grid", [(1, 1), (2, 5), (6, 3)])
def test_random_networks_predict_the_same(path: Path, grid: tuple[int, int]) -> None:
    check_predictions(path, grid)


@pytest.mark.parametrize("shipped", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_networks_predict_the_same(shipped: Path) -> None:
    check_predictions(shipped, (4, 5))


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1), st.integers(0, 56))
def test_post_filters_add_the_same(height: int, width: int, seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    chosen = tuple(sorted(random.choice(56, count, replace=False).tolist()))
    offsets, steps = random.integers(-999, 1000, 3), int(random.integers(8, 16))
    values = random.integers(-300, 301, (3, count))
    theirs = PostFilter(offsets, chosen, values, steps)
    colours = random.uniform(-0.2, 1.2, (height, width, 3)).astype(np.float32)
    ours = post_filter.read_post_filter(theirs.payload())
    found = post_filter.apply_post_filter(colours.astype(np.float64), ours)
    np.testing.assert_allclose(found, their_filter(colours, theirs), atol=2e-4)


@pytest.mark.parametrize("feature", range(56))
def test_each_feature_is_the_same(feature: int) -> None:
    random = np.random.default_rng(feature)
    theirs = PostFilter(np.zeros(3, np.int64), (feature,), np.array([[1], [2], [-3]]), 0)
    colours = random.uniform(0, 1, (12, 23, 3)).astype(np.float32)
    found = post_filter.apply_post_filter(
        colours.astype(np.float64), post_filter.read_post_filter(theirs.payload())
    )
    # A slope divides by a variance that float32 represents to about 1e-7.
    np.testing.assert_allclose(found, their_filter(colours, theirs), atol=1e-3 if feature == 53 else 2e-5)


@pytest.mark.parametrize(
    "payload",
    [
        bytes(12),
        bytes(14),
        bytes(6) + b"\1" + bytes(6),
        bytes(6) + b"\1" + bytes(6) + b"\0",
        bytes(6) + b"\1" + bytes(6) + b"\0\0\0",
        bytes(6) + b"\1" + bytes(6) + b"\0\1",
        bytes(6) + b"\1" + bytes(6) + b"\0\xff",
    ],
)
def test_a_post_filter_that_cannot_be_read_is_refused(payload: bytes) -> None:
    with pytest.raises(Refused, match="corrupt"):
        post_filter.read_post_filter(payload)


def check_file(codec: Codec, model: Model, tables: Tables, pixels: np.ndarray, quality: int) -> None:
    """A new file has the same levels in both decoders, and the picture of each prefix is the same."""
    code = dataclasses.replace(codec.encode(pixels, quality, effort=0), tile_side=16)
    found = decode(model, tables, codec.pack(code))
    assert found.digest() == code.digest()
    for layers in range(1, code.layers + 1):
        size = code.width, code.height
        ours = picture_of(model, found.levels[:layers], quality, size, grey=code.grey)
        bare = dataclasses.replace(code, extras=())
        theirs = np.atleast_3d(np.asarray(codec.decode(bare, layers)))
        assert np.abs(ours.astype(int) - theirs).max() <= 1
    theirs = np.atleast_3d(np.asarray(codec.decode(code)))
    assert np.abs(found.pixels.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("quality", [0, 1, 14, 15, 57, 99, 100])
def test_files_of_random_models(path: Path, tables: Tables, quality: int) -> None:
    pixels = np.random.default_rng(quality).integers(0, 256, (37, 50, 3), np.uint8)
    check_file(Codec.load(str(path)), read_model(path.read_bytes()), tables, pixels, quality)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 16), (33, 20)])
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_files_of_all_shapes(size: tuple[int, int], grey: bool, tables: Tables) -> None:
    shape = size if grey else (*size, 3)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    check_file(Codec.load(str(TINY)), read_model(TINY.read_bytes()), tables, pixels, 70)


@pytest.mark.parametrize("size", [(20, 280), (290, 257)])
def test_files_of_several_tiles(size: tuple[int, int], path: Path, tables: Tables) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    check_file(Codec.load(str(path)), read_model(path.read_bytes()), tables, pixels, 70)


def test_a_whole_photo(tables: Tables) -> None:
    codec = Codec.load("photo")
    data = codec.compress(PHOTO, 50, effort=0, verify=False)
    found = decode(read_model(codec.model.card.path.read_bytes()), tables, data)
    assert found.digest() == codec.unpack(data).digest()
    assert np.abs(found.pixels.astype(int) - np.asarray(codec.decompress(data))).max() <= 1


def test_prefixes_of_a_shipped_model(tables: Tables) -> None:
    codec = Codec.load("photo")
    pixels = np.random.default_rng(2).integers(0, 256, (3, 4, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    check_file(codec, read_model(codec.model.card.path.read_bytes()), tables, pixels, 60)
