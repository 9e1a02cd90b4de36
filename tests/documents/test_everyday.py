"""The everyday commands and calls of docs/howto/everyday.md: one test each.

A block has to run and to print what the page says (`Console`). What the page cannot show is looked at here,
by a function for each call (`shows`): it gets what each command did, and of a block of Python the names.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

import bincodec
from bincodec.io import spaces

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "everyday.md"
CALLS = 42
WIDTH, HEIGHT = 200, 150
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\xc3\xa9</x:xmpmeta>'
ORIENTATIONS = range(1, 9)
UPRIGHT = (60, 30, 108, 62)
BEFORE_PYTHON = "import bincodec\nfrom PIL import Image\nfrom pathlib import Path\n"

CHECKS: dict[int, Callable[[Any], None]] = {}


class Call(NamedTuple):
    """A call of the page: its title, and language and source of its block."""

    title: str
    language: str
    source: str


def calls() -> dict[int, Call]:
    """The calls of the page by their numbers."""
    found = re.finditer(
        r"^### (\d+)\. (.*?)\n(?:(?!###).)*?^```(\w+)\n(.*?)^```$",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return {int(match[1]): Call(match[2], match[3], match[4]) for match in found}


def shows(number: int) -> Callable[[Callable[[Any], None]], None]:
    """Let a function look at what the call of that number has done."""

    def register(check: Callable[[Any], None]) -> None:
        assert number not in CHECKS, number
        CHECKS[number] = check

    return register


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], bytes]:
    """The file of a photo, compressed once for all tests."""
    kept: dict[bytes, bytes] = {}

    def compressed(photo: Path) -> bytes:
        data = photo.read_bytes()
        return kept.setdefault(data, kept.get(data) or bincodec.compress(data))

    return compressed


@pytest.fixture
def reader(stage: Path, made: Callable[[Path], bytes]) -> None:
    """What the page says that its reader has."""
    Path("cat.bld").write_bytes(made(Path("photo.jpg")))
    photo = Image.open("photo.jpg")
    photo.load()
    Path("photos/trip").mkdir()
    photo.crop((60, 40, 124, 88)).save("photos/trip/3.png")
    tagged = photo.crop((0, 0, 64, 48))
    tagged.putalpha(Image.linear_gradient("L").resize(tagged.size))
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP)
    tagged.save("tagged.png", icc_profile=wide_profile(), exif=exif(1), pnginfo=texts)
    Path("turned").mkdir()
    for orientation in ORIENTATIONS:
        held(photo.crop(UPRIGHT), orientation).save(
            f"turned/{orientation}.jpg", exif=exif(orientation), quality=95
        )


def wide_profile() -> bytes:
    """The profile of Display P3."""
    return spaces.profile(spaces.from_codes(12, 13), grey=False)


def exif(orientation: int) -> bytes:
    fields = Image.Exif()
    fields[ExifTags.Base.Make], fields[ExifTags.Base.Orientation] = "bincodec", orientation
    return fields.tobytes()


def held(image: Image.Image, orientation: int) -> Image.Image:
    """An upright picture as a camera stores it that was held so that Exif says `orientation`."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def pixels(picture: str | Image.Image) -> np.ndarray:
    if isinstance(picture, Image.Image):
        return np.asarray(picture)
    with Image.open(picture) as image:
        return np.asarray(image)


def psnr(first: str | Image.Image, second: str | Image.Image) -> float:
    error = np.mean((pixels(first).astype(float) - pixels(second)) ** 2)
    return float(10 * np.log10(255**2 / error))


def detail(picture: Image.Image) -> float:
    """How much neighbouring pixels differ."""
    return float(np.abs(np.diff(pixels(picture).astype(float), axis=1)).mean())


def size(name: str) -> int:
    return Path(name).stat().st_size


def names(folder: str = ".") -> set[str]:
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_the_page_has_so_many_calls_and_each_is_looked_at() -> None:
    assert list(calls()) == list(range(1, CALLS + 1))
    assert sorted(CHECKS) == list(calls())
    assert PAGE.read_text(encoding="utf-8").count("\n```") == 2 * CALLS


@pytest.mark.parametrize("number", calls(), ids=lambda number: f"{number} {calls()[number].title}")
@pytest.mark.usefixtures("reader")
def test_a_call_does_what_its_user_expects(number: int, console: Any) -> None:
    call = calls()[number]
    if call.language == "console":
        CHECKS[number](console.run_block(call.source))
    else:
        found: dict[str, Any] = {}
        exec(BEFORE_PYTHON + call.source, found)
        CHECKS[number](found)


# --- files -------------------------------------------------------------------------------------------------


