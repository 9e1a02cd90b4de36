"""A Markdown extension: formulas between dollars become MathML, which browsers draw without any script.

`pymdownx.arithmatex` finds the formulas and `latex2mathml` translates them. What stands here only joins the
two, while the site is built (`zensical.toml`).
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

_AFTER_INLINE = 15
"""Between inline patterns (20), which make the elements, and prettifying (10)."""


class Formulas(Treeprocessor):
    """Replaces the contents of elements of the class `arithmatex`, which are LaTeX in \\(\\) or \\[\\]."""

    def run(self, root: Element) -> None:
        """Translate every formula of a page."""
        for element in root.iter():
            if element.get("class") == "arithmatex" and element.text:
                latex = element.text.strip()
                display = "block" if latex.startswith("\\[") else "inline"
                element.text = ""
                formula = convert_to_element(latex[2:-2], display=display)
                # An unknown command comes through as it is.
                if any("\\" in (part.text or "") for part in formula.iter()):
                    msg = f"{latex} cannot be translated to MathML"
                    raise ValueError(msg)
                element.append(formula)


class Mathematics(Extension):
    """To be named after `pymdownx.arithmatex` with `generic` on."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Markdown's own name
        """Put the translation behind the search."""
        md.treeprocessors.register(Formulas(md), "mathematics", _AFTER_INLINE)


def makeExtension(**options: Any) -> Mathematics:  # noqa: N802 - Markdown's own name
    """What Markdown calls with the options of the extension."""
    return Mathematics(**options)
