"""`bincodec verify`: decode every bit of a .bld file and check every checksum."""

import time

import click

from bincodec.cli import coded, options, output, places


@click.command(
    epilog=options.examples("bincodec verify photo.bld", "bincodec verify photo.bld --quiet && echo whole")
)
@options.coded
@options.model_of_file
@options.max_pixels
@options.device
@options.as_json
@options.quiet
def command(
    source: str, model: str | None, max_pixels: int | None, device: str, as_json: bool, quiet: bool
) -> None:
    """Decode the bits of a .bld file and check all its checksums.

    Exit code 0 means that the file is whole and decodes here to the bits that were written.
    """
    data, limits = places.read(source), options.limits(max_pixels)
    start = time.perf_counter()
    codec, code = coded.unpack(source, data, model=model, device=device, limits=limits)
    seconds = time.perf_counter() - start
    facts = {
        "command": "verify",
        "input": source,
        "ok": True,
        "model": codec.model.card.name,
        "layers": code.layers,
        "bytes": len(data),
        "levels_sha256": code.digest(),
        "seconds": seconds,
    }
    if as_json or not quiet:
        text = f"{places.shown(source, 'standard input')}: ok, {code.layers} layers, {len(data)} bytes"
        output.result(text, facts, as_json=as_json)
