"""`bincodec demo`: a page on this machine that shows what the codec does to a photo."""

import os

import click

from bincodec.cli import interruption, options, standard

PORT = 8047


@click.command(
    epilog=options.examples("bincodec demo", "bincodec demo --port 0 --model photo --artist clothing")
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="The port of 127.0.0.1 at which the page is; 0 takes any free one.",
)
@options.model
@click.option(
    "--artist",
    default="clothing",
    show_default=True,
    shell_complete=options.complete_models,
    help="The model that draws new pictures.",
)
@options.device
def command(port: int, model: str, artist: str, device: str) -> None:
    """Show a page on which to try the codec.

    Open the address that is printed in a browser. The page compresses a photo at any quality, shows JPEG,
    WebP and AVIF at the same bytes, the picture as its layers arrive, and where the bits go; and it fills
    holes and draws new pictures. Only this machine can open it, and it asks nobody else for anything. It
    needs the extra bincodec[demo]. Ctrl-C ends it.
    """
    from bincodec import Codec
    from bincodec.eval import demo_server

    codec, drawing = Codec.load(model, device), Codec.load(artist, device)
    try:
        server = demo_server.server(codec, drawing, port)
    except OSError as error:
        # The error's own text has the address as well.
        msg = f"port {port}: {os.strerror(error.errno or 0)} (--port 0 takes a free one)"
        raise click.ClickException(msg) from error
    standard.print_text(f"http://{demo_server.ADDRESS}:{server.port}/")
    server.serve_forever()
    interruption.leave_at_work()  # An answer may be on its way; nobody waits for it.
    raise KeyboardInterrupt  # Nothing else ends the server, which keeps the interruption to itself.
