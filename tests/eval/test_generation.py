"""The study with a network that needs no download: rows, floors, classes, memorisation, interruption."""

import csv
import dataclasses
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from bincodec import Codec
from bincodec.errors import InvalidSetting
from bincodec.eval import generation_report, sampled_sets
from bincodec.eval.errors import NameTaken
from bincodec.eval.features import FeatureNetwork
from bincodec.eval.generation import HELD_OUT, GenerationPlan, check, run
from bincodec.eval.generation_spec import Setting, parse
from bincodec.eval.metrics import psnr
from bincodec.eval.picture_sets import PictureSet
from bincodec.eval.set_distances import TooFew, frechet_distance, kernel_distance
from bincodec.generation.settings import SamplingSettings
from bincodec.model import weights
from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.prior import Prior
from bincodec.train.quantise import QuantisedPrior, RangeRecorder

NETWORK = FeatureNetwork(
    "8 x 8 pixels", "of the test", 32, lambda b: torch.nn.functional.avg_pool2d(b / 255, 8).flatten(1)
)
LABELS = ("hat", "hat", "hat", "shoe")


def picture_set(seed: int, count: int) -> PictureSet:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    pixels = np.ascontiguousarray(coarse.repeat(8, 1).repeat(8, 2))
    names = tuple(f"set-{seed}/{i}.png" for i in range(count))
    return PictureSet(names, tuple(LABELS[i % 4] for i in range(count)), pixels)