@shows(1)
def _(done: Any) -> None:
    assert Path("photo.bld").read_bytes() == Path("cat.bld").read_bytes()
    assert bincodec.read_header("photo.bld").quality == 75
    assert size("photo.bld") < size("photo.jpg") / 3
    assert done[0].stdout == ""


@shows(2)
def _(done: Any) -> None:
    assert np.array_equal(pixels("cat.png"), bincodec.decompress("cat.bld"))
    assert psnr("cat.png", "photo.jpg") > 30
    assert done[0].stdout == ""


@shows(3)
def _(done: Any) -> None:
    assert Path("small.bld").read_bytes() == bincodec.compress("photo.jpg", quality=30)
    assert Path("same.bld").read_bytes() == Path("small.bld").read_bytes()
    assert size("small.bld") < size("cat.bld") / 2


@shows(4)
def _(done: Any) -> None:
    with Image.open("cat.webp") as webp, Image.open("cat.jpg") as jpeg:
        assert (webp.format, jpeg.format, webp.size, jpeg.size) == ("WEBP", "JPEG", *[(WIDTH, HEIGHT)] * 2)
        assert psnr(webp, "photo.jpg") > 28
        assert psnr(jpeg, "photo.jpg") > 28
        assert jpeg.getexif()[ExifTags.Base.ImageDescription] == "a cat"
    assert (done[1].stdout, done[1].stderr, done[2].code) == ("", "", 2)
    assert not Path("cat.gif").exists()


@shows(5)
def _(done: Any) -> None:
    assert done[0].code == 1
    assert Path("cat.bld").read_bytes() == bincodec.compress("photo.jpg", quality=10)


@shows(6)
def _(done: Any) -> None:
    assert Path("piped.bld").read_bytes() == Path("cat.bld").read_bytes()
    assert np.array_equal(pixels("piped.png"), bincodec.decompress("cat.bld"))
    assert (done[0].stderr, done[1].stdout) == ("", "")


# --- a size instead of a quality ---------------------------------------------------------------------------


@shows(7)
def _(done: Any) -> None:
    assert 0.98 * 2000 <= size("upload.bld") <= 2000
    bincodec.decompress("upload.bld")


@shows(8)
def _(done: Any) -> None:
    assert 0.98 * 0.5 <= 8 * size("half.bld") / (WIDTH * HEIGHT) <= 0.5


@shows(9)
def _(done: Any) -> None:
    assert 31.99 <= psnr(bincodec.decompress("sharp.bld"), "photo.jpg") <= 32.06  # Pixels are rounded.


@shows(10)
def _(done: Any) -> None:
    least = int(re.search(r"has (\d+) bytes", done[0].stderr)[1])  # type: ignore[index]
    assert least == len(bincodec.compress("photo.jpg", quality=0))
    assert (done[0].code, Path("tiny.bld").exists()) == (1, False)


@shows(11)
def _(done: Any) -> None:
    told = float(re.search(r"([\d.]+) dB$", done[0].stderr.strip())[1])  # type: ignore[index]
    assert abs(told - psnr(bincodec.decompress("best.bld"), "photo.jpg")) < 0.02
    assert size("best.bld") < size("cat.bld")


# --- metadata ----------------------------------------------------------------------------------------------


def assert_everything_is_kept(name: str) -> None:
    with Image.open(name) as image, Image.open("tagged.png") as tagged:
        assert (image.mode, image.size) == (tagged.mode, tagged.size)
        assert image.info["icc_profile"] == wide_profile()
        assert image.info["exif"] == exif(1)
        assert image.info["xmp"] == XMP
        assert np.array_equal(pixels(image.getchannel("A")), tagged.getchannel("A"))


@shows(12)
def _(done: Any) -> None:
    assert_everything_is_kept("tagged.bld")
    assert_everything_is_kept("tagged-back.png")
    assert Path("tagged.bld").read_bytes() == bincodec.compress("tagged.png")
    told = bincodec.decompress("tagged.bld").info
    assert (told["icc_profile"], told["exif"], told["xmp"]) == (wide_profile(), exif(1), XMP)
    assert not any("note" in one.stderr for one in done)


@shows(13)
def _(done: Any) -> None:
    bare, plain = (bincodec.decompress(name) for name in ("bare.bld", "plain.bld"))
    for image in (bare, plain):
        assert image.info.keys() == {"bld"}
    with Image.open("tagged.png") as tagged:
        seen = pixels(tagged)[..., 3] > 200
        wide = tagged.convert("RGB")
    there, srgb = ImageCms.ImageCmsProfile(io.BytesIO(wide_profile())), ImageCms.createProfile("sRGB")
    expected = ImageCms.profileToProfile(wide, there, srgb, ImageCms.Intent.RELATIVE_COLORIMETRIC)

    def distance(image: Image.Image, other: Image.Image | None) -> float:
        assert other is not None
        return float(np.abs(pixels(image)[seen][:, :3].astype(int) - pixels(other)[seen]).mean())

    assert distance(plain, expected) < distance(plain, wide)
    assert distance(bare, wide) < distance(bare, expected)


