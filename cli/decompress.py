"""`bincodec decompress`: a .bld file to an image."""

import time
from pathlib import Path

import click

from bincodec.cli import options, output, places

EXTENSION = ".png"


@click.command()
@click.argument("source", metavar="IN")
@click.argument("destination", metavar="[OUT]", required=False)
@click.option(
    "--layers", type=click.IntRange(min=1), help="Decode the first N layers only, a coarser picture."
)
@click.option("--partial", is_flag=True, help="Show what is intact of a truncated or damaged file.")
@click.option("--model", help="Decode with this model, a name or a .safetensors file.")
@options.max_pixels
@options.force
@options.device
@options.as_json
@options.quiet
def command(
    source: str,
    destination: str | None,
    layers: int | None,
    partial: bool,
    model: str | None,
    max_pixels: int | None,
    force: bool,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decompress a .bld file to an image.

    OUT is IN with the extension .png unless it is given, and its extension picks the format: png, jpg,
    webp, tif, bmp or ppm. - is standard input or output (as PNG).
    """
    ends = places.choose(source, destination, extension=EXTENSION, force=force, as_json=as_json)
    plain = not ends.to_standard_output and not places.is_device(ends.destination)
    extension = Path(ends.destination).suffix if plain else EXTENSION

    from bincodec import images

    try:
        images.check_writable(extension)
    except images.ImageError as error:
        raise click.UsageError(str(error)) from error
    data = places.read(source)

    import bincodec

    limits = places.limits(max_pixels)
    start = time.perf_counter()
    with places.named(source):
        image = bincodec.decompress(
            data, layers=layers, partial=partial, model=model, device=device, limits=limits
        )
    seconds = time.perf_counter() - start
    ends.write(images.encode(image, extension))

    decoded = image.info["bld"]
    if not decoded["complete"]:
        output.note(f"the file is damaged: only its first {decoded['layers']} layers are shown", quiet=quiet)
    facts = {
        "command": "decompress",
        "input": source,
        "output": ends.destination,
        "width": image.width,
        "height": image.height,
        "grey": image.mode == "L",
        "quality": decoded["quality"],
        "model": decoded["model"],
        "layers": decoded["layers"],
        "complete": decoded["complete"],
        "bytes": len(data),
        "seconds": seconds,
    }
    line = (
        f"{places.shown(ends.destination, 'standard output')}: {image.width} x {image.height} pixels, "
        f"{decoded['layers']} layers, model {decoded['model']}, {seconds:.2f} s"
    )
    output.summary(line, facts, as_json=as_json, quiet=quiet)
