"""`bincodec info`: what a .bld file says about itself, without decoding it."""

from typing import Any

import click

from bincodec.cli import options, output, places


@click.command()
@options.coded
@options.max_pixels
@options.as_json
def command(source: str, max_pixels: int | None, as_json: bool) -> None:
    """Show size, quality, model, layers, alpha and metadata of a .bld file.

    Checks the checksums of header and chunks, alpha and metadata, not the bits: that is what verify does.
    Exit code 1 means that the file is damaged; what it says of itself is shown as far as its header is whole.
    """
    from bincodec import BincodecError
    from bincodec.bitstream import container
    from bincodec.bitstream.extras import METADATA, TITLES, Extras
    from bincodec.bitstream.extras import read as read_extras

    data, limits = places.read(source), options.limits(max_pixels)
    with places.named(source):
        header = container.read_header(data, limits)
    damage = None
    chunks: list[dict[str, Any]] = []
    extras = Extras()
    try:
        whole = container.read(data, limits)
        chunks += [{"layers": c.layers, "bytes": len(c.payload), "raw": c.raw} for c in whole.chunks]
        chunks += [{"ancillary": extra.kind, "bytes": len(extra.payload)} for extra in whole.ancillary]
        extras = read_extras(whole.ancillary, header.width, header.height, limits)
    except BincodecError as error:
        damage = str(error)
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
        "chunks": chunks,
        "bytes": len(data),
        "bits_per_pixel": 8 * len(data) / (header.width * header.height),
        "damage": damage,
    }
    colours = "grey" if header.grey else "colour"
    text = (
        f"{places.shown(source, 'standard input')}: {header.width} x {header.height} pixels, "
        f"{', '.join([colours, *(TITLES[name] for name in extras.names)])}, quality {header.quality}, "
        f"model {facts['model'] or 'not at hand, ' + facts['fingerprint']}, {header.layers} layers, "
        f"{len(data)} bytes, {facts['bits_per_pixel']:.3f} bits per pixel"
    )
    output.result(text, facts, as_json=as_json)
    if damage is not None:
        msg = f"{places.shown(source, 'standard input')}: {damage}"
        raise click.ClickException(msg)


def _model_name(fingerprint: bytes) -> str | None:
    from bincodec import UnknownModel
    from bincodec.model import store

    try:
        return store.find_for(fingerprint).name
    except UnknownModel:
        return None
