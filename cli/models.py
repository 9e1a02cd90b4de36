"""The command `bincodec models`, which lists the installed models."""

import click

from bincodec.cli import options, output


@click.command(epilog=options.examples("bincodec models", "BINCODEC_MODELS=my/models bincodec models"))
@options.as_json
def command(as_json: bool) -> None:
    """List the installed models, their decoders and classes.

    These are the models of the package, and those in the folder that the environment variable BINCODEC_MODELS
    names.
    """
    from bincodec.model import store

    cards = store.available()
    facts = {
        "command": "models",
        "models": [
            {
                "name": card.name,
                "fingerprint": card.fingerprint.hex(),
                "path": str(card.path),
                "decoders": list(card.decoders),
                "card": card.card,
            }
            for card in cards
        ],
    }
    lines = []
    for card in cards:
        lines.append(f"{card.name}  {card.fingerprint.hex()}  {card.path}")
        if len(card.decoders) > 1:
            lines.append(f"    decoders: {', '.join(card.decoders)}")
        if card.classes:
            lines.append(f"    classes: {', '.join(card.classes)}")
    output.result("\n".join(lines) or "no models are installed", facts, as_json=as_json)
