"""Configurations are read from TOML, and refused if they contain anything unknown."""

import dataclasses
from pathlib import Path

import pytest

from bincodec.model.architecture import Architecture
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.settings import OptimiserSettings, read_settings, with_rates

WHOLE = """
[architecture]
layer_channels = [2, 3]
maximum_level = [6, 1]
layer_phases = [4, 1]
prior_width = 24

[objective]
lambda_highest = 0.2

[optimiser]
adam_rate = 0.001
warmup_steps = 7

[data]
photos = "train/photos.tar"
valid = "/elsewhere/valid"
batch = 3
crop = 64
seed = 9
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_all_four_tables(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, WHOLE))
    assert found.architecture == Architecture((2, 3), (6, 1), (4, 1), prior_width=24)
    assert found.objective == ObjectiveSettings(lambda_highest=0.2)
    assert found.optimiser == OptimiserSettings(adam_rate=0.001, warmup_steps=7)
    assert (found.data.batch, found.data.crop, found.data.seed) == (3, 64, 9)
    assert found.data.photos == tmp_path / "train" / "photos.tar"
    assert found.data.valid == Path("/elsewhere/valid")


def test_defaults_fill_the_rest(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, '[data]\nphotos = "a"\nvalid = "b"\n'))
    assert found.architecture == Architecture()
    assert found.optimiser == OptimiserSettings()
    assert found.objective == ObjectiveSettings()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[extra]", "the tables extra are unknown"),
        ("[architecture]\nwidth_32 = 3", "unknown architecture fields: width_32"),
        ("[objective]\nlambda = 3", r"\[objective\] has no lambda"),
        ("[optimiser]\nrate = 3\nspeed = 4", r"\[optimiser\] has no rate, speed"),
        ("[architecture]\nmaximum_level = [62, 30, 30, 0]", "must lie in 1.."),
        ("[architecture]\nlayer_channels = [1, 2]", "need one entry for each"),
        ('[architecture]\nbinariser = "other"', "neither 'uniform' nor 'logistic'"),
    ],
)
def test_refuses_what_it_does_not_know(tmp_path: Path, line: str, complaint: str) -> None:
    path = written(tmp_path, f'{line}\n[data]\nphotos = "a"\nvalid = "b"\n')
    with pytest.raises(ValueError, match=complaint):
        read_settings(path)


def test_refuses_unknown_data_settings(tmp_path: Path) -> None:
    path = written(tmp_path, '[data]\nphotos = "a"\nvalid = "b"\ncorp = 3\n')
    with pytest.raises(ValueError, match=r"\[data\] has no corp"):
        read_settings(path)


@pytest.mark.parametrize("missing", ["photos", "valid"])
def test_refuses_to_guess_where_photos_lie(tmp_path: Path, missing: str) -> None:
    present = {"photos": "valid", "valid": "photos"}[missing]
    with pytest.raises(ValueError, match=f"needs '{missing}'"):
        read_settings(written(tmp_path, f'[data]\n{present} = "a"\n'))


def test_the_architecture_survives_its_json() -> None:
    architecture = Architecture(
        layer_channels=(1, 2), maximum_level=(1, 1), layer_phases=(1, 2), target="flip"
    )
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert Architecture().raw_bits_per_pixel >= 2.5


def test_rates_are_scaled_together_and_nothing_else(tmp_path: Path) -> None:
    before = read_settings(written(tmp_path, WHOLE))
    after = with_rates(before, 0.25)
    rates = {field.name for field in dataclasses.fields(OptimiserSettings) if field.name.endswith("_rate")}
    for name in rates - {"final_rate"}:
        assert getattr(after.optimiser, name) == 0.25 * getattr(before.optimiser, name)
    same = {name: getattr(before.optimiser, name) for name in rates - {"final_rate"}}
    assert dataclasses.replace(after.optimiser, **same) == before.optimiser
    assert (after.architecture, after.data) == (before.architecture, before.data)
