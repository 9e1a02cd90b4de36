"""Several pictures of one size in one: rows and columns, with a white line between them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

GAP = 2
"""Pixels between two pictures."""


def sheet_size(size: tuple[int, int], count: int, columns: int) -> tuple[int, int]:
    """Width and height of a sheet of `count` pictures of `size` (width, height)."""
    width, height = size
    return columns * (width + GAP) - GAP, -(-count // columns) * (height + GAP) - GAP


def contact_sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures of one size in rows of `columns`, GAP white pixels between them."""
    width, height = pictures[0].size
    result = Image.new("RGB", sheet_size((width, height), len(pictures), columns), "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        result.paste(picture, (column * (width + GAP), row * (height + GAP)))
    return result
