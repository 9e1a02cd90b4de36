"""What is done where nobody says otherwise. Needs nothing, so that the commands' help can name it at once."""

DEFAULT_QUALITY = 85
"""Of files: photographs look good at first sight, at about 35 dB and 1.5 bits per pixel
(docs/decisions/0021-default-quality.md)."""

DRAWN_QUALITY = 50
"""Of pictures that the prior draws, fills or varies: what docs/generation.md measured."""

DEFAULT_EFFORT = 0
