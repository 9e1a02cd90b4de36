"""Why a file is refused, in the classes of FORMAT, "Strictness"."""

from __future__ import annotations

from typing import Literal, NoReturn

Kind = Literal[
    "not a .bld file",
    "truncated",
    "corrupt",
    "bits mismatch",
    "unsupported",
    "too large",
    "wrong model",
    "damaged model",
]


class Refused(Exception):
    """A file that this reader does not decode, and the class of the reason."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind


def refuse(kind: Kind, reason: str) -> NoReturn:
    """Refuse a file and give the reason."""
    raise Refused(kind, reason)
