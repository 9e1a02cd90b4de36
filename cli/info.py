"""`bincodec info`: what a .bld file says about itself, without decoding it."""

from functools import partial
from typing import Any

import click

from bincodec.cli import coded, options, output, places
from bincodec.cli.batch.asked import Asked, alone, several
from bincodec.cli.batch.job import Made


@click.command()
@several(writing=False)
@options.max_pixels
@options.as_json
def command(names: tuple[str, ...], many: Asked, max_pixels: int | None, as_json: bool) -> None:
    """Show size, quality, model, layers, alpha and metadata of .bld files.

    Checks the checksums of header, index and chunks, alpha and metadata, not the bits: that is what verify
    does. Exit code 1 means that the file is damaged; what it says of itself is shown as far as its header is
    whole.
    """
    work = partial(_told, max_pixels=max_pixels)
    ends = alone(names, many)
    if ends is None:
        coded.batch("info", work, "", None, options.reading(as_json=as_json)).run(names, many)
        return
    source, _ = ends
    made = work(source, places.given(source), "")
    output.result(made.text, made.facts, as_json=as_json)
    if made.failure is not None:
        raise click.ClickException(made.failure)


def _told(source: str, given: str | bytes, _destination: str, *, max_pixels: int | None) -> Made:
    """What one file says."""
    from bincodec import BincodecError
    from bincodec.bitstream import container
    from bincodec.bitstream.extras import METADATA, TITLES, Extras
    from bincodec.bitstream.extras import read as read_extras
    from bincodec.bitstream.header import Header
    from bincodec.io import files

    data, limits = files.read(given), options.limits(max_pixels)
    memory = container.Memory(data)
    with places.named(source):
        header = Header.parse(data, limits)
    damage: tuple[str, ...] = ()
    groups: list[dict[str, int]] = []
    kinds: list[dict[str, int]] = []
    extras = Extras()
    try:
        _, index, _ = container.read_index(memory, limits)
        for layers, entries in zip(index.groups, index.entries, strict=True):
            groups.append({"layers": layers, "bytes": sum(length for length, _ in entries)})
        kinds += [{"kind": kind, "bytes": length} for kind, length in index.extras]
        whole = container.read(memory, limits, partial=True)
        damage = whole.damage
        extras = read_extras(whole.extras, header.width, header.height, limits)
    except BincodecError as error:
        damage = (str(error),)
    facts: dict[str, Any] = {
        "command": "info",
        "input": source,
        "format": ".".join(map(str, header.version)),
        "width": header.width,
        "height": header.height,
        "grey": header.grey,
        "alpha": extras.alpha is not None,
        "metadata": {name: len(getattr(extras, name)) for name in METADATA if name in extras.names},
        "quality": header.quality,
        "model": _model_name(header.fingerprint),
        "fingerprint": header.fingerprint.hex(),
        "layers": header.layers,
        "tiles": len(header.tiles),
        "groups": groups,
        "extras": kinds,
        "bytes": len(data),
        "bits_per_pixel": 8 * len(data) / (header.width * header.height),
        "damage": list(damage),
    }
    colours = "grey" if header.grey else "colour"
    text = (
        f"{places.shown(source, 'standard input')}: {header.width} x {header.height} pixels, "
        f"{', '.join([colours, *(TITLES[name] for name in extras.names)])}, quality {header.quality}, "
        f"model {facts['model'] or 'not at hand, ' + facts['fingerprint']}, {header.layers} layers in "
        f"{output.counted(len(header.tiles), 'tile')}, {len(data)} bytes, "
        f"{facts['bits_per_pixel']:.3f} bits per pixel"
    )
    failure = None
    if damage:
        more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
        failure = f"{places.shown(source, 'standard input')}: {damage[0]}{more}"
    return Made(facts, text, failure=failure)


def _model_name(fingerprint: bytes) -> str | None:
    from bincodec import UnknownModel
    from bincodec.model import store

    try:
        return store.find_for(fingerprint).name
    except UnknownModel:
        return None
