"""What was measured once: one small file a result, named by the digest of everything it depends on.

A file that is missing, damaged or of another schema is no result: it is measured again and written anew.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bincodec.eval.errors import needed
from bincodec.eval.formats import Pixels

SCHEMA = 1
"""Raised when a result of old would mean something else today."""


@dataclass(frozen=True)
class Cache:
    """Results in a folder, which need not exist. Several processes may use it at once."""

    folder: Path

    def get(self, key: str) -> Any:
        """The value written under `key`, None where there is none that is intact."""
        try:
            content = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(content, dict) or content.get("digest") != _digest(content.get("value")):
            return None
        return content["value"]

    def put(self, key: str, value: Any) -> None:
        """Keep a value that JSON can hold; readers see all of it or nothing.

        Raises:
            OSError: as the system reports it.
        """
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            temporary.write_text(json.dumps({"digest": _digest(value), "value": value}), encoding="utf-8")
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"


def default_folder() -> Path:
    """Where the system keeps what a user's programs can compute again.

    Raises:
        NotInstalled: without the package `platformdirs`.
    """
    with needed("the usual cache folder needs", "platformdirs"):
        import platformdirs
    return platformdirs.user_cache_path("bincodec", appauthor=False) / "eval"


def key(kind: str, *parts: object) -> str:
    """The name of a result of some kind that depends on `parts`, in hexadecimal."""
    return hashlib.sha256(json.dumps([SCHEMA, kind, *map(str, parts)]).encode()).hexdigest()


def pixels_digest(pixels: Pixels) -> str:
    """SHA-256 of a picture's samples and shape."""
    digest = hashlib.sha256(repr((pixels.shape, pixels.dtype.str)).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
