"""Speed: what is timed and how often, whose memory is counted, and multiply-adds against sums by hand."""

import dataclasses
import json
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import bincodec
from bincodec.eval import compressai, networks, peers, process, speed, speed_report, timing
from bincodec.eval.errors import NotInstalled, UnknownCodec
from bincodec.eval.peers import Peer
from bincodec.eval.sweep import look
from bincodec.io import images
from bincodec.workers import in_order

Crops = dict[str, NDArray[np.uint8]]


# Processes


def test_a_process_is_told_from_its_parent() -> None:
    ballast = bytearray(b"x" * 300_000_000)
    small = process.run([sys.executable, "-c", "print('one'); print('two')"])
    large = process.run([sys.executable, "-c", "x = bytearray(b'x' * 300_000_000)"])
    assert len(ballast) == 300_000_000
    assert small.output == "one\ntwo"
    assert 0 < small.megabytes < 200
    assert large.megabytes > 300
    assert small.seconds > 0


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(process.ProcessFailed, match=r"^ValueError: no luck$"):
        process.run([sys.executable, "-c", "raise ValueError('no luck')"])
    with pytest.raises(process.ProcessFailed, match="exit code 3"):
        process.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_threads_are_a_limit_on_cores_as_well() -> None:
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    if hasattr(os, "sched_getaffinity"):
        code += "; print(len(os.sched_getaffinity(0)))"
    assert set(process.run([sys.executable, "-c", code], 1).output.split()) == {"1"}


# One codec on one picture


@dataclasses.dataclass
class Log:
    calls: list[str] = dataclasses.field(default_factory=list)

    def peer(self, shape: tuple[int, ...] = (2, 3, 3)) -> Peer:
        def encode(pixels: NDArray[np.uint8], setting: int) -> bytes:
            self.calls.append("encode")
            return bytes(setting)

        def decode(data: bytes) -> NDArray[np.uint8]:
            self.calls.append("decode")
            return np.zeros(shape, np.uint8)

        return Peer("fake", "a fake", (7,), (0, 9), encode, decode, lambda: self.calls.append("prepare"))


def test_a_codec_is_loaded_once_warmed_up_and_timed() -> None:
    log = Log()
    found = timing.measure(log.peer, np.zeros((2, 3, 3), np.uint8), 7, 3)
    assert log.calls == ["prepare", "encode", "decode", *["encode"] * 3, *["decode"] * 3]
    assert found.bytes == 7
    assert found.checked is None
    assert found.loaded_megabytes > 0
    assert 0 < found.encode.least <= found.encode.median


def test_a_codec_that_decodes_another_shape_is_not_timed() -> None:
    with pytest.raises(ValueError, match=r"decodes \(2, 3, 3\) as \(4, 3, 3\)"):
        timing.measure(lambda: Log().peer((4, 3, 3)), np.zeros((2, 3, 3), np.uint8), 7, 3)


def test_the_median_is_of_calls_and_the_least_their_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 4.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    assert timing.median(lambda: None, 3) == timing.Seconds(2.0, 1.0)


def test_bincodec_is_timed_with_its_check(codec: bincodec.Codec, crops: Crops) -> None:
    found = timing.measure(lambda: peers.bincodec(codec), crops["eye"], 50, 1)
    assert found.bytes == len(codec.pack(codec.encode(crops["eye"], 50)))
    assert found.checked is not None


# Networks


def test_multiply_adds_are_those_of_a_sum_by_hand(codec: bincodec.Codec) -> None:
    """64 x 48 pixels: 48 patches of 8 x 8, 12 positions."""
    block_8 = 8 * 8 + 9 * 8 + 8 * 8 + 2 * (8 * 16)
    block_16 = 12 * 12 + 9 * 12 + 12 * 12 + 2 * (12 * 24)
    modulation = 8 * (2 * 8) + 8 * (2 * 12)
    sides = 48 * (192 * 8 + block_8) + 12 * (32 * 12 + block_16 + 12 * 9) + modulation
    # The 3x3 stem first has 9 channels and 3 layers, and then the channels and the keep of the layer that was
    # added last.
    stems = [12 * 9 * channels * 16 for channels in (12, 3, 3, 3, 3, 4, 4)]
    # Two blocks have a depthwise 5x5 and a pointwise pair. The last pair runs at the pass's positions only.
    pair = 2 * (16 * 32)
    blocks = [12 * 2 * 25 * 16 + (12 + positions) * pair for positions in (4, 2, 4, 2, 6, 6, 12)]
    # The head gives location and scale of a layer's channels at the pass's positions. The 3 x 4 positions
    # form a quadtree, a checkerboard, and one phase.
    heads = [
        16 * 2 * channels * positions
        for channels, positions in [(2, 4), (2, 2), (2, 4), (2, 2), (3, 6), (3, 6), (4, 12)]
    ]
    found = {part.name: part.multiply_adds for part in networks.parts(codec, 64, 48, 50)}
    bodies = [sum(parts) for parts in zip(stems, blocks, heads, strict=True)]
    assert found.pop("prior, all passes") == sum(bodies)
    assert found == {
        "encoder": sides,
        "decoder": sides,
        **{f"prior, pass {index + 1}": body for index, body in enumerate(bodies)},
    }


