"""Sets of pictures from files, folders and archives."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bincodec.errors import ImageError, Unreadable
from bincodec.eval.picture_sets import read


def picture(value: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, (value, 0, 0))


def png(value: int, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    picture(value, size).save(buffer, "PNG")
    return buffer.getvalue()


def archive(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


@pytest.fixture
def tar(tmp_path: Path) -> str:
    return archive(
        tmp_path / "set.tar",
        {
            "train/hat/2.png": png(1),
            "heldout/shoe/9.png": png(3),
            "heldout/hat/1.png": png(2),
            "heldout/notes.txt": b"x",
        },
    )


def values(pixels: np.ndarray) -> list[int]:
    return pixels[:, 0, 0, 0].tolist()


def test_an_archive_is_read_in_order_under_a_prefix(tar: str) -> None:
    found = read([tar], under="heldout/")
    assert found.names == ("heldout/hat/1.png", "heldout/shoe/9.png")
    assert found.labels == ("hat", "shoe")
    assert values(found.pixels) == [2, 3]
    assert (len(found), found.size, found.pixels.shape) == (2, (40, 30), (2, 30, 40, 3))
    assert len(read([tar])) == 3


def test_folders_and_files_join(tar: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "cap"
    folder.mkdir(parents=True)
    picture(7).save(folder / "b.png")
    picture(6).save(folder / "a.webp", lossless=True)
    (folder / "notes.txt").write_text("x")
    picture(9).save(tmp_path / "single.png")
    found = read([str(tmp_path / "in"), str(tmp_path / "single.png"), tar])
    assert values(found.pixels) == [6, 7, 9, 2, 3, 1]
    assert found.labels[:2] == ("cap", "cap")
    assert values(read([str(tmp_path / "in")], under="cap").pixels) == [6, 7]
    with pytest.raises(ImageError, match="no pictures in it under ca"):
        read([str(tmp_path / "in")], under="ca")


def test_other_sizes_are_refused_or_fitted(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    picture(2, (80, 90)).save(tmp_path / "b.png")
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    with pytest.raises(ImageError, match="80 x 90 pixels, but others have 40 x 30: use --size"):
        read(paths)
    found = read(paths, size=(20, 20), fit=True)
    assert (found.size, values(found.pixels)) == ((20, 20), [1, 2])


def test_what_cannot_be_read_is_named(tmp_path: Path, tar: str) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ([str(tmp_path / "empty")], "empty: there are no pictures in it"),
        ([tar], "set.tar: there are no pictures in it under nothing/"),
    ):
        with pytest.raises(ImageError, match=words):
            read(arguments, under="nothing/" if arguments == [tar] else "")
    with pytest.raises(Unreadable, match="gone"):
        read([str(tmp_path / "gone")])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ImageError, match=r"text\.png: this is not an image"):
        read([str(tmp_path / "text.png")])
    bad = archive(tmp_path / "bad.tar", {"x/a.png": png(1)[:50]})
    with pytest.raises(ImageError, match=r"^x/a\.png: it is damaged"):
        read([bad])
    whole = Path(tar).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 4])
    with pytest.raises(ImageError):
        read([str(tmp_path / "cut.tar")])
