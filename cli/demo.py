"""The command `bincodec demo`, which serves a page that shows what the codec does to a photo."""

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
    help="The port of 127.0.0.1 for the page. 0 takes any free port.",
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
    """Show a page on which you can try the codec.

    Open the address that the command prints in a browser. The page compresses a photo at any quality and
    compares it with JPEG, WebP and AVIF at the same number of bytes. It shows how the picture arrives layer
    by layer, and where the bits go. It also fills holes and draws new pictures.

    Only this machine can open the page, and the page works without a network. The command needs
    `pip install 'bincodec[demo]'`. Ctrl-C ends it.
    """
    from bincodec import Codec
    from bincodec.eval import demo_server

    codec, drawing = Codec.load(model, device), Codec.load(artist, device)
    try:
        server = demo_server.server(codec, drawing, port)
    except OSError as error:
        # The text of the error also contains the address, so only its number is used.
        msg = f"port {port} cannot be used: {os.strerror(error.errno or 0)} (--port 0 takes a free one)"
        raise click.ClickException(msg) from error
    standard.print_text(f"http://{demo_server.ADDRESS}:{server.port}/")
    server.serve_forever()
    interruption.leave_at_work()  # An answer may still be computed, but nobody waits for it.
    raise KeyboardInterrupt  # Only Ctrl-C ends the server, and the server swallows it.
