"""The comparisons at equal budget run and measure what they claim: flip against value, binary against VQ."""

import dataclasses
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from bincodec import Codec
from bincodec.coding import bernoulli
from bincodec.model.architecture import Architecture
from bincodec.model.prior import Prior
from bincodec.train.data import read_photos
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.settings import read_settings
from bincodec.train.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
BITS = Architecture(
    layer_channels=(2, 4),
    maximum_level=(1, 1),
    layer_phases=(2, 1),
    binariser="logistic",
    width_8=8,
    width_16=12,
    blocks_8=1,
    blocks_16=1,
    prior_width=16,
    prior_blocks=1,
)
CONFIG = """
[architecture]
layer_channels = [2, 4]
maximum_level = [1, 1]
layer_phases = [2, 1]
binariser = "logistic"
width_8 = 8
width_16 = 12
blocks_8 = 1
blocks_16 = 1
prior_width = 16
prior_blocks = 1
classes = 2
[objective]
other_states = [1, 2, 1]
[optimiser]
warmup_steps = 2
[data]
photos = "photos"
valid = "photos"
batch = 4
crop = 32
"""


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look up their module by name.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("targets", monkeypatch)


@pytest.fixture
def config(tmp_path: Path, write_photos: Callable[..., None]) -> Path:
    """Write a configuration of a few weights beside photos of two classes."""
    names = ("people/astronaut.png", "cats/chelsea.png", "cats/coffee.png")
    write_photos(tmp_path / "photos", dict.fromkeys(names, (100, 100, 132, 132)))
    path = tmp_path / "bits.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.parametrize("target", ["value", "flip"])
def test_what_is_measured_is_what_is_trained(targets: ModuleType, target: str) -> None:
    """The bits of noisy states equal those of the objective, up to the noise that was drawn."""
    torch.manual_seed(0)
    objective = Objective(dataclasses.replace(BITS, target=target), ObjectiveSettings())
    clean = torch.randint(0, 2, (64, 6, 4, 4)) - 0.5
    keep = torch.full((64, 2, 4, 4), 0.6)
    measured = targets.noisy_bits(objective, clean, keep, None)
    assert measured.shape == (64,)
    # An untrained prior leaves what is seen of the bit: a share keep + (1 - keep) / 2 of the bits is right.
    torch.nn.init.zeros_(objective.prior.head.weight)
    torch.nn.init.zeros_(objective.prior.head.bias)
    own = torch.tensor(0.8)
    entropy = -(own * own.log2() + (1 - own) * (1 - own).log2()).item()
    found = targets.noisy_bits(objective, clean, keep, None).mean().item()
    assert found == pytest.approx(6 * entropy, rel=0.05)
    assert targets.noisy_bits(objective, clean, torch.zeros_like(keep), None).mean() == pytest.approx(6.0)


@pytest.mark.parametrize("target", ["value", "flip"])
def test_a_network_that_counts_the_bit_itself_is_taken_at_its_word(targets: ModuleType, target: str) -> None:
    """After the objective has added the own observation, the odds are those of the inner network."""
    torch.manual_seed(1)
    objective = Objective(dataclasses.replace(BITS, target=target), ObjectiveSettings())
    inner = objective.prior
    assert isinstance(inner, Prior)
    wrapped = targets.WithOwn(inner, objective.channel_layer, target)
    bits = torch.randint(0, 2, (8, 6, 4, 4)) - 0.5
    keep, quality = torch.full((8, 2, 4, 4), 0.3), torch.full((8,), 0.5)
    given, given_scale = inner(0.3 * bits, keep, quality)
    mu, log_scale = wrapped(0.3 * bits, keep, quality)
    assert torch.equal(log_scale, given_scale)
    if target == "flip":
        mu, given = (bernoulli.flip_to_value(part, bits + 0.5) for part in (mu, given))
    cavity = bernoulli.level_log_probabilities(mu, log_scale, 1)
    found = bernoulli.with_own_observation(cavity, (bits + 0.5).long(), torch.tensor(0.3))
    expected = bernoulli.level_log_probabilities(given, given_scale, 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    hidden = torch.zeros_like(keep)
    assert torch.equal(wrapped(0 * bits, hidden, quality)[0], inner(0 * bits, hidden, quality)[0])


def test_both_targets_are_trained_measured_and_finished(
    targets: ModuleType,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Trainer(read_settings(config), tmp_path, torch.device("cpu")).save_weights()
    weights, out = tmp_path / "weights.safetensors", tmp_path / "out"
    arguments = [str(config), str(weights), str(out), "--steps", "2", "--finish-steps", "1"]
    monkeypatch.setattr(sys, "argv", ["targets.py", *arguments, "--without-own-context"])
    monkeypatch.setattr(targets, "_BATCH", 2)
    monkeypatch.setattr(targets, "CODED_PICTURES", 2)
    targets.main()
    rows = table(capsys.readouterr().out)
    names = ["value", "flip", "value, own context learned", "flip, own context learned"]
    assert rows[0][1:-1] == names
    assert {row[0] for row in rows[2:]} >= {"nothing known", "noise, k = 0.9", "coding order"}
    assert all(float(cell) >= 0 for row in rows[2:] for cell in row[1:-1])
    for target in ("value", "flip"):
        codec = Codec.load(str(out / target / f"{target}.safetensors"))
        assert codec.model.card.architecture.target == target
        (code,) = codec.sample(1, (32, 48), sampler="diffusion", steps=3, label="cats")
        assert codec.decode(code).size == (32, 48)


def table(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"]


def test_both_codes_are_trained_drawn_from_and_measured(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    binary_or_vq = script("binary_or_vq", monkeypatch)
    lengths = ["--autoencoder-steps", "3", "--prior-steps", "2", "--end-steps", "1"]
    drawn = ["--samples", "3", "--steps", "2", "--steps", "4", "--groups", "2"]
    arguments = ["binary_or_vq.py", str(config), str(tmp_path / "out"), *lengths, *drawn]
    monkeypatch.setattr(sys, "argv", arguments)
    binary_or_vq.main()
    first = table(capsys.readouterr().out)
    assert first[0] == ["", "binary", "vq"]
    rows = {row[0]: row[1:] for row in first}
    assert rows["bits a position"] == ["6", "6"]
    assert rows["steps: all networks, prior alone, end"] == ["3, 2, 1", "3, 2, 1"]
    assert all(5 < float(value) < 40 for value in rows["PSNR of validation pictures, dB"])
    pictures = {}
    for name in ("real", "binary-coded", "vq-coded", "binary-2", "binary-4", "vq-2", "vq-4"):
        folder = tmp_path / "out" / name
        assert sorted(file.name for file in folder.iterdir()) == ["000.png", "001.png", "002.png"]
        pictures[name] = np.stack(read_photos(folder))
        assert pictures[name].shape == (3, 32, 32, 3)
    # Nothing is trained again, but the pictures are drawn again.
    binary_or_vq.main()
    again = {row[0]: row[1:] for row in table(capsys.readouterr().out)}
    for name in ("weights", "PSNR of validation pictures, dB", "steps: all networks, prior alone, end"):
        assert again[name] == rows[name]
    for name, before in pictures.items():
        assert np.array_equal(np.stack(read_photos(tmp_path / "out" / name)), before)