@pytest.fixture(scope="module")
def with_classes(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """Return a model with random weights that depends on its classes."""
    architecture = Architecture(
        layer_channels=(2, 3), maximum_level=(1, 1), layer_phases=(2, 2), width_8=8, width_16=12, blocks_8=1,
        blocks_16=1, prior_width=16, prior_blocks=1, classes=2,
    )  # fmt: skip
    torch.manual_seed(3)
    autoencoder, prior = Autoencoder(architecture), Prior(architecture)
    with torch.no_grad():
        prior.head_class.normal_(0, 2)
    recorder = RangeRecorder(prior)
    with torch.no_grad():
        context = torch.randint(-1, 2, (4, 5, 6, 6)) / 2
        prior(context, torch.ones(4, 2, 6, 6), torch.linspace(0, 1, 4), torch.tensor([0, 1, 2, 0]))
    recorder.close()
    network = QuantisedPrior(prior, architecture, recorder.ranges).export()
    path = tmp_path_factory.mktemp("models") / "classes.safetensors"
    weights.save(
        path, "tiny-2", architecture, autoencoder.state_dict(), network, {"classes": ["hat", "shoe"]}
    )
    return Codec.load(str(path))


MakePlan = Callable[..., GenerationPlan]


@pytest.fixture
def plan(codec: Codec, with_classes: Codec) -> MakePlan:
    def make(*specs: str, model: str = "tiny", **others: object) -> GenerationPlan:
        settings = [setting for spec in specs for setting in parse(spec, model=model, quality=40)]
        codecs = {"tiny": codec, "classes": with_classes}
        return GenerationPlan(picture_set(1, 12), NETWORK, 8, tuple(settings), codecs, **others)  # type: ignore[arg-type]

    return make


def shown(codec: Codec, codes: list) -> NDArray[np.uint8]:
    return np.stack([np.asarray(codec.decode(code)) for code in codes])


def test_every_set_has_its_row(plan: MakePlan, codec: Codec) -> None:
    made = plan(
        "steps=2:sampler=diffusion,autoregressive",
        train=picture_set(2, 20),
        folders={"other": picture_set(3, 9)},
    )
    check(made)
    outcome = run(made)
    assert [(row.name, row.kind, row.pictures, row.against) for row in outcome.rows] == [
        ("two halves of held-out", "floor", 6, 6),
        ("training pictures", "floor", 12, 12),
        ("coded and decoded: tiny, quality 40", "reconstruction", 12, 12),
        ("without post-filter: tiny, quality 40", "reconstruction", 12, 12),
        ("other", "folder", 9, 12),
        ("sampler=diffusion:steps=2", "drawn", 8, 12),
        ("sampler=autoregressive:steps=2", "drawn", 8, 12),
    ]
    real = NETWORK.features(made.real.pixels)
    drawn = outcome.rows[5]
    codes = codec.sample(8, (32, 32), 40, sampler="diffusion", steps=2, seed=0)
    features = NETWORK.features(shown(codec, codes))
    assert drawn.kernel == kernel_distance(real, features)
    assert drawn.frechet == pytest.approx(frechet_distance(real, features))
    assert drawn.bits == np.mean([8 * len(codec.pack(code)) for code in codes])
    assert drawn.prior_bits == pytest.approx(np.mean([codec.cost(code).sum() for code in codes]))
    assert drawn.seconds is not None
    assert drawn.seconds > 0
    assert (drawn.sampler, drawn.steps) == ("diffusion", 2)
    assert set(outcome.memories) == {HELD_OUT, *(row.name for row in outcome.rows[2:])}
    assert outcome.samples["sampler=diffusion:steps=2"].shape == (8, 32, 32, 3)
    assert outcome.pairs["other"].shape == (8, 32, 64, 3)


def test_reconstructions_are_paired_with_their_pictures(plan: MakePlan, codec: Codec) -> None:
    made = plan("")
    rows = run(made).rows[1:3]
    codes = [codec.encode(picture, 40) for picture in made.real.pixels]
    for row, of in zip(rows, (codes, [dataclasses.replace(code, extras=()) for code in codes]), strict=True):
        decoded = shown(codec, of)
        assert row.psnr == pytest.approx(
            np.mean([psnr(*both) for both in zip(made.real.pixels, decoded, strict=True)])
        )
        assert row.bits == np.mean([8 * len(codec.pack(code)) for code in of])
        real, other = (NETWORK.features(pixels) for pixels in (made.real.pixels, decoded))
        assert row.kernel == kernel_distance(real, other, paired=True)


def test_pictures_without_post_filter_are_less_exact_and_smaller() -> None:
    codec = Codec.load("clothing")
    pixels = np.stack([data.chelsea()[60:188, 90:218], data.astronaut()[:128, 150:278]])
    whole, bare = sampled_sets.reconstruct(codec, "clothing", 50, pixels)
    assert whole.facts["psnr"] > bare.facts["psnr"] > 15
    assert whole.facts["bits"] > bare.facts["bits"]
    assert whole.facts["prior_bits"] == bare.facts["prior_bits"]


def test_two_models_and_qualities_are_reconstructed_once_each(plan: MakePlan) -> None:
    made = plan("model=tiny,classes:sampler=autoregressive:seed=0,1", "quality=3")
    names = [row.name for row in run(made).rows if row.kind == "reconstruction"]
    assert names == [
        f"{how}: {what}"
        for what in ("tiny, quality 40", "classes, quality 40", "tiny, quality 3")
        for how in ("coded and decoded", "without post-filter")
    ]


def test_classes_are_drawn_in_the_real_shares(plan: MakePlan, with_classes: Codec) -> None:
    (setting,) = parse("classes=real:seed=5", model="classes", quality=40)
    found = sampled_sets.draw(with_classes, setting, 8, (32, 32), LABELS)
    hats = with_classes.sample(6, (32, 32), 40, label="hat", seed=5 + (1 << 32))
    shoes = with_classes.sample(2, (32, 32), 40, label="shoe", seed=5 + (2 << 32))
    assert np.array_equal(found.pixels, shown(with_classes, [*hats, *shoes]))
    (setting,) = parse("classes=shoe:guidance=1", model="classes", quality=40)
    found = sampled_sets.draw(with_classes, setting, 2, (32, 32), LABELS)
    one = with_classes.sample(2, (32, 32), 40, label="shoe", guidance=1.0, seed=2 << 32)
    assert np.array_equal(found.pixels, shown(with_classes, one))
    (setting,) = parse("", model="classes", quality=40)
    found = sampled_sets.draw(with_classes, setting, 2, (32, 32), LABELS)
    assert np.array_equal(found.pixels, shown(with_classes, with_classes.sample(2, (32, 32), 40)))
    assert found.facts["sampler"] == SamplingSettings().plan(with_classes.model.card).sampler


def test_a_training_picture_among_the_drawn_is_shown(plan: MakePlan) -> None:
    train, folder = picture_set(2, 20), picture_set(3, 9)
    folder.pixels[4] = train.pixels[11]
    outcome = run(plan(train=train, folders={"copier": folder}))
    found = generation_report.content(outcome)["memorisation"]
    assert [item["set"] for item in found] == [HELD_OUT, "copier"]
    closest = found[1]["closest"][0]
    assert closest == {"by": "features", "picture": 4, "training": "set-2/11.png", "distance": 0.0}
    assert found[1]["feature_share"] >= 1 / 9
    pair = outcome.pairs["copier"][0]
    assert np.array_equal(pair[:, :32], pair[:, 32:])


def test_after_an_interruption_what_was_complete_is_there(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = sampled_sets.draw

    def interrupted(codec: Codec, setting: Setting, *others: object) -> object:
        if setting.seed == 1:
            raise KeyboardInterrupt
        return draw(codec, setting, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(sampled_sets, "draw", interrupted)
    outcome = run(plan("seed=0,1,2", train=picture_set(2, 20)))
    assert outcome.interrupted
    assert [row.name for row in outcome.rows[4:]] == ["seed=0"]
    assert list(outcome.memories)[3:] == list(outcome.samples)[2:] == list(outcome.pairs)[2:] == ["seed=0"]
    assert generation_report.content(outcome)["interrupted"]

    def at_once(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(sampled_sets, "reconstruct", at_once)
    with pytest.raises(KeyboardInterrupt):
        run(plan("seed=0"))


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (("classes=real",), "model tiny-1 has no classes"),
        (("guidance=2",), "model tiny-1 has no classes"),
        (("classes=boat:model=classes",), "class 'boat' is not one of hat, shoe"),
        (("sampler=autoregressive:steps=8",), "steps 8 is over the limit of 7"),
    ],
)
def test_what_a_model_cannot_do_is_refused_first(plan: MakePlan, specs: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        check(plan("", *specs))


def test_small_sets_and_equal_names_are_refused(plan: MakePlan) -> None:
    made = plan("")
    with pytest.raises(TooFew, match="each drawn set: distances need at least 4 pictures, not 1"):
        check(dataclasses.replace(made, count=1))
    with pytest.raises(TooFew, match=r"each half of the held-out pictures: .*not 3"):
        check(dataclasses.replace(made, real=picture_set(1, 7)))
    with pytest.raises(TooFew, match=r"other: .*not 2"):
        check(dataclasses.replace(made, folders={"other": picture_set(1, 2)}))
    with pytest.raises(NameTaken, match="two sets of this run are called 'default'"):
        check(dataclasses.replace(made, folders={"default": picture_set(1, 9)}))


def test_reports_hold_the_same(plan: MakePlan, tmp_path: Path) -> None:
    outcome = run(plan("", train=picture_set(2, 20)))
    (tmp_path / "closest.png").write_bytes(b"old")
    generation_report.write(outcome, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "closest.png", "generation.json", "generation.md", "rows.csv", "samples.png",
    ]  # fmt: skip
    content = json.loads((tmp_path / "generation.json").read_text())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    assert [row["set"] for row in rows] == [row["set"] for row in content["rows"]]
    assert float(rows[-1]["kernel_x1000"]) == content["rows"][-1]["kernel_x1000"]
    assert rows[0]["psnr"] == "" == rows[0]["seed"]
    assert content["features"] == {"network": "8 x 8 pixels", "about": "of the test", "dimensions": 48}
    assert content["rows"][-1]["kernel_x1000"] == 1000 * outcome.rows[-1].kernel.value
    text, markdown = generation_report.text(outcome), (tmp_path / "generation.md").read_text()
    for words in (f"{content['rows'][-1]['kernel_x1000']:.2f}", "8 x 8 pixels", "biased upwards", "default"):
        assert words in text
        assert words in markdown
    assert "fid" not in (text + markdown).lower()
    with Image.open(tmp_path / "samples.png") as samples, Image.open(tmp_path / "closest.png") as closest:
        assert samples.size == (12 * 34 - 2, 3 * 34 - 2)
        assert closest.size == (8 * 66 - 2, 3 * 34 - 2)
        assert np.array_equal(np.asarray(samples)[:32, :32], outcome.samples[outcome.rows[2].name][0])
    generation_report.write(run(plan("")), tmp_path)
    assert not (tmp_path / "closest.png").exists()


def test_a_report_that_fails_leaves_the_earlier_one(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation_report.write(run(plan("", train=picture_set(2, 20))), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    outcome = run(plan("seed=1"))
    for module, name in ((generation_report, "sheet"), (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises(OSError, match="No space left"):
                generation_report.write(outcome, tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_warning_goes_where_there_are_pictures_enough(plan: MakePlan) -> None:
    many = dataclasses.replace(plan(), real=picture_set(1, 200))
    outcome = run(many)
    assert outcome.dimensions == 48
    assert "biased upwards" not in generation_report.text(outcome)
