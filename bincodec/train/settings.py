"""The configuration of a training run: a TOML file whose tables are read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from bincodec.model.architecture import STRIDE, Architecture
from bincodec.train.appearance import PerceptualSettings
from bincodec.train.codes import PriorSettings
from bincodec.train.data import CropSettings
from bincodec.train.discriminator import AdversarialSettings
from bincodec.train.objective_settings import ObjectiveSettings


@dataclasses.dataclass(frozen=True)
class OptimiserSettings:
    """Learning rates at the top of the schedule, and the shape of the schedule.

    SOAP trains the matrices of blocks with `matrix_rate` and the autoencoder's linear path with `path_rate`.
    Adam trains the encoder's shortcut with `shortcut_rate` and everything else with `adam_rate`.
    """

    adam_rate: float = 2e-3
    matrix_rate: float = 2e-3
    path_rate: float = 5e-4
    shortcut_rate: float = 3e-5
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    warmup_steps: int = 200
    decay_share: float = 0.5
    """The share of a stage, at its end, in which the rate falls linearly to `final_rate` times its top."""
    final_rate: float = 0.01
    rate_ramp_share: float = 0.35
    """The share of a first stage in which the weight of the bits in the loss rises from 0.1 to 1."""
    start: str = "components"
    """The start of a first stage: principal "components" of the photos, or "random" weights."""

    def times(self, factor: float) -> OptimiserSettings:
        """Return the same settings with every learning rate times `factor`."""
        names = ("adam_rate", "matrix_rate", "path_rate", "shortcut_rate")
        return dataclasses.replace(self, **{name: factor * getattr(self, name) for name in names})

    def __post_init__(self) -> None:
        if self.start not in ("components", "random"):
            msg = f"start {self.start!r} is neither 'components' nor 'random'"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The training data.

    `photos` and `valid` are the places of the training and the validation photos. `batch` is the number of
    crops in a batch of each process, and `crop` is their side in pixels. `CropSettings` explains how
    `scaled_share`, `scales` and `plain_share` vary the crops.
    """

    photos: Path
    valid: Path
    batch: int = 16
    crop: int = 128
    seed: int = 0
    scaled_share: float = CropSettings.scaled
    scales: tuple[float, float] = CropSettings.scales
    plain_share: float = CropSettings.plain
    photos_under: str = ""
    """Only photos under this path in `photos` are used. The next folder names the class, if there are any."""
    valid_under: str = ""

    @property
    def crops(self) -> CropSettings:
        """How crops are drawn from the photos."""
        return CropSettings(self.crop, self.scaled_share, self.scales, self.plain_share)

    def __post_init__(self) -> None:
        if self.crop < STRIDE or self.crop % STRIDE or self.batch < 1:
            msg = f"batch {self.batch} must be at least 1, and crop {self.crop} a multiple of {STRIDE}"
            raise ValueError(msg)
        if len(self.scales) != 2 or not 0 < self.scales[0] <= self.scales[1]:
            msg = f"scales {self.scales} must be two positive numbers, the lowest and the highest"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """The whole configuration of a run. Without `perceptual` and `adversarial`, only squared errors
    count. `prior` is for priors that learn alone."""

    architecture: Architecture
    objective: ObjectiveSettings
    optimiser: OptimiserSettings
    data: DataSettings
    perceptual: PerceptualSettings | None = None
    adversarial: AdversarialSettings | None = None
    prior: PriorSettings = dataclasses.field(default_factory=PriorSettings)

    def __post_init__(self) -> None:
        if self.adversarial is not None and self.perceptual is None:
            msg = "[adversarial] needs [perceptual] beside it"
            raise ValueError(msg)


def read_settings(path: Path) -> RunSettings:
    """Read a TOML configuration. Paths in it are relative to the file.

    Raises:
        ValueError: if the file is not TOML, if a table or a name is unknown, or if a value is missing or out
            of range.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is not a TOML file: {error}"
        raise ValueError(msg) from error
    known = {"architecture", "objective", "optimiser", "data", "perceptual", "adversarial", "prior"}
    if unknown := sorted(set(tables) - known):
        msg = f"{path}: the tables {', '.join(unknown)} are unknown"
        raise ValueError(msg)
    data = dict(tables.get("data", {}))
    for name in ("photos", "valid"):
        if name not in data:
            msg = f"{path}: [data] needs {name!r}"
            raise ValueError(msg)
        data[name] = path.parent / Path(data[name]).expanduser()
    perceptual = tables.get("perceptual")
    if perceptual is not None and "weights" in perceptual:
        perceptual["weights"] = path.parent / Path(perceptual["weights"]).expanduser()
    adversarial = tables.get("adversarial")
    return RunSettings(
        Architecture.from_mapping(tables.get("architecture", {})),
        _build(ObjectiveSettings, "objective", tables.get("objective", {}), path),
        _build(OptimiserSettings, "optimiser", tables.get("optimiser", {}), path),
        _build(DataSettings, "data", data, path),
        None if perceptual is None else _build(PerceptualSettings, "perceptual", perceptual, path),
        None if adversarial is None else _build(AdversarialSettings, "adversarial", adversarial, path),
        _build(PriorSettings, "prior", tables.get("prior", {}), path),
    )


def _build(kind: Any, table: str, fields: dict[str, Any], path: Path) -> Any:
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(fields) - known):
        msg = f"{path}: [{table}] has no {', '.join(unknown)}"
        raise ValueError(msg)
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})


def with_rates(settings: RunSettings, factor: float) -> RunSettings:
    """Return the same run with all learning rates times `factor`."""
    judge = settings.adversarial
    if judge is not None:
        judge = dataclasses.replace(judge, rate=judge.rate * factor)
    return dataclasses.replace(settings, optimiser=settings.optimiser.times(factor), adversarial=judge)


def with_data(settings: RunSettings, **changes: Any) -> RunSettings:
    """Return the same run with some fields of `DataSettings` replaced. None leaves a field as it is.

    A batch is also that of a prior that learns alone.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    prior = dataclasses.replace(settings.prior, batch=given.get("batch", settings.prior.batch))
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **given), prior=prior)


def with_lpips_weights(settings: RunSettings, path: Path | None) -> RunSettings:
    """Return the same run with another file of weights for the perceptual distance. None changes nothing.

    Raises:
        ValueError: if the run has no perceptual distance.
    """
    if path is None:
        return settings
    if settings.perceptual is None:
        msg = f"{path} is of no use: the configuration has no table [perceptual]"
        raise ValueError(msg)
    return dataclasses.replace(settings, perceptual=dataclasses.replace(settings.perceptual, weights=path))


def for_prior(settings: RunSettings) -> RunSettings:
    """Return the settings of a run in which the prior learns alone: of the pictures, only codes are seen."""
    prior = settings.prior
    data = dataclasses.replace(
        settings.data, batch=prior.batch, scaled_share=prior.scaled_share, scales=prior.scales
    )
    return dataclasses.replace(settings, data=data, perceptual=None, adversarial=None)
