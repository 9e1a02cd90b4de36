"""Put several pictures of one size into one picture, in rows and columns, with white lines between them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

GAP = 2
"""The number of white pixels between two pictures."""


def sheet_size(size: tuple[int, int], count: int, columns: int) -> tuple[int, int]:
    """Return the width and height in pixels of a sheet of `count` pictures of `size` (width, height)."""
    width, height = size
    return columns * (width + GAP) - GAP, -(-count // columns) * (height + GAP) - GAP


def contact_sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Return one RGB image that shows `pictures` in rows of `columns`. All of them have one size."""
    width, height = pictures[0].size
    result = Image.new("RGB", sheet_size((width, height), len(pictures), columns), "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        result.paste(picture, (column * (width + GAP), row * (height + GAP)))
    return result
