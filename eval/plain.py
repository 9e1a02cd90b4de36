"""Values as JSON, CSV and a terminal can hold them: text that is UTF-8, numbers that are finite."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    r"""The text, what is no UTF-8 of it escaped: a path of the bytes `bad\xff.png` becomes `bad\udcff.png`.

    Python hands such bytes over as lone surrogates, and its standard error shows them in the same way.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def plain(value: Any) -> Any:
    """Dataclasses, sequences and mappings as lists and dictionaries; None for what is not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(value: Any) -> str:
    """Readable JSON of whatever `plain` takes."""
    return json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
