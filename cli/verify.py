"""The command `bincodec verify`, which decodes every bit of .bld files and checks every checksum."""

import time
from functools import partial

import click

from bincodec.cli import coded, options, output, places
from bincodec.cli.batch.asked import Asked, alone, several
from bincodec.cli.batch.job import Made


@click.command(
    epilog=options.examples("bincodec verify photo.bld", "bincodec verify photo.bld --quiet && echo whole")
)
@several(writing=False)
@options.model_of_file
@options.max_pixels
@options.device
@options.as_json
@options.quiet
def command(
    names: tuple[str, ...],
    many: Asked,
    model: str | None,
    max_pixels: int | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decode all bits of .bld files and check all checksums.

    Exit code 0 means that the files are whole, and that this machine decodes the bits that were written.
    """
    work = partial(_verified, model=model, max_pixels=max_pixels, device=device)
    ends = alone(names, many)
    if ends is None:
        common = options.reading(device=device, as_json=as_json, quiet=quiet)
        coded.batch("verify", work, "", model, common).run(names, many)
        return
    source, _ = ends
    many.set_threads()
    made = work(source, places.given(source), "")
    if as_json or not quiet:
        output.result(made.text, made.facts, as_json=as_json)


def _verified(
    source: str,
    given: str | bytes,
    _destination: str,
    *,
    model: str | None,
    max_pixels: int | None,
    device: str,
) -> Made:
    """Decode all bits of one file and return what was found."""
    from bincodec.io import files

    data, limits = files.read(given), options.limits(max_pixels)
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
    layers = output.counted(code.layers, "layer")
    text = f"{places.shown(source, 'standard input')}: ok, {layers}, {len(data)} bytes"
    return Made(facts, text)
