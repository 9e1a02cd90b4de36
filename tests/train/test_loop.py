"""Runs of a few steps: seeded, interruptible, continued from weights, in one process and in two."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bincodec.model.architecture import Architecture
from bincodec.train import loop
from bincodec.train.data import Batch
from bincodec.train.loop import VALIDATION_QUALITIES, Stage, rate_factor, run
from bincodec.train.settings import OptimiserSettings, RunSettings
from bincodec.train.trainer import Trainer
from bincodec.train.weights import read_weights

Make = Callable[..., RunSettings]
FOUR = Stage(steps=4)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights.safetensors")


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(value, second[name]) for name, value in first.items())


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Save after every step, and stop in the middle of a step."""
    honest = Trainer.update

    def update(trainer: Trainer, *arguments: Any) -> None:
        if trainer.step == step:
            raise KeyboardInterrupt
        honest(trainer, *arguments)

    monkeypatch.setattr(loop, "_SAVE_EVERY_SECONDS", -1.0)
    monkeypatch.setattr(Trainer, "update", update)


# --- one stage --------------------------------------------------------------------------------------------


def test_a_run_leaves_weights_and_a_validation_curve(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings()
    run(settings, tmp_path, FOUR, validation_photos=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "weights.safetensors"]
    (row,) = rows(tmp_path)
    assert (row["steps"], row["crops"], row["crop"]) == (4, 16, 32)
    assert [point["quality"] for point in row["validation"]] == list(VALIDATION_QUALITIES)
    for point in row["validation"]:
        assert point["bits_per_pixel"] == pytest.approx(sum(point["layer_bits_per_pixel"]))
        assert 0 < point["bits_per_pixel"] < 8
        assert 3 < point["psnr"] < 60
        assert all(0 <= share <= 1 for share in point["saturated"])
    found = weights(tmp_path)
    assert all(value.dtype == torch.float16 for value in found.values())
    untouched = Trainer(settings, tmp_path, torch.device("cpu")).objective.state_dict()
    assert found.keys() == untouched.keys()
    moved = [name for name, value in found.items() if not torch.equal(value, untouched[name].half())]
    assert len(moved) > 0.9 * len(found)


def test_a_seed_decides_everything(tmp_path: Path, make_settings: Make) -> None:
    for name, seed, workers in (("a", 0, 0), ("b", 0, 2), ("c", 1, 0)):
        run(make_settings(seed=seed), tmp_path / name, FOUR, validation_photos=1, workers=workers)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("kind", ["small", "bits"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, make_settings: Make, kind: str, request: pytest.FixtureRequest
) -> None:
    architecture: Architecture = request.getfixturevalue(kind)
    settings = make_settings(architecture)
    run(settings, tmp_path / "whole", FOUR, validation_photos=1)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(settings, tmp_path / "parts", FOUR, validation_photos=1)
    assert (tmp_path / "parts" / "state.pt").exists()
    torch.manual_seed(12345)
    run(settings, tmp_path / "parts", FOUR, validation_photos=1)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert not (tmp_path / "parts" / "state.pt").exists()
    assert rows(tmp_path / "parts")[-1]["steps"] == 4


def test_validation_photos_are_read_before_the_training(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    settings = dataclasses.replace(
        settings, data=dataclasses.replace(settings.data, valid=tmp_path / "nowhere")
    )
    monkeypatch.setattr(Trainer, "update", lambda *_: pytest.fail("a step was done"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run(settings, tmp_path / "run", FOUR)


def test_an_interrupted_validation_is_repeated(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    run(settings, tmp_path / "whole", FOUR, validation_photos=1)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(settings, tmp_path / "parts", FOUR, validation_photos=1)
    run(settings, tmp_path / "parts", FOUR, validation_photos=1)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "log.jsonl",
        "weights.safetensors",
    ]


def test_the_log_has_each_step_once(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    monkeypatch.setattr(loop, "_LOG_EVERY", 1)
    for step, seconds in ((2, 1e9), (3, -1.0), (3, 1e9)):
        with monkeypatch.context() as patch:
            interrupt_at(patch, step)
            patch.setattr(loop, "_SAVE_EVERY_SECONDS", seconds)
            with pytest.raises(KeyboardInterrupt):
                run(settings, tmp_path, FOUR, validation_photos=1)
    run(settings, tmp_path, FOUR, validation_photos=1)
    assert [row.get("step") for row in rows(tmp_path)] == [1, 2, 3, 4, None]


def test_what_was_revived_and_skipped_is_known_after_an_interruption(
    tmp_path: Path, make_settings: Make
) -> None:
    first, second = (Trainer(make_settings(), tmp_path, torch.device("cpu")) for _ in range(2))
    first.revived, first.skipped = 3, 2
    first.save_state()
    second.load_state()
    assert (second.revived, second.skipped) == (3, 2)


def test_a_later_stage_starts_from_weights(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings()
    run(settings, tmp_path / "first", FOUR, validation_photos=1)
    start = tmp_path / "first" / "weights.safetensors"
    still = dataclasses.replace(
        settings,
        optimiser=dataclasses.replace(settings.optimiser, adam_rate=0.0, matrix_rate=0.0, path_rate=0.0),
    )
    run(still, tmp_path / "still", Stage(steps=1), start=start, validation_photos=1)
    assert same(weights(tmp_path / "still"), weights(tmp_path / "first"))
    run(settings, tmp_path / "second", FOUR, start=start, validation_photos=1)
    assert not same(weights(tmp_path / "second"), weights(tmp_path / "first"))
    trainer = Trainer(settings, tmp_path, torch.device("cpu"))
    trainer.start_from(tmp_path / "second" / "weights.safetensors")
    assert [stage["steps"] for stage in trainer.history] == [4, 4]
    assert trainer.step == 0


def test_silent_units_begin_anew_where_that_is_asked_for(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings()
    run(settings, tmp_path / "first", Stage(steps=1), validation_photos=1)
    start = tmp_path / "first" / "weights.safetensors"
    tensors, metadata = read_weights(start)
    block = "autoencoder.encoder.blocks_8.0.expand"
    tensors[f"{block}.bias"] = tensors[f"{block}.bias"] - 1e4
    silent = tmp_path / "silent.safetensors"
    texts = {"architecture": metadata["architecture"], "history": json.dumps(metadata["history"])}
    save_file({name: value.half() for name, value in tensors.items()}, silent, texts)
    for revived in (False, True):
        folder = tmp_path / str(revived)
        run(settings, folder, Stage(steps=1), start=silent, validation_photos=1, revived=revived)
        assert (rows(folder)[-1]["revived"] >= len(tensors[f"{block}.bias"])) == revived


def test_a_stage_may_leave_the_autoencoder_alone(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOG_EVERY", 2)
    settings = make_settings()
    run(settings, tmp_path / "first", FOUR, validation_photos=1)
    start = tmp_path / "first" / "weights.safetensors"
    run(settings, tmp_path / "second", FOUR, start=start, validation_photos=1, prior_only=True)
    before, after = weights(tmp_path / "first"), weights(tmp_path / "second")
    rows = [
        json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0])
        for name in ("first", "second")
    ]
    assert rows[0]["psnr"] > 0
    assert rows[1]["psnr"] is None
    pixels = [name for name in before if name.startswith("autoencoder.")]
    assert pixels
    assert all(torch.equal(before[name], after[name]) for name in pixels)
    assert not any(
        torch.equal(before[name], after[name])
        for name in before
        if name.endswith("expand.weight") and name.startswith("prior.")
    )


def test_a_prior_that_learns_alone_may_be_of_another_size(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings()
    run(settings, tmp_path / "first", FOUR, validation_photos=1)
    start = tmp_path / "first" / "weights.safetensors"
    deeper = dataclasses.replace(
        settings, architecture=dataclasses.replace(settings.architecture, prior_blocks=2)
    )
    with pytest.raises(ValueError, match="does not fit this architecture"):
        run(deeper, tmp_path / "second", FOUR, start=start, validation_photos=1)
    run(deeper, tmp_path / "third", FOUR, start=start, validation_photos=1, prior_only=True)
    before, after = weights(tmp_path / "first"), weights(tmp_path / "third")
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("autoencoder."))
    assert "prior.blocks.1.expand.weight" in after


def test_a_later_stage_sees_other_crops(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    forward = loop._forward

    def remember(trainer: Trainer, module: Any, batch: Batch, progress: float) -> Any:
        seen.append(batch.crops.clone())
        return forward(trainer, module, batch, progress)

    monkeypatch.setattr(loop, "_forward", remember)
    run(make_settings(), tmp_path / "first", Stage(steps=2), validation_photos=1)
    start = tmp_path / "first" / "weights.safetensors"
    run(make_settings(), tmp_path / "second", Stage(steps=2), start=start, validation_photos=1)
    assert len(seen) == 4
    assert not torch.equal(seen[0], seen[2])


def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, make_settings: Make, small: Architecture
) -> None:
    run(make_settings(), tmp_path / "first", Stage(steps=1), validation_photos=1)
    other = make_settings(dataclasses.replace(small, prior_width=24))
    with pytest.raises(ValueError, match="does not fit this architecture"):
        run(other, tmp_path / "second", FOUR, start=tmp_path / "first" / "weights.safetensors")


def test_only_a_first_stage_has_fresh_channels(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weight of their rate rises with the progress of a stage."""
    seen: list[tuple[float, bool]] = []
    forward = loop._forward

    def remember(trainer: Trainer, module: Any, crops: Tensor, progress: float) -> Any:
        seen.append((progress, bool(trainer.objective.fresh.all())))
        assert trainer.objective.fresh.all() == trainer.objective.fresh.any()
        return forward(trainer, module, crops, progress)

    monkeypatch.setattr(loop, "_forward", remember)
    settings = make_settings()
    run(settings, tmp_path / "first", FOUR, validation_photos=1)
    assert seen == [(0.0, True), (0.25, True), (0.5, True), (0.75, True)]
    seen.clear()
    start = tmp_path / "first" / "weights.safetensors"
    run(settings, tmp_path / "second", FOUR, start=start, validation_photos=1)
    assert seen == [(0.0, False), (0.25, False), (0.5, False), (0.75, False)]


def test_a_finished_stage_is_not_trained_over(tmp_path: Path, make_settings: Make) -> None:
    run(make_settings(), tmp_path, Stage(steps=1), validation_photos=1)
    before = weights(tmp_path)
    with pytest.raises(ValueError, match="holds a finished stage"):
        run(make_settings(), tmp_path, FOUR, validation_photos=1)
    assert same(weights(tmp_path), before)


def test_progress_is_logged(tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_LOG_EVERY", 2)
    run(make_settings(), tmp_path, FOUR, validation_photos=1)
    *steps, _ = rows(tmp_path)
    assert [row["step"] for row in steps] == [2, 4]
    assert all(row["loss"] > 0 and row["bits_per_pixel"] > 0 and row["psnr"] > 0 for row in steps)


def test_averaged_weights_are_put_in_for_a_while(tmp_path: Path, make_settings: Make) -> None:
    trainer = Trainer(make_settings(), tmp_path, torch.device("cpu"))
    with torch.no_grad():
        for parameter in trainer.objective.parameters():
            parameter.add_(1.0)
    live = {name: value.clone() for name, value in trainer.objective.state_dict().items()}
    with trainer.averaged() as objective:
        assert same(dict(objective.named_parameters()), trainer.average)
        assert not same(dict(objective.named_parameters()), live)
    assert same(trainer.objective.state_dict(), live)


# --- how long and how fast --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"steps": 3, "minutes": 1.0}])
def test_a_stage_is_measured_in_one_way(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either a number of steps or a number of minutes"):
        Stage(**arguments)


def test_progress() -> None:
    assert [Stage(steps=4).progress(step, 999.0) for step in (0, 1, 4, 5)] == [0, 0.25, 1, 1]
    assert [Stage(minutes=2).progress(999, seconds) for seconds in (0, 30, 120, 130)] == [0, 0.25, 1, 1]


def test_a_stage_in_minutes_ends(tmp_path: Path, make_settings: Make) -> None:
    run(make_settings(), tmp_path, Stage(minutes=0.01), validation_photos=1)
    assert rows(tmp_path)[-1]["steps"] > 0
    assert rows(tmp_path)[-1]["seconds"] >= 0.6


def test_the_rate_warms_up_stays_and_falls() -> None:
    settings = OptimiserSettings(warmup_steps=10, decay_share=0.5, final_rate=0.01)
    assert [rate_factor(settings, step, 0.0) for step in (0, 4, 9, 50)] == [0.1, 0.5, 1.0, 1.0]
    assert [rate_factor(settings, 50, progress) for progress in (0.5, 0.75, 1.0)] == [1.0, 0.5, 0.01]
    falling = [rate_factor(settings, 50, progress / 20) for progress in range(21)]
    assert all(a >= b for a, b in itertools.pairwise(falling))


# --- two processes ----------------------------------------------------------------------------------------

SCRIPT = """
import os, sys
from pathlib import Path
import torch
from bincodec.model.architecture import Architecture
from bincodec.train import loop
from bincodec.train.settings import read_settings

honest = loop.train_stage

def remember(trainer, *arguments, **options):
    honest(trainer, *arguments, **options)
    torch.save(trainer.objective.state_dict(), f"live-{os.environ['RANK']}.pt")

loop.train_stage = remember
torch.set_num_threads(1)
loop.run(read_settings(Path("run.toml")), Path("out"), loop.Stage(steps=3), validation_photos=1)
"""


def toml_of(settings: RunSettings) -> str:
    architecture = json.loads(settings.architecture.to_json())
    lines = ["[architecture]", *(f"{name} = {json.dumps(value)}" for name, value in architecture.items())]
    lines += ["[optimiser]", "warmup_steps = 2", "[data]"]
    lines += [f"{name} = {json.dumps(str(getattr(settings.data, name)))}" for name in ("photos", "valid")]
    lines += [f"{name} = {getattr(settings.data, name)}" for name in ("batch", "crop", "seed")]
    return "\n".join(lines)


def test_two_processes_learn_the_same(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings(batch=2)
    (tmp_path / "run.toml").write_text(toml_of(settings), encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    live = [torch.load(tmp_path / f"live-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert same(*live)
    (row,) = rows(tmp_path / "out")
    assert (row["steps"], row["crops"]) == (3, 12)
    # The second process had crops of its own. Alone, the first would have learned something else.
    run(settings, tmp_path / "alone", Stage(steps=3), validation_photos=1)
    assert not same(weights(tmp_path / "alone"), weights(tmp_path / "out"))
