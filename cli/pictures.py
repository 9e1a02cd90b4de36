"""Where drawn pictures go: one file, or a folder; codes and traces stand beside the pictures."""

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
_EXISTS = "exists; --force overwrites what has the same name in it"
_NUMBERED = re.compile(rf"\d{{3,}}({re.escape(PICTURE)}|{re.escape(CODE)}|{re.escape(TRACE)})")


@dataclass(frozen=True)
class Pictures:
    """Checked places of `count` pictures, none of which is one of the `inputs`.

    With more than one they are files 000.png, 001.png and so on in the folder `destination`, unless they
    stand `together` in one image file, in rows of `columns`.
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

    def check_size(self, size: tuple[int, int], limits: Limits, *, states: int = 0) -> None:
        """Refuse pictures of `size` (width, height) that the image files would not hold, before any is drawn.

        `states` of a trace stand beside each other.

        Raises:
            click.UsageError: for more pixels a side than the format holds.
            InvalidSetting: for more pixels than the limit.
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
        """Refuse image files that hold no transparency, before any picture is drawn.

        Raises:
            click.UsageError: as it says.
        """
        from bincodec.errors import ImageError
        from bincodec.io import writing

        if self.extension != CODE:
            try:
                writing.check_alpha(self.extension)
            except ImageError as error:
                raise click.UsageError(str(error)) from error

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write finished files by path, all or none. A new folder appears with all of them in it.

        Raises:
            places.Occupied: if something of that name has appeared since `choose` looked.
            OSError: as the system reports it.
        """
        if self.in_folder and not os.path.isdir(self.destination) and self._made_folder(contents):
            return
        places.write(contents, force=self.force)

    def left_over(self, written: Collection[str]) -> list[str]:
        """Names in the folder that look like pictures of this run and are none, nor belong to one."""
        if not self.in_folder:
            return []
        new = {os.path.basename(path) for path in written}
        return sorted(
            name for name in os.listdir(self.destination) if _NUMBERED.fullmatch(name) and name not in new
        )

    def _made_folder(self, contents: Mapping[str, bytes]) -> bool:
        """Make the folder with all files in it, unless `force` is to go on in one that was made meanwhile."""
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
    """Settle where `count` pictures go and what stands beside them, before any work is done.

    In one image, they stand in rows of `columns`, about as many as there are rows if None.

    Raises:
        click.UsageError: for a format that cannot be written, or a name that does not fit the number.
        click.UsageError, places.Occupied, OSError: for any of the paths, as `places.check`.
    """
    pictures = Pictures(inputs, destination, count, together, columns or math.ceil(math.sqrt(count)), force)
    if pictures.in_folder:
        _check_folder(pictures, endings)
        return pictures
    places.check(inputs, destination, force=force, as_json=as_json)
    _check_extension(pictures)
    if endings and (destination == places.STANDARD or places.is_device(destination)):
        msg = f"{places.shown(destination, 'standard output')}: nothing can stand beside it: name a file"
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
    """The pictures `shown`, or their codes, or both, by path; each image file gets one of `texts`."""
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
        msg = f"{name}: one file does not hold {pictures.count} pictures: name a folder"
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
        msg = f"{destination}: there is no such folder to stand in"
        raise places.Occupied(msg)
    if os.path.lexists(destination) and not os.path.isdir(destination):
        msg = f"{destination}: exists and is no folder"
        raise places.Occupied(msg)
    if os.path.isdir(destination) and not force:
        msg = f"{destination}: {_EXISTS}"
        raise places.Occupied(msg)


def _check_pixels(what: str, size: tuple[int, int], limits: Limits) -> None:
    from bincodec.errors import InvalidSetting

    width, height = size
    if width * height > limits.pixels:
        msg = f"{what} {width} x {height}: {width * height} is over the limit pixels={limits.pixels}"
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