def test_multiply_adds_of_parts_that_threads_compute_count_too() -> None:
    matrix, before = torch.ones(64, 64), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        counted = networks.multiply_adds(lambda: list(in_order("try", lambda _: matrix @ matrix, range(3))))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert counted == 3 * 64**3


def test_parameters_are_those_of_a_sum_by_hand(codec: bincodec.Codec) -> None:
    def pointwise(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    def block(width: int, kernel: int) -> int:
        return kernel * width + width + pointwise(width, 2 * width) + pointwise(2 * width, width)

    def stage(width: int) -> int:
        return pointwise(8, 2 * width) + 2 * pointwise(width, width) + block(width, 9)

    encoder = pointwise(192, 8) + stage(8) + pointwise(32, 12) + stage(12) + pointwise(12, 9) + 8 * 9
    decoder = pointwise(9, 12) + stage(12) + pointwise(12, 32) + stage(8) + pointwise(8, 192) + 8 * 9
    quality = pointwise(8, 16) + pointwise(8, 18)
    prior = pointwise(9 * 12, 16) + 2 * block(16, 25) + pointwise(16, 18) + quality
    found = {part.name: part.parameters for part in networks.parts(codec, 64, 48, 50)}
    assert (found["encoder"], found["decoder"], found["prior, all passes"]) == (encoder, decoder, prior)
    assert found["prior, pass 1"] is None


def job(image: Path, spec: str, tiny: Path, **changes: Any) -> timing.Job:
    return dataclasses.replace(timing.Job("networks", str(image), spec, 50, str(tiny), "cpu", 1), **changes)


def test_encoding_decodes_too_and_decoding_asks_the_prior(photos: list[Path], tiny: Path) -> None:
    parts = json.loads(timing.main(json.dumps(dataclasses.asdict(job(photos[0], "bincodec", tiny)))))
    work = {part["name"]: part["multiply_adds"] for part in parts}
    size = {part["name"]: part["parameters"] for part in parts}
    # The prior only computes what changes. In a real picture, less may change than if all levels do.
    decoding = work["decoder"] + work["prior, all passes"]
    with Image.open(photos[0]) as picture:
        pixels = picture.width * picture.height
    # Applying a post-filter takes products of 44 shared and 12 own features. Fitting it takes the products of
    # these, 1 and the error with each other, except between own features of different colours.
    apply, fit = 3 * (44 + 12) * pixels, (45 * 45 + 3 * (12 * 45 + 12 * 12) + 3 * (45 + 12)) * pixels
    assert 0.8 * decoding < work["decoding"] <= decoding + apply
    assert fit - apply <= work["encoding"] - work["encoder"] - work["decoding"] <= fit
    assert size["encoding"] == size["decoding"] + size["encoder"]


def test_a_codec_without_networks_has_nothing_to_count(photos: list[Path], tiny: Path) -> None:
    assert timing.main(json.dumps(dataclasses.asdict(job(photos[0], "jpeg", tiny)))) == "[]"


# A stand-in for CompressAI with its documented interface


class FakeNetwork(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 2, 1, bias=False)
        self.updated = False

    def update(self) -> bool:
        self.updated = True
        return True

    def compress(self, x: torch.Tensor) -> dict[str, Any]:
        assert self.updated
        assert x.shape[2] % 64 == x.shape[3] % 64 == 0
        self.convolution(x)
        levels = (255 * x).round().to(torch.uint8)
        return {"strings": [[levels.numpy().tobytes()], [b"side"]], "shape": torch.Size(x.shape[2:])}

    def decompress(self, strings: list[list[bytes]], shape: torch.Size) -> dict[str, torch.Tensor]:
        (levels,), (side,) = strings
        assert side == b"side"
        # The values are out of range, as those of networks may be.
        image = torch.frombuffer(bytearray(levels), dtype=torch.uint8).reshape(1, 3, *shape).float() / 255
        return {"x_hat": torch.where(image == 0, -0.5, image)}


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []

    def build(**options: Any) -> FakeNetwork:
        made.append(options)
        return FakeNetwork()

    package, module = ModuleType("compressai"), ModuleType("compressai.zoo")
    module.__spec__ = ModuleSpec("compressai.zoo", None)
    module.mbt2018_mean = module.cheng2020_anchor = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compressai", package)
    monkeypatch.setitem(sys.modules, "compressai.zoo", module)
    monkeypatch.setattr(compressai, "version", lambda name: "9.9")
    return made


@pytest.mark.parametrize("name", compressai.NAMES)
def test_compressai_goes_through_bytes_and_back(name: str, zoo: list[dict[str, Any]], crops: Crops) -> None:
    peer = timing.find(f"{name}:quality=3")
    assert peer.name == f"{name}:quality=3"
    assert "CompressAI 9.9" in peer.about
    assert "random weights" in peer.about
    assert (peer.settings, zoo) == ((3,), [])
    found = peer(crops["eye"], 3)
    assert np.array_equal(found.pixels, crops["eye"])
    assert len(found.data) == 10 + 4 + 3 * 64 * 64 + 4 + len(b"side")
    assert zoo == [{"quality": 3, "metric": "mse", "pretrained": False}]


def test_compressai_is_counted_as_a_whole(zoo: list[dict[str, Any]], photos: list[Path], tiny: Path) -> None:
    spec = "mbt2018_mean"
    encoding, decoding = timing.count(job(photos[0], spec, tiny, setting=4), np.zeros((48, 64, 3), np.uint8))
    assert encoding == {"name": "encoding", "parameters": 6, "multiply_adds": 6 * 64 * 64}
    assert decoding == {"name": "decoding", "parameters": 6, "multiply_adds": 0}


def test_compressai_that_does_not_import_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compressai", None)
    monkeypatch.delitem(sys.modules, "compressai.zoo", raising=False)
    reasons = set()
    for name in compressai.NAMES:
        with pytest.raises(
            NotInstalled, match="mbt2018_mean and cheng2020_anchor need the package"
        ) as failure:
            timing.find(name)
        reasons.add(str(failure.value))
    assert len(reasons) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mbt2018_mean:quality=9", "one of 1, 2"),
        ("cheng2020_anchor:quality=7", "one of 1, 2"),
        ("cheng2020_anchor:layers=7", "no option 'layers'"),
        ("mbt2018_mean:settings=1,2", "quality=4 is the only setting"),
    ],
)
def test_compressai_options_that_there_are_not(spec: str, message: str) -> None:
    with pytest.raises(UnknownCodec, match=message):
        timing.find(spec)


