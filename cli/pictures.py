"""Where drawn pictures go: one file, or a folder; codes and traces stand beside the pictures."""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bincodec.cli import places

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec
    from bincodec.painting import PillowImage

CODE = ".bld"
PICTURE = ".png"
TRACE = "-trace.png"


@dataclass(frozen=True)
class Pictures:
    """Checked places of `count` pictures.

    With more than one they are files 000.png, 001.png and so on in the folder `destination`, unless they
    stand `together` in one image file, in rows of `columns`.
    """

    source: str
    destination: str
    count: int
    together: bool
    columns: int
    force: bool

    @property
    def in_folder(self) -> bool:
        """Whether `destination` is a folder."""
        return self.count > 1 and not self.together

    @property
    def extension(self) -> str:
        """The format of the pictures; CODE where there is to be no picture, only the code."""
        plain = self.destination != places.STANDARD and not places.is_device(self.destination)
        return Path(self.destination).suffix.lower() if plain and not self.in_folder else PICTURE

    def picture(self, index: int = 0) -> str:
        """The path of a picture."""
        return self._numbered(index, PICTURE) if self.in_folder else self.destination

    def beside(self, index: int, ending: str) -> str:
        """The path of what belongs to a picture: CODE, or TRACE (one for all that stand together)."""
        if self.in_folder:
            return self._numbered(index, ending)
        number = f"-{self._name(index)}" if self.together and self.count > 1 and ending == CODE else ""
        return str(Path(self.destination).with_suffix("")) + number + ending

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write finished files by path. A new folder appears with all of them in it, or not at all.

        Raises:
            places.Occupied: if something of that name has appeared since `choose` looked.
            OSError: as the system reports it.
        """
        if self.in_folder and not os.path.isdir(self.destination):
            self._write_folder(contents)
            return
        for path, data in contents.items():
            places.Places(self.source, path, self.force).write(data)

    def _write_folder(self, contents: Mapping[str, bytes]) -> None:
        from bincodec import files

        _refuse_folder(self.destination, self.force)
        temporary = Path(self.destination).parent / f".bincodec-{secrets.token_hex(8)}.tmp"
        temporary.mkdir()
        try:
            for path, data in contents.items():
                files.write(temporary / Path(path).name, data)
            temporary.rename(self.destination)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _numbered(self, index: int, ending: str) -> str:
        return os.path.join(self.destination, self._name(index) + ending)

    def _name(self, index: int) -> str:
        return f"{index:0{max(3, len(str(self.count - 1)))}}"


def choose(
    source: str,
    destination: str,
    count: int,
    *,
    force: bool,
    as_json: bool,
    together: bool = False,
    columns: int | None = None,
    endings: Sequence[str] = (),
) -> Pictures:
    """Settle where `count` pictures go and what stands beside them, before any work is done.

    In one image, they stand in rows of `columns`, about as many as there are rows if None.

    Raises:
        click.UsageError: for a format that cannot be written, or a name that does not fit the number.
        places.Occupied: if something is in the way and `force` is not set, or there is no folder to stand in.
    """
    pictures = Pictures(source, destination, count, together, columns or math.ceil(math.sqrt(count)), force)
    if pictures.in_folder:
        _check_folder(pictures)
        return pictures
    places.choose(source, destination, extension=PICTURE, force=force, as_json=as_json)
    _check_extension(pictures)
    if endings and (destination == places.STANDARD or places.is_device(destination)):
        msg = f"{places.shown(destination, 'standard output')}: nothing can stand beside it: name a file"
        raise click.UsageError(msg)
    for path in {pictures.beside(index, ending) for index in range(count) for ending in endings}:
        places.choose(source, path, extension="", force=force, as_json=as_json)
    return pictures


def contents(
    pictures: Pictures,
    codec: Codec,
    codes: Sequence[BinaryCode],
    shown: Iterable[PillowImage],
    *,
    save_codes: bool,
) -> dict[str, bytes]:
    """The pictures `shown`, or their codes, or both, by path."""
    from bincodec import images, painting

    if pictures.extension == CODE:
        return {pictures.picture(): codec.pack(codes[0], verify=True)}
    shown = list(shown)
    if pictures.together:
        shown = [painting.tiled(shown, pictures.columns)]
    result = {pictures.picture(i): images.encode(image, pictures.extension) for i, image in enumerate(shown)}
    if save_codes:
        result |= {pictures.beside(i, CODE): codec.pack(code, verify=True) for i, code in enumerate(codes)}
    return result


def _check_folder(pictures: Pictures) -> None:
    from bincodec.images import WRITABLE

    destination = pictures.destination
    if destination == places.STANDARD or Path(destination).suffix.lower() in (CODE, *WRITABLE):
        name = places.shown(destination, "standard output")
        msg = f"{name}: one file does not hold {pictures.count} pictures: name a folder"
        raise click.UsageError(msg)
    _refuse_folder(destination, pictures.force)


def _refuse_folder(destination: str, force: bool) -> None:
    if not os.path.isdir(os.path.dirname(destination.rstrip("/")) or "."):
        msg = f"{destination}: there is no such folder to stand in"
        raise places.Occupied(msg)
    if os.path.lexists(destination) and not os.path.isdir(destination):
        msg = f"{destination}: exists and is no folder"
        raise places.Occupied(msg)
    if os.path.isdir(destination) and not force:
        msg = f"{destination}: exists; --force overwrites what has the same name in it"
        raise places.Occupied(msg)


def _check_extension(pictures: Pictures) -> None:
    from bincodec import images

    if pictures.extension == CODE and not pictures.together:
        return
    try:
        images.check_writable(pictures.extension)
    except images.ImageError as error:
        raise click.UsageError(str(error)) from error
