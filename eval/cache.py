"""A cache of measurements: one small file for each result, named by a digest of everything it depends on.

If a file is missing, damaged or of another schema, the result is measured again and the file is replaced.
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
"""The version of the results. It is incremented when old results would have another meaning."""


@dataclass(frozen=True)
class Cache:
    """Results in a folder, which may not exist yet. Several processes may use it at once."""

    folder: Path

    def get(self, key: str) -> Any:
        """Return the value that was stored under `key`, or None if there is no intact one."""
        try:
            content = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(content, dict) or content.get("digest") != _digest(content.get("value")):
            return None
        return content["value"]

    def put(self, key: str, value: Any) -> None:
        """Store a value that JSON can represent. Readers see either all of it or nothing.

        Raises:
            OSError: if the system cannot write the file.
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
    """Return the default folder: a part of the system's cache folder of the user.

    Raises:
        NotInstalled: if the package `platformdirs` is missing.
    """
    with needed("the usual cache folder needs", "platformdirs"):
        import platformdirs
    return platformdirs.user_cache_path("bincodec", appauthor=False) / "eval"


def key(kind: str, *parts: object) -> str:
    """Return the key, in hexadecimal, of a result of some kind that depends on `parts`."""
    return hashlib.sha256(json.dumps([SCHEMA, kind, *map(str, parts)]).encode()).hexdigest()


def pixels_digest(pixels: Pixels) -> str:
    """Return the SHA-256 of a picture's samples and shape."""
    digest = hashlib.sha256(repr((pixels.shape, pixels.dtype.str)).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
