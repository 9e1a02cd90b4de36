"""A Griffe extension: docstrings as Griffe expects them, where this project's differ."""

from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Renames two sections.

    "Example:" stands for "Examples:", which is code to be shown as code. What a typed dictionary calls
    "Args:" are its attributes, since nobody calls it.
    """

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Look at the docstring of everything that is loaded."""
        if obj.docstring is None:
            return
        text = obj.docstring.value.replace("Example:\n", "Examples:\n")
        if isinstance(obj, griffe.Class) and "TypedDict" in map(str, obj.bases):
            text = text.replace("Args:\n", "Attributes:\n")
        obj.docstring.value = text
