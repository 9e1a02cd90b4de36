"""A Griffe extension: "Example:" in a docstring means what "Examples:" means, code to be shown as code."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Adds the letter by which Griffe knows such a section."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Look at the docstring of everything that is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")
