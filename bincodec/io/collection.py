"""List the pictures of a folder or a tar archive."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bincodec.errors import ImageError
from bincodec.io import streams

SUFFIXES = frozenset((".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""The suffixes of pictures. Other files of a folder or an archive are ignored."""


def pictures(source: Path, under: str = "") -> Iterator[tuple[PurePosixPath, str | bytes]]:
    """Yield the pictures of a folder with its sub-folders, or of a tar archive, in order of name.

    Each comes as its name, relative to the source, and its path or bytes. With `under`, only pictures in the
    folder of that name are taken, and in the folders below it.

    Raises:
        ImageError: if the source is neither a folder nor a whole archive.
        OSError: if the system does not allow reading it.
    """
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            name = PurePosixPath(path.relative_to(source).as_posix())
            if _is_wanted(name, under):
                yield name, str(path)
        return
    try:
        with tarfile.open(source) as archive:
            for member in sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name):
                name = PurePosixPath(member.name)
                if _is_wanted(name, under):
                    file = archive.extractfile(member) or io.BytesIO()
                    yield name, streams.read_on(file, name=f"{source}: {member.name}")
    except (tarfile.TarError, EOFError) as error:
        msg = f"{source}: the archive is damaged: {error}"
        raise ImageError(msg) from error


def _is_wanted(name: PurePosixPath, under: str) -> bool:
    above = PurePosixPath(under).parts
    return name.suffix.lower() in SUFFIXES and name.parts[: len(above)] == above