@shows(14)
def _(done: Any) -> None:
    with Image.open("photo.jpg") as photo:
        upright = photo.crop(UPRIGHT)
    for orientation in ORIENTATIONS:
        with Image.open(f"upright/{orientation}.png") as image:
            assert image.size == upright.size, orientation
            assert psnr(image, upright) > 30, orientation
            assert image.getexif()[ExifTags.Base.Orientation] == 1
            assert image.getexif()[ExifTags.Base.Make] == "bincodec"


# --- parts of a picture ------------------------------------------------------------------------------------


@shows(15)
def _(done: Any) -> None:
    whole = pixels(bincodec.decompress("cat.bld")).astype(int)
    assert np.abs(whole[8:56, 16:80] - pixels("part.png")).max() <= 1


@shows(16)
def _(done: Any) -> None:
    assert 18 < psnr("coarse.png", "photo.jpg") < psnr(bincodec.decompress("cat.bld"), "photo.jpg") - 3


@shows(17)
def _(done: Any) -> None:
    with Image.open("thumbnail.jpg") as thumbnail, Image.open("photo.jpg") as photo:
        assert psnr(thumbnail, photo.resize((64, 48), Image.Resampling.BICUBIC, reducing_gap=2.0)) > 25
        assert size("thumbnail.jpg") < 10_000


@shows(18)
def _(done: Any) -> None:
    assert (done[1].code, done[2].code) == (1, 0)
    assert np.array_equal(pixels("cut.png"), bincodec.decompress("cut.bld", missing="expect"))
    assert psnr("cut.png", "photo.jpg") > 24


@shows(19)
def _(done: Any) -> None:
    with Image.open("drawn.png") as drawn:
        assert (drawn.text["real_layers"], drawn.text["seed"]) == ("2", "7")
        again = bincodec.decompress("cat.bld", layers=2, missing="sample", seed=7)
        assert np.array_equal(pixels(drawn), again)


@shows(20)
def _(done: Any) -> None:
    assert np.array_equal(pixels("soft.png"), bincodec.decompress("small.bld"))
    assert np.array_equal(pixels("lively.png"), bincodec.decompress("small.bld", realism=0.5))
    with Image.open("soft.png") as soft, Image.open("lively.png") as lively:
        assert "decoder" not in soft.text
        assert (lively.text["decoder"], lively.text["realism"]) == ("realism", "0.5")
        assert detail(lively) > detail(soft)


# --- many pictures -----------------------------------------------------------------------------------------


@shows(21)
def _(done: Any) -> None:
    assert names("coded") == {"photo.bld", "1.bld"}
    assert Path("coded/photo.bld").read_bytes() == Path("cat.bld").read_bytes()


@shows(22)
def _(done: Any) -> None:
    assert names("coded") == {"1.bld", "2.bld", "trip/3.bld"}
    for name in names("coded"):
        source = Path("photos", name).with_suffix(".png")
        assert Path("coded", name).read_bytes() == bincodec.compress(source), name
    assert re.fullmatch(r".*\d pictures per second\n", done[0].stderr), "a pipe sees no bar"


@shows(23)
def _(done: Any) -> None:
    assert Path("coded/2.bld").read_bytes() == bincodec.compress("photos/2.png")
    assert {one.code for one in done} == {0}


@shows(24)
def _(done: Any) -> None:
    assert done[1].code == 1
    assert names("coded") == {"1.bld", "2.bld"}


@shows(25)
def _(done: Any) -> None:
    assert Path("report.jsonl").read_text() == done[1].stdout
    for line in map(json.loads, done[1].stdout.splitlines()):
        assert line["output"] == f"coded/{line['input'].replace('.png', '.bld')}"
        assert (line["status"], line["bytes"], line["error"]) == ("done", size(line["output"]), None)
    assert done[1].stderr == ""


@shows(26)
def _(done: Any) -> None:
    assert names("back") == {"1.jpg", "2.jpg"}
    assert psnr("back/1.jpg", "photos/1.png") > 28


# --- look and check ----------------------------------------------------------------------------------------


@shows(27)
def _(done: Any) -> None:
    facts = json.loads(done[1].stdout)
    assert (facts["width"], facts["height"], facts["bytes"]) == (WIDTH, HEIGHT, size("cat.bld"))
    assert (facts["metadata"].keys(), facts["damage"]) == ({"exif"}, [])
    parts = [int(part) for part in re.findall(r" (\d+) bytes, [\d.]+%", done[0].stdout)]
    assert sum(parts) == size("cat.bld"), "what the lines say is the whole file"
    assert (done[0].stderr, done[1].stderr) == ("", "")


