"""Make every figure of docs/explainer.md from the shipped models.

    python benchmarks/explainer.py [-o docs/explainer] [--only NAME ...]

Writes a sheet of pictures (WebP) for each figure, and data.js with the numbers that the page's figures show.
The seeds were not chosen by what came out. The photos are those of the scikit-image package: astronaut (NASA,
public domain), coffee (Rachel Michetti, CC0) and chelsea (Stefan van der Walt, CC0).
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage.data
import torch
from PIL import Image

from bincodec import BinaryCode, Codec
from bincodec.bitstream.levels import probability_of
from bincodec.coding.cost import cost
from bincodec.coding.passes import Context
from bincodec.eval.metrics import psnr
from bincodec.generation import samplers
from bincodec.generation.guidance import Guided, Tempered
from bincodec.generation.samplers import Words
from bincodec.generation.schedule import SCHEDULES
from bincodec.model.integer import KEEP_KNOWN

OUT = Path(__file__).resolve().parents[1] / "docs" / "explainer"
BITS = "clothing-1"
"""The model whose bits are shown. Its 64 bits a position are few enough to be seen."""

SEED = 3
STEPS = 16
GUIDANCE, TEMPERATURE = 2.0, 1.0
LABELS = ("pants", "tshirt", "longsleeve")
GUIDED = ("dress", "shorts", "tshirt")
WEIGHTS = (0.0, 1.0, 2.0, 4.0)
QUALITY = 50
PHOTOS = ("chelsea", "astronaut", "coffee")
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
"""One character for a probability in 64 steps."""

Figure = dict[str, Any]
Made = tuple[Figure, dict[str, Image.Image]]


@functools.cache
def codec(name: str) -> Codec:
    """A model, loaded once."""
    return Codec.load(name)


def sheet(rows: Sequence[Sequence[Image.Image]], side: int | None = None) -> Image.Image:
    """Rows of pictures of one size, without gaps: the page cuts them out again."""
    pictures = [
        [
            picture if side is None else picture.resize((side, side), Image.Resampling.LANCZOS)
            for picture in row
        ]
        for row in rows
    ]
    width, height = pictures[0][0].size
    result = Image.new("RGB", (width * len(pictures[0]), height * len(pictures)))
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            result.paste(picture.convert("RGB"), (x * width, y * height))
    return result


def drawn(label: str, guidance: float = GUIDANCE, count: int = 1) -> list[BinaryCode]:
    """Pictures of a class, as `bincodec sample --seed 3` draws them."""
    return codec(BITS).sample(
        count, seed=SEED, label=label, guidance=guidance, steps=STEPS, temperature=TEMPERATURE
    )


def by_position(channels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(64, h, w) as a picture (8 h, 8 w): the 64 channels of a position become a square of 8x8."""
    _, height, width = channels.shape
    squares = channels.reshape(8, 8, height, width).transpose(2, 0, 3, 1)
    return squares.reshape(8 * height, 8 * width)


def as_text(bits: npt.NDArray[np.uint8]) -> str:
    """Bits in rows as base64, eight to a byte, the first one highest."""
    return base64.b64encode(np.packbits(bits)).decode()


