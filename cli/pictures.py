"""Choose the paths of drawn pictures, in one file or in a folder, with codes and traces beside them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bincodec.cli import places

if TYPE_CHECKING:
    from PIL import Image

    from bincodec import BinaryCode, Codec
    from bincodec.bitstream.limits import Limits


CODE = ".bld"
PICTURE = ".png"
TRACE = "-trace.png"
_EXISTS = "this folder exists; --force overwrites files of the same names in it"
_NUMBERED = re.compile(rf"\d{{3,}}({re.escape(PICTURE)}|{re.escape(CODE)}|{re.escape(TRACE)})")


@dataclass(frozen=True)
class Pictures:
    """The checked paths of `count` pictures. None of them is one of the `inputs`.

    Several pictures are files 000.png, 001.png and so on in the folder `destination`. If `together` is set,
    they are in one image file instead, in rows of `columns`.
    """

    inputs: Sequence[str]
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
        """The extension of the pictures, or CODE if only the code is to be written."""
        plain = self.destination != places.STANDARD and not places.is_device(self.destination)
        return Path(self.destination).suffix.lower() if plain and not self.in_folder else PICTURE

    def picture(self, index: int = 0) -> str:
        """Return the path of a picture."""
        return self._numbered(index, PICTURE) if self.in_folder else self.destination

    def beside(self, index: int, ending: str) -> str:
        """Return the path of the code or the trace of a picture. Pictures in one image share a trace."""
        if self.in_folder:
            return self._numbered(index, ending)
        number = f"-{self._name(index)}" if self.together and self.count > 1 and ending == CODE else ""
        return str(Path(self.destination).with_suffix("")) + number + ending

    def check_size(self, size: tuple[int, int], limits: Limits, *, states: int = 0) -> None:
        """Check that the image files can hold pictures of `size` (width, height), before any is drawn.

        `states` is the number of states of a trace, which are shown side by side.

        Raises:
            click.UsageError: if a side has more pixels than the format holds.
            InvalidSetting: if there are more pixels than the limit.
        """
        from bincodec.errors import ImageError
        from bincodec.io import writing
        from bincodec.io.contact_sheet import sheet_size

        shown = sheet_size(size, self.count, self.columns) if self.together else size
        if self.extension != CODE:
            try:
                writing.check_size(self.extension, *shown)
            except ImageError as error:
                raise click.UsageError(str(error)) from error
            _check_pixels("the grid" if self.together else "size", shown, limits)
        if states:
            every = states * (self.count if self.together else 1)
            _check_pixels("the trace", sheet_size(size, every, states), limits)

    def check_alpha(self) -> None:
        """Check that the image files can hold transparency, before any picture is drawn.

        Raises:
            click.UsageError: if their format cannot hold it.
        """
        from bincodec.errors import ImageError
        from bincodec.io import writing

        if self.extension != CODE:
            try:
                writing.check_alpha(self.extension)
            except ImageError as error:
                raise click.UsageError(str(error)) from error

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write the finished files, all or none. A new folder appears with all of them in it.

        `contents` has the bytes of each file by its path.

        Raises:
            places.Occupied: if a file or folder of that name has appeared since `choose` was called.
            OSError: if the system cannot write the files.
        """
        if self.in_folder and not os.path.isdir(self.destination) and self._made_folder(contents):
            return
        places.write(contents, force=self.force)

    def left_over(self, written: Collection[str]) -> list[str]:
        """Return the names in the folder that look like files of this run, but are from an earlier run."""
        if not self.in_folder:
            return []
        new = {os.path.basename(path) for path in written}
        return sorted(
            name for name in os.listdir(self.destination) if _NUMBERED.fullmatch(name) and name not in new
        )

    def _made_folder(self, contents: Mapping[str, bytes]) -> bool:
        """Make the folder with all files in it.

        Return False if the folder was made meanwhile and `force` allows writing into it.
        """
        from bincodec.io import files

        _refuse_folder(self.destination, self.force)
        try:
            named = {Path(path).name: data for path, data in contents.items()}
            places.deliver(contents, lambda: files.write_folder(self.destination, named))
        except FileExistsError as error:
            if not self.force:
                msg = f"{self.destination}: {_EXISTS}"
                raise places.Occupied(msg) from error
            return False
        return True

    def _numbered(self, index: int, ending: str) -> str:
        return os.path.join(self.destination, self._name(index) + ending)

    def _name(self, index: int) -> str:
        return f"{index:0{max(3, len(str(self.count - 1)))}}"


