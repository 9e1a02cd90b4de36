"""What `bincodec train` refuses, a second decoder from the command line, and several processes."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bincodec.model.card import read_card
from bincodec.train.weights import read_weights

CONFIG = """
[architecture]
layer_channels = [2, 3]
maximum_level = [1, 1]
layer_phases = [2, 1]
binariser = "logistic"
width_8 = 8
width_16 = 12
blocks_8 = 1
blocks_16 = 1
prior_width = 16
prior_blocks = 1

[data]
photos = "photos"
valid = "photos"
batch = 2
crop = 32

[prior]
codes = 40
batch = 8
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_photos: Callable[..., None]) -> Path:
    monkeypatch.chdir(tmp_path)
    write_photos(Path("photos"), {"astronaut.png": (200, 30, 264, 94)})
    Path("run.toml").write_text(CONFIG)
    Path("some").write_text("not weights")
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "either --steps or --minutes is needed, and not both"),
        (["--steps", "1", "--minutes", "1"], 2, "either --steps or --minutes is needed, and not both"),
        (["--steps", "1", "--prior-only"], 2, "--prior-only needs weights to start from: --start"),
        (["--steps", "1", "--decoder-only"], 2, "--decoder-only needs weights to start from: --start"),
        (["--steps", "1", "--finish", "x"], 2, "--finish needs weights to start from: --start"),
        (["--steps", "1", "--revive"], 2, "--revive needs weights to start from: --start"),
        (
            ["--steps", "1", "--start", "some", "--prior-only", "--decoder-only"],
            2,
            "--prior-only and --decoder-only exclude each other",
        ),
        (
            ["--steps", "1", "--start", "some", "--decoder-only", "--finish", "x"],
            2,
            "--decoder-only and --finish exclude each other",
        ),
        (
            ["--steps", "1", "--start", "some", "--prior-only", "--decoder-only", "--finish", "x"],
            2,
            "--prior-only and --decoder-only and --finish exclude each other",
        ),
        (
            ["--steps", "1", "--start", "some", "--revive", "--prior-only"],
            2,
            "--revive needs an autoencoder that learns",
        ),
        (["--start", "some", "--add-decoder", "x"], 2, "--add-decoder NAME and --to MODEL belong together"),
        (["--start", "some", "--steps", "1", "--stretch", "1.2"], 2, "--stretch needs --add-decoder"),
        (["--start", "some", "--steps", "1", "--since", "some"], 2, "--since needs --add-decoder"),
        (["--steps", "1", "--card", "some"], 2, "--card needs --finish"),
        (
            ["--steps", "1", "--start", "some", "--finish", "x", "--compile"],
            2,
            "--compile does not go with --finish",
        ),
        (["--minutes", "nan"], 2, "--minutes nan is not a finite number"),
        (["--steps", "1", "--rates", "inf"], 2, "--rates inf is not a finite number"),
        (
            ["--start", "some", "--add-decoder", "x", "--to", "some", "--stretch", "nan"],
            2,
            "--stretch nan is not a finite number",
        ),
        (["--start", "some", "--add-decoder", "x", "--to", "some"], 1, "some is not a readable model file"),
        (["--steps", "1", "--lpips-weights", "some"], 1, "the configuration has no table [perceptual]"),
        (["--steps", "1", "--start", "some"], 1, "some is not a readable weights file"),
    ],
)
def test_what_is_refused(run, arguments: list[str], code: int, words: str) -> None:
    result = run("train", "run.toml", "out", *arguments)
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert not list(Path().glob("out/*.safetensors"))


@pytest.mark.usefixtures("folder")
def test_a_configuration_that_is_not_toml_is_named(run) -> None:
    result = run("train", "some", "out", "--steps", 1)
    assert result.exit_code == 1
    assert result.stderr.startswith("bincodec: error: some is not a TOML file: ")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not a JSON file: "), ("[]", "is not a JSON object of names and values")]
)
def test_a_card_that_is_no_object_is_named(run, text: str, words: str) -> None:
    Path("card.json").write_text(text)
    finish = ("--steps", 1, "--start", "some", "--finish", "own-1", "--card", "card.json")
    result = run("train", "run.toml", "out", *finish)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"bincodec: error: card.json {words}")