def bits_of(levels: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """The bits of all layers of a model of single bits, by position."""
    return by_position(np.concatenate(levels))


def random_pictures() -> Made:
    """What the decoder makes of fair coins, and of what the prior draws."""
    model, count = codec(BITS), 24
    (blank,) = model.sample(1, seed=SEED, steps=1)
    coins = [
        dataclasses.replace(blank, levels=samplers.add_noise(blank.levels, blank.maximum, 0, Words(SEED, i)))
        for i in range(count)
    ]
    samples = [drawn(label, count=3) for label in model.model.card.classes]
    likely = list(itertools.chain.from_iterable(samples))[:: len(samples) * 3 // count][:count]
    pictures = [model.decode(code) for code in (*coins, *likely)]
    return {"count": count}, {"random": sheet([pictures[i : i + 8] for i in range(0, 2 * count, 8)], 96)}


def gaussian() -> Made:
    """The pixels to which the page adds Gaussian noise, and five states of them."""
    side = 96
    pixels = np.array(Image.fromarray(skimage.data.chelsea()).crop((100, 20, 340, 260)).resize((side, side)))
    noise = np.random.default_rng(SEED).standard_normal(pixels.shape)
    frames = []
    for share in (1.0, 0.75, 0.5, 0.25, 0.0):
        noisy = np.sqrt(share) * (pixels / 127.5 - 1) + np.sqrt(1 - share) * noise
        frames.append(Image.fromarray(np.clip((noisy + 1) * 127.5, 0, 255).astype(np.uint8)))
    return {"side": side, "pixels": base64.b64encode(pixels.tobytes()).decode()}, {
        "gaussian": sheet([frames])
    }


def chain(
    levels: tuple[npt.NDArray[np.uint8], ...], keeps: Sequence[int], rng: np.random.Generator
) -> list[Any]:
    """The forward process, each state drawn from the one before: a bit is kept with k_t / k_(t-1)."""
    states = [levels]
    for before, after in itertools.pairwise(keeps):
        states.append(
            tuple(
                np.where(
                    rng.random(part.shape) < after / before, part, rng.integers(0, 2, part.shape, np.uint8)
                )
                for part in states[-1]
            )
        )
    return states


def forward() -> Made:
    """Pictures whose bits are lost step by step."""
    model, rng = codec(BITS), np.random.default_rng(SEED)
    keeps = samplers.keeps("linear", STEPS)[::-1]
    keeps = [KEEP_KNOWN, *keeps[1:]]
    rows, texts = [], []
    for label in LABELS:
        (code,) = drawn(label)
        states = chain(code.levels, keeps, rng)
        rows.append([model.decode(dataclasses.replace(code, levels=levels)) for levels in states])
        texts.append([as_text(bits_of(levels)) for levels in states])
    return {"labels": LABELS, "keeps": keeps, "bits": texts}, {"forward": sheet(rows, 112)}


def flip_probabilities(
    predictor: Guided, quality: int, levels: tuple[npt.NDArray[np.uint8], ...], keep: int
) -> npt.NDArray[np.float64]:
    """P(z_0 is not z_t | z_t) of every bit: the odds from all other bits times those of the bit itself."""
    architecture, (height, width) = predictor.architecture, levels[0].shape[1:]
    positions = np.arange(height * width)
    context = Context(architecture, height, width)
    for layer, part in enumerate(levels):
        context.add(layer, positions, part.reshape(len(part), -1), np.full(positions.size, keep))
    mu, scale = predictor.predict(context.values, quality, None, torch.from_numpy(positions))
    flat = np.concatenate([part.reshape(len(part), -1) for part in levels])
    others = probability_of(flat, mu.numpy(), scale.numpy(), 1)
    own = (KEEP_KNOWN + keep) / (KEEP_KNOWN - keep)
    return 1 / (1 + own * others / (1 - others)).reshape(-1, height, width)


def reverse() -> Made:
    """Pictures that come out of noise, and what the prior holds for flipped at every step."""
    model = codec(BITS)
    keeps = samplers.keeps("linear", STEPS)
    rows, texts, flips = [], [], []
    for label in LABELS:
        (code,) = drawn(label)
        number = model.model.card.classes.index(label) + 1
        words = Words(SEED, 0)
        noise = samplers.add_noise(code.levels, code.maximum, 0, words)
        steered = Tempered(Guided(model.model.prior, number, GUIDANCE), TEMPERATURE)
        states = [noise, *samplers.denoise(steered, code.quality, noise, keeps, words)]
        assert all((a == b).all() for a, b in zip(states[-1], code.levels, strict=True))
        rows.append([model.decode(dataclasses.replace(code, levels=levels)) for levels in states])
        texts.append([as_text(bits_of(levels)) for levels in states])
        seen = [
            flip_probabilities(Guided(model.model.prior, number), code.quality, levels, keep)
            for levels, keep in zip(states[:-1], keeps[:-1], strict=True)
        ]
        seen.append(np.zeros_like(seen[0]))
        flips.append(
            ["".join(DIGITS[i] for i in by_position((63 * p).round().astype(int)).ravel()) for p in seen]
        )
    data = {"labels": LABELS, "keeps": keeps, "bits": texts, "flips": flips, "digits": DIGITS}
    return data, {"reverse": sheet(rows, 112)}


def guidance() -> Made:
    """The same seeds, further and further away from the weaker prediction."""
    model = codec(BITS)
    rows = [
        [model.decode(code) for code in drawn(label, weight, 4)] for label in GUIDED for weight in WEIGHTS
    ]
    return {"labels": GUIDED, "weights": WEIGHTS}, {"guidance": sheet(rows, 96)}


def photo(name: str) -> npt.NDArray[np.uint8]:
    """A photo of scikit-image."""
    result: npt.NDArray[np.uint8] = getattr(skimage.data, name)()
    return result


def layers() -> Made:
    """A photo as its layers arrive: what is missing expected, and drawn."""
    model, original = codec("photo"), photo("chelsea")
    code = model.encode(original, QUALITY)
    rows: list[list[Image.Image]] = [[], []]
    facts = []
    for count in range(1, code.layers + 1):
        part = dataclasses.replace(code, levels=code.levels[:count], maximum=code.maximum[:count])
        if count < code.layers:
            part = dataclasses.replace(part, extras=())
        expected = model.decode(part)
        rows[0].append(expected)
        rows[1].append(
            model.decode(model.complete(part, seed=SEED).code) if count < code.layers else expected
        )
        facts.append({"bytes": len(model.pack(part)), "psnr": round(psnr(original, np.array(expected)), 2)})
    return {"quality": QUALITY, "layers": facts}, {"layers": sheet(rows)}


def where_bits_go() -> Made:
    """What each position of a photo costs, layer by layer, in tenths of a bit."""
    model, data, pictures = codec("photo"), [], {}
    for name in PHOTOS:
        original = photo(name)
        code = model.encode(original, QUALITY)
        bits = cost(model.model.prior, code)
        height, width = original.shape[:2]
        data.append(
            {
                "name": name,
                "size": [width, height],
                "grid": list(code.grid)[::-1],
                "bytes": len(model.pack(code)),
                "tenths": [np.rint(10 * layer).astype(int).ravel().tolist() for layer in bits],
            }
        )
        pictures[f"bits-{name}"] = Image.fromarray(original)
        pictures[f"bits-{name}"].thumbnail((448, 448), Image.Resampling.LANCZOS)
    shown = np.array([sum(map(sum, one["tenths"])) / 10 for one in data])
    assert (shown > 0).all()
    pictures["bits"] = heat_map(data[0], pictures["bits-chelsea"])
    return {"quality": QUALITY, "photos": data}, pictures


def heat_map(one: Figure, picture: Image.Image) -> Image.Image:
    """A photo beside its bits by position, for those without scripts."""
    columns, rows = one["grid"]
    total = np.array(one["tenths"]).sum(0).reshape(rows, columns)
    grey = Image.fromarray(np.rint(255 * total / total.max()).astype(np.uint8))
    return sheet([[picture, grey.resize(picture.size, Image.Resampling.NEAREST)]])


def schedules() -> Made:
    """How much of a bit is left, by schedule: the numbers of three curves."""
    times = [step / 64 for step in range(65)]
    return {name: [round(schedule(time), 4) for time in times] for name, schedule in SCHEDULES.items()}, {}


FIGURES: dict[str, Callable[[], Made]] = {
    "random": random_pictures,
    "gaussian": gaussian,
    "forward": forward,
    "reverse": reverse,
    "guidance": guidance,
    "layers": layers,
    "bits": where_bits_go,
    "schedules": schedules,
}


def main() -> None:
    """Make all figures, or those that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    parser.add_argument("--only", nargs="*", choices=FIGURES, default=list(FIGURES))
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    script = chosen.output / "data.js"
    data = json.loads(script.read_text().partition("=")[2].rstrip(";\n")) if script.exists() else {}
    for name in chosen.only:
        data[name], pictures = FIGURES[name]()
        for title, picture in pictures.items():
            picture.save(chosen.output / f"{title}.webp", quality=76, method=6)
    text = json.dumps({name: data[name] for name in FIGURES if name in data}, separators=(",", ":"))
    script.write_text(f"window.bincodecExplainer={text};\n", encoding="utf-8")
    for path in sorted(chosen.output.iterdir()):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