# A whole run


def plan(photos: list[Path], *specs: str) -> speed.SpeedPlan:
    pictures, _ = look([str(photo) for photo in photos])
    subjects = [speed.Subject(spec, timing.find(spec)) for spec in specs]
    return speed.SpeedPlan(pictures, subjects, 1, 1)


def test_every_codec_meets_every_picture(photos: list[Path]) -> None:
    report = speed.measure(plan(photos, "jpeg:settings=30", "webp:settings=10,20,30"))
    assert not report.failures
    assert [(row.image, row.codec, row.setting) for row in report.rows] == [
        (str(photo), codec, setting) for photo in photos for codec, setting in (("jpeg", 30), ("webp", 20))
    ]
    first = report.rows[0]
    data = peers.find("jpeg").encode(images.load(photos[0]).pixels, 30)
    assert (first.bytes, first.width, first.height) == (len(data), 64, 48)
    assert first.bits_per_pixel == 8 * len(data) / (64 * 48)
    assert first.checked_seconds is None
    assert 0 < first.loaded_megabytes <= first.megabytes
    assert (report.networks, report.commands) == ((), ())


def test_a_codec_without_torch_is_measured_without_it(photos: list[Path]) -> None:
    (row,) = speed.measure(plan(photos[:1], "jpeg")).rows
    assert row.megabytes < 150


