"""Register the format `.bld` with Pillow as soon as both Pillow and this package are imported.

Pillow does not look for plugins of other packages, so this package has to register itself. It does so when
any module imports `PIL.Image`, before or after `bincodec`, and does not import Pillow itself. `import
bincodec` therefore stays light. The code of the format is loaded with the first `.bld` file that is opened or
saved.
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
    """Register the format with Pillow: now if Pillow is imported, or else when it will be imported."""
    if _PILLOW in sys.modules:
        _tell_pillow()
    else:
        sys.meta_path.insert(0, _Watcher())


def _tell_pillow() -> None:
    from PIL import Image

    # The name has to be the same as `BldImageFile.format`.
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
    """A finder that waits for the first import of `PIL.Image`. It finds no other modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return what the other finders find for `PIL.Image`, with a loader that also registers the format.

        Finding a module does not mean that it is imported, so this finder stays until the loader has run.
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
    """A loader that loads `PIL.Image` with its own loader and then registers the format."""

    def __init__(self, own: importlib.abc.Loader, watcher: _Watcher) -> None:
        self._own = own
        self._watcher = watcher

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Create the module as its own loader does it."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module as its own loader does it. The module then names that loader as its own."""
        module.__loader__ = self._own
        if module.__spec__ is not None:
            module.__spec__.loader = self._own
        self._own.exec_module(module)
        with contextlib.suppress(ValueError):  # Another program has removed the finder from the list.
            sys.meta_path.remove(self._watcher)
        _tell_pillow()
