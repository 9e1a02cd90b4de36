"""Convert values for JSON, CSV and terminals: text to valid UTF-8, and numbers to finite ones."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    r"""Return text whose parts that are not UTF-8 are escaped. A path `bad\xff.png` becomes `bad\udcff.png`.

    Python represents such bytes as lone surrogates, and its standard error shows them in the same way.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def plain(value: Any) -> Any:
    """Convert dataclasses, sequences and mappings to lists and dictionaries. Infinity and nan become None."""
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
    """Return readable JSON of any value that `plain` accepts."""
    return json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
