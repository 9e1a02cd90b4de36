"""The options that several commands share."""

import click

force = click.option("-f", "--force", is_flag=True, help="Overwrite OUT if it exists.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
quiet = click.option("--quiet", is_flag=True, help="Say nothing but errors.")
max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    help="Accept images of up to this many pixels.  [default: 67108864]",
)
device = click.option(
    "--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, cuda:1."
)
