"""Show a run as one HTML page that works offline: curves, tables and pictures side by side.

The page's own files are in `page_assets`. Plotly draws the curves and is included in compressed form. Every
value of a run is inserted as JSON and becomes a text node, never markup. The security policy of the page only
allows its own script and Plotly to run.
"""

import base64
import builtins
import functools
import hashlib
import importlib.resources
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bincodec.eval.errors import needed
from bincodec.eval.plain import plain

SCRIPTS = ("read.js", "series.js", "curves.js", "tables.js", "slider.js", "main.js")
"""The parts of the script, in order."""

STYLES = ("base.css", "curves.css", "tables.css", "slider.css", "narrow.css")
"""The parts of the style sheet, in order."""

SHOWN = ("anchor", "codecs", "metrics", "failures", "skipped", "means", "dropped", "bd", "curves")
"""The keys of a report that the page contains unchanged."""

_IMAGE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"RIFF": "image/webp"}


@dataclass(frozen=True)
class Picture:
    """What one codec made of an image: the size of its file, and its pixels as a PNG or lossless WebP file.

    Args:
        codec: the label of the codec.
        setting: the setting of the codec.
        bytes: the size of the codec's own file, not of `image`.
        bits_per_pixel: 8 times `bytes`, divided by the number of pixels.
        psnr: the PSNR in dB; inf if nothing was lost.
        image: the decoded picture as a complete PNG or WebP file.
    """

    codec: str
    setting: int
    bytes: int
    bits_per_pixel: float
    psnr: float
    image: builtins.bytes


@dataclass(frozen=True)
class Comparison:
    """One image coded by several codecs, each at the setting whose file is nearest to a target rate.

    Args:
        image: the name of the image.
        width: the width in pixels.
        height: the height in pixels.
        target_bits_per_pixel: the target rate.
        original: the image itself as a complete PNG or WebP file.
        pictures: one picture for each codec.
    """

    image: str
    width: int
    height: int
    target_bits_per_pixel: float
    original: bytes
    pictures: tuple[Picture, ...]


def page(report: Mapping[str, Any], comparisons: Sequence[Comparison] = ()) -> str:
    """Return one HTML file that shows a report and pictures side by side.

    Args:
        report: the content of report.json, schema 2. Its own `comparisons` are not used.
        comparisons: the pictures. Without any, the page has no section for them.

    Raises:
        NotInstalled: if the package `plotly` or `Jinja2` is missing.
        ValueError: if a picture is neither a PNG nor a WebP file.
    """
    with needed("the page needs", "plotly"):
        from plotly.offline import get_plotlyjs
    with needed("the page needs", "Jinja2"):
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    library = str(get_plotlyjs())
    pictures = _Pictures()
    content = {
        **{name: report[name] for name in SHOWN},
        "rows": _columns(report["rows"]),
        "pictures": [pictures.add(comparison) for comparison in comparisons],
    }
    script = "\n" + "\n".join(map(_asset, SCRIPTS))
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("page.html").render(
        policy=_policy(script, library),
        style="\n" + "\n".join(map(_asset, STYLES)),
        report=plain(content),
        library=_compressed(library),
        pictures=pictures.files,
        script=script,
    )


class _Pictures:
    """The image files of the page, as type, name and base64. Each is stored once, even if shown often."""

    def __init__(self) -> None:
        self.files: list[dict[str, str]] = []
        self._names: dict[bytes, str] = {}

    def add(self, comparison: Comparison) -> dict[str, Any]:
        """Return a comparison as the page's script reads it. Images are given by their elements' names."""
        return {
            "image": comparison.image,
            "width": comparison.width,
            "height": comparison.height,
            "target": comparison.target_bits_per_pixel,
            "original": self._name(comparison.original),
            "pictures": [
                {
                    "codec": picture.codec,
                    "setting": picture.setting,
                    "bytes": picture.bytes,
                    "bits_per_pixel": picture.bits_per_pixel,
                    "psnr": picture.psnr,
                    "source": self._name(picture.image),
                }
                for picture in comparison.pictures
            ],
        }

    def _name(self, image: bytes) -> str:
        digest = hashlib.sha256(image).digest()
        if digest not in self._names:
            kind = next((kind for magic, kind in _IMAGE_TYPES.items() if image.startswith(magic)), None)
            if kind is None:
                msg = f"a picture of the page must be a PNG or WebP file, not {image[:12]!r}..."
                raise ValueError(msg)
            name = self._names[digest] = f"picture-{len(self.files)}"
            self.files.append({"kind": kind, "name": name, "data": base64.b64encode(image).decode()})
        return self._names[digest]


def _policy(*scripts: str) -> str:
    """Return a Content-Security-Policy that allows only these scripts, by hash, and included pictures."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return (importlib.resources.files("bincodec.eval") / "page_assets" / name).read_text(encoding="utf-8")


@functools.lru_cache(maxsize=1)
def _compressed(library: str) -> str:
    """Compress the library and return it in base64: 2 MB instead of nearly 5. The page inflates it."""
    return base64.b64encode(zlib.compress(library.encode(), 9)).decode()


def _columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows as a list of columns and a list of values, so that keys are not repeated."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return {"columns": columns, "values": [[row.get(column) for column in columns] for row in rows]}
