"""The configuration of a training run: a TOML file of four tables, read into flat frozen data."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from bincodec.model.architecture import STRIDE, Architecture
from bincodec.train.data import CropSettings
from bincodec.train.objective import ObjectiveSettings


@dataclasses.dataclass(frozen=True)
class OptimiserSettings:
    """Learning rates at the top of the schedule: SOAP takes the matrices of blocks and the linear path, Adam
    the rest.

    `matrix_rate` is that of the blocks' matrices, `path_rate` of the autoencoder's linear path,
    `shortcut_rate` Adam's for the encoder's shortcut."""

    adam_rate: float = 2e-3
    matrix_rate: float = 2e-3
    path_rate: float = 5e-4
    shortcut_rate: float = 3e-5
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    warmup_steps: int = 200
    decay_share: float = 0.5
    """Share of a stage, at its end, over which the rate falls linearly to `final_rate` of its top."""
    final_rate: float = 0.01
    rate_ramp_share: float = 0.35
    """Share of a first stage over which the weight of the rate rises from 0.1 to 1."""
    start: str = "components"
    """Where a first stage begins: principal "components" of the photos, or "random" weights."""

    def times(self, factor: float) -> OptimiserSettings:
        """The same with every learning rate times `factor`."""
        names = ("adam_rate", "matrix_rate", "path_rate", "shortcut_rate")
        return dataclasses.replace(self, **{name: factor * getattr(self, name) for name in names})

    def __post_init__(self) -> None:
        if self.start not in ("components", "random"):
            msg = f"start {self.start!r} is neither 'components' nor 'random'"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Crops in a batch (of each process), their side in pixels, where photos lie, and the seed.

    `scaled_share`, `scales` and `plain_share` vary the crops, as `CropSettings` says.
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
    """Only what lies under this path in `photos`. Where there are classes, the next folder names them."""
    valid_under: str = ""

    @property
    def crops(self) -> CropSettings:
        """What is drawn from the photos."""
        return CropSettings(self.crop, self.scaled_share, self.scales, self.plain_share)

    def __post_init__(self) -> None:
        if self.crop < STRIDE or self.crop % STRIDE or self.batch < 1:
            msg = f"batch {self.batch}, crop {self.crop}: a crop must be a multiple of {STRIDE}"
            raise ValueError(msg)
        if len(self.scales) != 2 or not 0 < self.scales[0] <= self.scales[1]:
            msg = f"scales {self.scales} are not a lowest and a highest scale"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """One whole configuration."""

    architecture: Architecture
    objective: ObjectiveSettings
    optimiser: OptimiserSettings
    data: DataSettings


def read_settings(path: Path) -> RunSettings:
    """Read a TOML configuration; unknown tables or names are an error. Relative paths start at the file."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    known = {"architecture", "objective", "optimiser", "data"}
    if unknown := sorted(set(tables) - known):
        msg = f"{path}: unknown tables: {', '.join(unknown)}"
        raise ValueError(msg)
    data = dict(tables.get("data", {}))
    for name in ("photos", "valid"):
        if name not in data:
            msg = f"{path}: [data] needs {name!r}"
            raise ValueError(msg)
        data[name] = path.parent / Path(data[name]).expanduser()
    return RunSettings(
        Architecture.from_mapping(tables.get("architecture", {})),
        _build(ObjectiveSettings, tables.get("objective", {}), path),
        _build(OptimiserSettings, tables.get("optimiser", {}), path),
        _build(DataSettings, data, path),
    )


def _build(kind: Any, fields: dict[str, Any], path: Path) -> Any:
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(fields) - known):
        msg = f"{path}: {kind.__name__} knows no {', '.join(unknown)}"
        raise ValueError(msg)
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})


def with_rates(settings: RunSettings, factor: float) -> RunSettings:
    """The same run at learning rates times `factor`."""
    return dataclasses.replace(settings, optimiser=settings.optimiser.times(factor))


def with_data(settings: RunSettings, **changes: Any) -> RunSettings:
    """The same run with some of `DataSettings` replaced; None leaves a setting as it is."""
    given = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **given))