@pytest.mark.usefixtures("folder")
def test_the_prior_alone_can_be_finished(run) -> None:
    before = torch.get_num_threads()
    try:
        common = ("--steps", 1, "--threads", 1, "--valid-photos", 1)
        assert run("train", "run.toml", "a", *common).exit_code == 0
        start = ("--start", "a/weights.safetensors", "--finish", "own-1", "--card", "card.json")
        for name, sampling, words in (
            ("m", {"guidance": 3}, ""),
            ("n", {"guidance": 3}, ""),
            (
                "o",
                {"guided-by": "class"},
                "'guided-by' is no setting of sampling; there are guidance, guided_by",
            ),
            ("o", {"guidance": "3"}, "sampling of the card has a wrong type or value"),
        ):
            Path("card.json").write_text(json.dumps({"sampling": sampling}))
            alone = ["--prior-only"] if name != "m" else []
            done = run("train", "run.toml", name, *common, *start, *alone)
            assert (done.exit_code, words in done.stderr) == (bool(words), True)
    finally:
        torch.set_num_threads(before)
    assert not Path("o").exists()
    decoders = [read_card(Path(name) / "own-1.safetensors").decoder_digests for name in ("m", "n")]
    assert decoders[0] != decoders[1]


@pytest.mark.usefixtures("folder")
def test_perceptual_needs_its_weights(run) -> None:
    Path("run.toml").write_text(CONFIG + "[perceptual]\nweight = 3\n")
    result = run("train", "run.toml", "out", "--steps", 1)
    assert (result.exit_code, "--lpips-weights" in result.stderr) == (1, True)
    result = run("train", "run.toml", "out", "--steps", 1, "--lpips-weights", "some")
    assert (result.exit_code, "some is not a readable weights file" in result.stderr) == (1, True)
    Path("run.toml").write_text(CONFIG + "[adversarial]\nweight = 3\n")
    result = run("train", "run.toml", "out", "--steps", 1)
    assert (result.exit_code, "[adversarial] needs [perceptual]" in result.stderr) == (1, True)


@pytest.mark.usefixtures("folder")
def test_a_second_decoder_is_added_on_the_command_line(run) -> None:
    before = torch.get_num_threads()
    try:
        common = ("train", "run.toml")
        threads = ("--threads", 1)
        start = ("--start", "a/weights.safetensors")
        assert run(*common, "a", "--steps", 2, *threads).exit_code == 0
        assert run(*common, "m", "--steps", 1, *threads, *start, "--finish", "own-1").exit_code == 0
        model = ("--start", "m/own-1.safetensors")
        done = run(*common, "b", "--steps", 2, *threads, *model, "--decoder-only", "--valid-photos", 1)
        assert done.exit_code == 0, done.stderr
        added = ("--add-decoder", "realism", "--to", "m/own-1.safetensors")
        done = run(*common, "n", "--start", "b/weights.safetensors", *added)
        assert done.exit_code == 0, done.stderr
        assert "own-1, decoders fidelity, realism" in done.stderr
    finally:
        torch.set_num_threads(before)
    cards = [read_card(Path(name) / "own-1.safetensors") for name in ("m", "n")]
    assert cards[1].decoders == ("fidelity", "realism")
    assert cards[0].fingerprint == cards[1].fingerprint


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("alone", [(), ("--start", "a/weights.safetensors", "--prior-only")])
def test_two_processes_train_one_model(run, alone: tuple[str, ...]) -> None:
    if alone:
        first = ("train", "run.toml", "a", "--steps", 1, "--threads", torch.get_num_threads())
        assert run(*first).exit_code == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = str(Path(sysconfig.get_path("scripts")) / "bincodec")
    words = ["train", "run.toml", "b", "--steps", "3", "--threads", "1", *alone]
    # Without the dashes, torchrun takes --start for one of its own options.
    command = [*launcher, "--no-python", "--", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "strides" not in done.stderr
    _, metadata = read_weights(Path("b/weights.safetensors"))
    last = metadata["history"][-1]
    of_each = last["crops"] // last["steps"] // 2
    assert (last["steps"], of_each) == (3, 8 if alone else 2)
    assert len(Path("b/log.jsonl").read_text().splitlines()) == 1