@shows(28)
def _(done: Any) -> None:
    assert [one.code for one in done] == [0, 0, 1]
    assert (done[0].stderr, done[2].stdout) == ("", "")


@shows(29)
def _(done: Any) -> None:
    assert np.array_equal(pixels("shown.png"), bincodec.decompress("cat.bld"))
    assert [one.code for one in done[3:]] == [1, 1, 2]
    assert not Path("really-a-bld.bld").exists()


@shows(30)
def _(done: Any) -> None:
    assert all(one.code == 0 and one.stderr == "" for one in done)
    for words in (
        "0 gives the smallest file",
        "[default: 75",
        "bincodec compress photo.png small.bld --size 20k",
    ):
        assert words in done[1].stdout


@shows(31)
def _(done: Any) -> None:
    assert [one.code for one in done] == [2, 2, 2, 2, 2, 1]
    assert all(one.stdout == "" and one.stderr.count("\n") == 1 for one in done)


# --- in Python ---------------------------------------------------------------------------------------------


@shows(32)
def _(found: Any) -> None:
    assert found["data"] == Path("cat.bld").read_bytes() == Path("mine.bld").read_bytes()
    assert np.array_equal(pixels("mine.png"), found["image"])
    assert found["image"].info["bld"]["intact"]
    assert psnr(found["image"], "photo.jpg") > 30


@shows(33)
def _(found: Any) -> None:
    assert (len(found["made"]), len(set(found["made"]))) == (6, 1)
    assert isinstance(found["made"][0], bytes)


@shows(34)
def _(found: Any) -> None:
    assert 0.98 * 2000 <= len(found["upload"]) <= 2000


@shows(35)
def _(found: Any) -> None:
    assert (found["part"].size, found["coarse"].size) == ((64, 48), (WIDTH, HEIGHT))
    assert psnr(found["coarse"], "photo.jpg") < psnr(found["rest"], "photo.jpg")
    assert found["told"]["intact"] is False
    assert "ends at byte 2500" in found["told"]["damage"][0]


@shows(36)
def _(found: Any) -> None:
    assert found["small"] == bincodec.compress("photo.jpg", quality=20)
    assert found["soft"].info["bld"]["decoder"] == "fidelity"
    assert (found["told"]["decoder"], found["told"]["realism"]) == ("realism", 0.5)
    assert detail(found["lively"]) > detail(found["soft"])


@shows(37)
def _(found: Any) -> None:
    assert found["packed"] == bincodec.compress("photo.jpg", quality=50)
    better = [psnr(step, "photo.jpg") for step in found["steps"]]
    assert better == sorted(better)
    assert found["again"].digest() == found["code"].digest()


@shows(38)
def _(found: Any) -> None:
    assert found["failures"].keys() == {"photo.jpg", "nothing.bld"}
    assert isinstance(found["failures"]["photo.jpg"], bincodec.NotBld)
    assert isinstance(found["failures"]["nothing.bld"], OSError)
    assert str(found["failures"]["nothing.bld"]) == "nothing.bld: cannot be read: No such file or directory"
    with pytest.raises(ValueError, match=r"quality 101 is not an integer in 0\.\.100"):
        bincodec.compress("photo.jpg", quality=101)


@shows(39)
def _(found: Any) -> None:
    assert found["facts"] == ("BLD", (WIDTH, HEIGHT), "RGB", "a cat")
    assert found["turned"].size == (HEIGHT, WIDTH)
    assert np.array_equal(pixels(found["image"]), bincodec.decompress("cat.bld"))


@shows(40)
def _(found: Any) -> None:
    assert_everything_is_kept("tagged.bld")
    assert (found["kept"]["icc_profile"], found["kept"]["xmp"]) == (wide_profile(), XMP)
    assert bincodec.read_header("tagged.bld").quality == 60
    with Image.open(found["stream"]) as image:
        assert image.info.keys() == {"icc_profile", "xmp"}


@shows(41)
def _(found: Any) -> None:
    assert found["small"].size == (32, 24)
    assert found["small"].info["bld"]["layers"] < 6
    Path("cut.bld").write_bytes(Path("cat.bld").read_bytes()[:2500])
    with Image.open("cut.bld") as cut, pytest.raises(SyntaxError, match="ends at byte 2500"):
        cut.verify()


@shows(42)
def _(found: Any) -> None:
    assert np.array_equal(found["pixels"], bincodec.decompress("cat.bld"))
    assert bincodec.read_header("again.bld").quality == 30
