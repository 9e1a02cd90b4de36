"""Pillow learns of `.bld` files as soon as it and this package are imported; neither imports the other.

Pillow has no entry point through which it would find a plugin, so the plugin has to come to it. It comes with
`PIL.Image`, whoever imports that and whenever: `import bincodec` alone stays as light as it is. The format's
own code is loaded with the first file that begins like a `.bld`, or that is to become one.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageFile

_PILLOW = "PIL.Image"


def register() -> None:
    """Register the format with Pillow: now if it is imported, else when it is."""
    if _PILLOW in sys.modules:
        _tell_pillow()
    else:
        sys.meta_path.insert(0, _Watcher())


def _tell_pillow() -> None:
    from PIL import Image

    # The name is that of `BldImageFile.format`.
    Image.register_open("BLD", _opened, _begins_like_one)
    Image.register_save("BLD", _save)
    Image.register_extension("BLD", ".bld")
    Image.register_mime("BLD", "image/x-bld")


def _begins_like_one(prefix: bytes) -> bool:
    from bincodec.bitstream.header import MAGIC

    return prefix.startswith(MAGIC)


def _opened(file: IO[bytes], name: str | bytes) -> ImageFile.ImageFile:
    from bincodec.pillow_plugin import BldImageFile

    return BldImageFile(file, name)


def _save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    from bincodec.pillow_plugin import save

    save(image, file)


class _Watcher(importlib.abc.MetaPathFinder):
    """Waits for the first import of `PIL.Image`, and lets everything else pass."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """What the other finders find, with a loader that registers the format as well.

        Whoever asks need not import what is found, so this goes on waiting.
        """
        if fullname != _PILLOW:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = find and find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    """Loads `PIL.Image` by its own loader, and registers the format then."""

    def __init__(self, own: importlib.abc.Loader, watcher: _Watcher) -> None:
        self._own = own
        self._watcher = watcher

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As its own loader."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As its own loader, whose name the module carries afterwards."""
        module.__loader__ = self._own
        if module.__spec__ is not None:
            module.__spec__.loader = self._own
        self._own.exec_module(module)
        with contextlib.suppress(ValueError):  # Somebody has put another list in place of the one with us.
            sys.meta_path.remove(self._watcher)
        _tell_pillow()