def choose(
    inputs: Sequence[str],
    destination: str,
    count: int,
    *,
    force: bool,
    as_json: bool,
    together: bool = False,
    columns: int | None = None,
    endings: Sequence[str] = (),
) -> Pictures:
    """Choose and check the paths of `count` pictures and of the files beside them, before any work is done.

    In one image, the pictures are in rows of `columns`. For None, there are about as many rows as columns.

    Raises:
        click.UsageError: if the format cannot be written, or if one file cannot hold several pictures.
        click.UsageError, places.Occupied, OSError: for any of the paths, as `places.check`.
    """
    pictures = Pictures(inputs, destination, count, together, columns or math.ceil(math.sqrt(count)), force)
    if pictures.in_folder:
        _check_folder(pictures, endings)
        return pictures
    places.check(inputs, destination, force=force, as_json=as_json)
    _check_extension(pictures)
    if endings and (destination == places.STANDARD or places.is_device(destination)):
        name = places.shown(destination, "standard output")
        msg = f"{name}: further files are written beside the output, so name a file"
        raise click.UsageError(msg)
    for path in {pictures.beside(index, ending) for index in range(count) for ending in endings}:
        places.check(inputs, path, force=force, as_json=as_json)
    return pictures


def contents(
    pictures: Pictures,
    codec: Codec,
    codes: Sequence[BinaryCode],
    shown: Iterable[Image.Image],
    texts: Sequence[Mapping[str, str]],
    *,
    save_codes: bool,
) -> dict[str, bytes]:
    """Return the bytes of the pictures `shown`, or of their codes, or both, by path.

    Each image file gets one of `texts`.
    """
    from bincodec.io import writing
    from bincodec.io.contact_sheet import contact_sheet

    if pictures.extension == CODE:
        return {pictures.picture(): codec.pack(codes[0], verify=True)}
    shown = list(shown)
    if pictures.together:
        shown = [contact_sheet(shown, pictures.columns)]
    result = {
        pictures.picture(index): writing.encode(image, pictures.extension, about)
        for index, (image, about) in enumerate(zip(shown, texts, strict=True))
    }
    if save_codes:
        result |= {pictures.beside(i, CODE): codec.pack(code, verify=True) for i, code in enumerate(codes)}
    return result


def _check_folder(pictures: Pictures, endings: Sequence[str]) -> None:
    from bincodec.io import files, writing

    destination = pictures.destination
    places.require_name(destination)
    suffix = Path(destination).suffix
    if destination == places.STANDARD or suffix.lower() == CODE or writing.is_of_pictures(suffix):
        name = places.shown(destination, "standard output")
        msg = f"{name}: one file cannot hold {pictures.count} pictures: name a folder"
        raise click.UsageError(msg)
    _refuse_folder(destination, pictures.force)
    if not os.path.isdir(destination):
        files.check_folder(os.path.dirname(destination.rstrip("/")) or ".", blamed=destination)
        return
    for index in range(pictures.count):
        for path in (pictures.picture(index), *(pictures.beside(index, ending) for ending in endings)):
            places.check(pictures.inputs, path, force=pictures.force, as_json=False)


def _refuse_folder(destination: str, force: bool) -> None:
    if not os.path.isdir(os.path.dirname(destination.rstrip("/")) or "."):
        msg = f"{destination}: the folder in which it should be does not exist"
        raise places.Occupied(msg)
    if os.path.lexists(destination) and not os.path.isdir(destination):
        msg = f"{destination}: this exists and is not a folder"
        raise places.Occupied(msg)
    if os.path.isdir(destination) and not force:
        msg = f"{destination}: {_EXISTS}"
        raise places.Occupied(msg)


def _check_pixels(what: str, size: tuple[int, int], limits: Limits) -> None:
    from bincodec.errors import InvalidSetting

    width, height = size
    if width * height > limits.pixels:
        msg = f"{what} {width} x {height} pixels: {width * height} is over the limit pixels={limits.pixels}"
        raise InvalidSetting(msg, option="pixels")


def _check_extension(pictures: Pictures) -> None:
    from bincodec.errors import ImageError
    from bincodec.io import writing

    if pictures.extension == CODE and not pictures.together:
        return
    try:
        writing.check_writable(pictures.extension)
    except ImageError as error:
        raise click.UsageError(str(error)) from error
