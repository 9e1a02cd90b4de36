"""The command `bincodec info`, which shows what a .bld file says about itself, without decoding it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from bincodec.bitstream.index import ALPHA, POST_FILTER
from bincodec.cli import coded, options, output, places
from bincodec.cli.batch.asked import Asked, alone, several
from bincodec.cli.batch.job import Made

if TYPE_CHECKING:
    from bincodec.bitstream.extras import Extras
    from bincodec.bitstream.header import Header
    from bincodec.bitstream.limits import Limits
    from bincodec.model.card import ModelCard

_WIDTH = 16
"""The width in characters of the first column of the details."""


@dataclass(frozen=True)
class _Content:
    """What a file contains behind its header, as far as it could be read, and what is wrong with it."""

    groups: list[dict[str, int]]
    kinds: list[dict[str, int]]
    extras: Extras
    damage: tuple[str, ...]


@click.command(
    epilog=options.examples(
        "bincodec info photo.bld",
        "bincodec info photo.bld --bits",
        "bincodec info photo.bld --json",
    )
)
@several(writing=False)
@click.option("--bits", is_flag=True, help="Also show the bits of each layer. This loads the model.")
@options.max_pixels
@options.as_json
def command(names: tuple[str, ...], many: Asked, bits: bool, max_pixels: int | None, as_json: bool) -> None:
    """Show what .bld files say about themselves.

    The first line describes the picture: name, size in pixels, mode, bytes, bits per pixel, quality and
    model. The mode is RGB or L (grey), with an A if there is transparency. The other lines say what the bytes
    are used for. For several files, only their first lines are shown.

    All checksums of the parts of a file are checked, but the bits are not decoded (`bincodec verify` does
    that). Exit code 1 means that a file is damaged. It is still shown as far as its header can be read.
    """
    work = partial(_told, bits=bits, max_pixels=max_pixels)
    ends = alone(names, many)
    if ends is None:
        one_line = partial(work, brief=True)
        common = options.reading(as_json=as_json)
        coded.batch("info", one_line, "", None, common, computes=bits).run(names, many)
        return
    source, _ = ends
    if bits:
        many.set_threads()
    made = work(source, places.given(source), "")
    output.result(made.text, made.facts, as_json=as_json)
    if made.failure is not None:
        raise click.ClickException(made.failure)


def _told(
    source: str,
    given: str | bytes,
    _destination: str,
    *,
    bits: bool,
    max_pixels: int | None,
    brief: bool = False,
) -> Made:
    """Return what one file says, or only its first line if `brief` is set."""
    from bincodec.bitstream.header import Header
    from bincodec.io import files

    data, limits = files.read(given), options.limits(max_pixels)
    name = places.shown(source, "standard input")
    with places.named(source):
        header = Header.parse(data, limits)
    content = _read(data, header, limits)
    facts = _facts(source, len(data), header, content)
    if bits:
        facts["layer_bits"] = None if content.damage else _layer_bits(source, data, limits)
    failure = None
    if content.damage:
        more = f" (and {len(content.damage) - 1} more)" if len(content.damage) > 1 else ""
        failure = f"{name}: {content.damage[0]}{more}"
    details = () if brief else _details(facts)
    return Made(facts, "\n".join([_first_line(name, facts), *details]), failure=failure)


def _read(data: bytes, header: Header, limits: Limits) -> _Content:
    from bincodec import BincodecError
    from bincodec.bitstream import container, extras

    memory = container.Memory(data)
    groups: list[dict[str, int]] = []
    kinds: list[dict[str, int]] = []
    try:
        _, index, _ = container.read_index(memory, limits)
        for layers, entries in zip(index.groups, index.entries, strict=True):
            groups.append({"layers": layers, "bytes": sum(length for length, _ in entries)})
        kinds += [{"kind": kind, "bytes": length} for kind, length in index.extras]
        whole = container.read(memory, limits, partial=True)
        found = extras.read(whole.extras, header.width, header.height, limits)
    except BincodecError as error:
        return _Content(groups, kinds, extras.Extras(), (str(error),))
    return _Content(groups, kinds, found, whole.damage)


def _facts(source: str, size: int, header: Header, content: _Content) -> dict[str, Any]:
    from bincodec.bitstream.extras import METADATA

    names, card = content.extras.names, _card(header.fingerprint)
    return {
        "command": "info",
        "input": source,
        "format": ".".join(map(str, header.version)),
        "width": header.width,
        "height": header.height,
        "grey": header.grey,
        "alpha": "alpha" in names,
        "metadata": {name: len(getattr(content.extras, name)) for name in METADATA if name in names},
        "quality": header.quality,
        "model": None if card is None else card.name,
        "decoders": [] if card is None else list(card.decoders),
        "fingerprint": header.fingerprint.hex(),
        "layers": header.layers,
        "tiles": len(header.tiles),
        "groups": content.groups,
        "extras": content.kinds,
        "bytes": size,
        "bits_per_pixel": 8 * size / (header.width * header.height),
        "damage": list(content.damage),
    }


def _layer_bits(source: str, data: bytes, limits: Limits) -> list[float]:
    """Return the cost of the levels of each layer in bits, as the model computes it."""
    codec, code = coded.unpack(source, data, model=None, device="cpu", limits=limits)
    return [float(layer.sum()) for layer in codec.cost(code)]


def _first_line(name: str, facts: dict[str, Any]) -> str:
    mode = ("L" if facts["grey"] else "RGB") + ("A" if facts["alpha"] else "")
    model = f"model {facts['model'] or facts['fingerprint'] + ' (not installed)'}"
    return (
        f"{name}: BLD {facts['width']}x{facts['height']} {mode}, {output.counted(facts['bytes'], 'byte')}, "
        f"{facts['bits_per_pixel']:.3f} bits per pixel, quality {facts['quality']}, {model}"
    )


def _details(facts: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each part of the file. The bytes of all lines together are those of the file."""
    from bincodec.bitstream.extras import METADATA, TITLES

    names = {ALPHA: "alpha", **{kind: name for name, kind in METADATA.items()}}
    yield _line("format", f"{facts['format']}, model fingerprint {facts['fingerprint']}")
    if len(facts["decoders"]) > 1:
        yield _line("decoders", ", ".join(facts["decoders"]))
    yield _line("layers", f"{facts['layers']} in {output.counted(facts['tiles'], 'tile')}")
    held = sum(part["bytes"] for part in [*facts["groups"], *facts["extras"]])
    # A file that was cut short has fewer bytes than its index says, so shares of it would mean nothing.
    whole = facts["bytes"] if held <= facts["bytes"] else None
    first = 1
    for group in facts["groups"]:
        last = first + group["layers"] - 1
        which = f"layer {first}" if first == last else f"layers {first}-{last}"
        yield _line(which, _share(group["bytes"], whole))
        first = last + 1
    for extra in facts["extras"]:
        field_name = names.get(extra["kind"])
        title = "post-filter" if extra["kind"] == POST_FILTER else f"extra 0x{extra['kind']:02X}"
        unpacked = facts["metadata"].get(field_name)
        more = "" if unpacked is None else f", {output.counted(unpacked, 'byte')} unpacked"
        yield _line(TITLES.get(field_name or "", title), _share(extra["bytes"], whole) + more)
    if not facts["damage"]:
        yield _line("header, checks", _share(facts["bytes"] - held, whole))
    pixels = facts["width"] * facts["height"]
    for number, bits in enumerate(facts.get("layer_bits") or [], 1):
        rate = f"{bits / pixels:.4f} bits per pixel"
        yield _line(f"bits of layer {number}", f"{bits:.0f}, {rate}")


def _line(what: str, value: str) -> str:
    return f"  {what:<{_WIDTH}} {value}"


def _share(size: int, whole: int | None) -> str:
    share = "" if whole is None else f", {size / whole:.1%}"
    return f"{output.counted(size, 'byte')}{share}"


def _card(fingerprint: bytes) -> ModelCard | None:
    from bincodec import UnknownModel
    from bincodec.model import store

    try:
        return store.find_for(fingerprint)
    except UnknownModel:
        return None
