"""The values that apply where a caller gives none.

This module imports nothing, so the help of a command can name them at once.
"""

DEFAULT_QUALITY = 75
"""The quality of files. Photographs look good at first sight (docs/decisions/0021-default-quality.md)."""

DRAWN_QUALITY = 50
"""The quality of pictures that the prior draws, fills or varies. docs/generation.md measured them at it."""

DEFAULT_EFFORT = 0