def test_whole_processes_do_what_their_spec_says(
    photos: list[Path], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = bincodec.model.store.find(str(tiny))
    changed = dataclasses.replace(card, card={**card.card, "lambda_range": [1e-4, 0.1]})
    monkeypatch.setattr(bincodec.model.store, "find", lambda _: changed)
    programs: list[list[str]] = []

    def note(program: list[str], threads: int | None = None) -> process.Process:
        programs.append(list(program))
        return process.Process("", 1.0, 1.0)

    monkeypatch.setattr(process, "run", note)
    monkeypatch.setattr(speed, "_rows", lambda *_: [])
    monkeypatch.setattr(speed, "_networks", lambda *_: [])
    found = speed.measure(plan(photos[:1], "bincodec:layers=2", "bincodec:kernel=int64", "bincodec:effort=5"))
    assert [row.command for row in found.commands][2:] == ["bincodec compress", "bincodec decompress"]
    (compress,) = {tuple(program) for program in programs if "compress" in program}
    assert compress[compress.index("--effort") + 1] == "5"
    decompress = next(program for program in programs if "decompress" in program)
    assert "--effort" not in decompress
    assert decompress[decompress.index("--realism") + 1] == "0"
    assert not speed.measure(plan(photos[:1], "bincodec:layers=2", "jpeg")).commands


def test_networks_are_counted_with_their_own_kernel(photos: list[Path], tiny: Path, codec: Any) -> None:
    pixels = images.load(photos[0]).pixels
    usual, other = (timing.count(job(photos[0], f"bincodec{k}", tiny), pixels) for k in ("", ":kernel=int64"))
    assert usual == other


def test_a_process_that_fails_loses_its_cell_only(photos: list[Path]) -> None:
    chosen = plan(photos, "jpeg")
    photos[0].write_bytes(b"no image")
    report = speed.measure(chosen)
    assert [row.image for row in report.rows] == [str(photos[1])]
    reasons = {failure.reason for failure in report.failures}
    assert {(failure.image, failure.codec, failure.setting) for failure in report.failures} == {
        (str(photos[0]), "jpeg", 50)
    }
    assert all(reason.startswith(f"{photos[0]}: this is not an image") for reason in reasons)


def finished(photos: list[Path]) -> speed.Report:
    seconds = (0.5, 0.3, 0.2, 0.9, 0.8, 0.1, 0.05)
    rows = [
        speed.SpeedRow("a.png", "ours", 50, 100, 10, 250, 2.0, *seconds, 300.0, 400.0),
        speed.SpeedRow("b.png", "ours", 50, 100, 10, 500, 4.0, *seconds, 310.0, 500.0),
        speed.SpeedRow(
            "a.png", "other", 50, 100, 10, 250, 2.0, 0, 0.1, 0.1, None, None, 0.2, 0.1, 40.0, 50.0
        ),
        speed.SpeedRow(
            "a.png", "other", 80, 100, 10, 250, 2.0, 0, 0.1, 0.1, None, None, 0.2, 0.1, 40.0, 50.0
        ),
    ]
    parts = [("encoder", 12345, 2000.0), ("prior, pass 1", None, 100.0), ("prior, pass 2", None, 300.0)]
    found = [speed.Network("a.png", "ours", 50, *part) for part in parts]
    command = speed.Command(None, "bincodec --help", 0.07, 0.06, 20.4)
    machine = {"system": "Linux", "cores": 8, "usable_cores": 4, "load": 0.25, "python": "3.11"}
    chosen = dataclasses.replace(plan(photos, "jpeg"), repeat=5, threads=2)
    return speed.Report(chosen, machine, tuple(rows), tuple(found), (command,), ())


def test_the_tables_hold_means_by_codec_and_setting(photos: list[Path]) -> None:
    lines = [" ".join(line.split()) for line in speed_report.text(finished(photos)).splitlines()]
    assert lines[0].startswith("Linux, 2 of 8 cores, load 0.2 before; 2 pictures of 64x48, 48x64")
    assert "ours 50 3.000 0.300 (0.200) 0.900 0.100 (0.050) 0.50 500 310" in lines
    assert "other 50 2.000 0.100 (0.100) - 0.200 (0.100) 0.00 50 40" in lines
    assert sum(line.startswith("other 80") for line in lines) == 1
    assert "ours encoder 12,345 2.00" in lines
    assert "ours prior, mean of 2 passes - 0.20" in lines
    assert "bincodec --help 0.070 (0.060) 20" in lines


def test_the_json_is_tidy(photos: list[Path]) -> None:
    content = json.loads(json.dumps(speed_report.as_json(finished(photos), ["jxl is missing"])))
    assert content["schema"] == 1
    assert (content["threads"], content["repeat"], content["skipped"]) == (2, 5, ["jxl is missing"])
    assert list(content["codecs"]) == ["jpeg"]
    assert content["rows"][1]["bytes"] == 500
    assert content["rows"][2]["checked_seconds"] is None
    assert content["networks"][1]["part"] == "prior, pass 1"
    assert content["commands"][0]["seconds_least"] == 0.06
