"""The demonstration page and its answers, for this machine alone.

The page asks for one thing at a time, and each answer is JSON whose pictures are data URLs. Nothing is
fetched from elsewhere: the page's policy forbids it.
"""

from __future__ import annotations

import base64
import functools
import importlib.resources
import secrets
import socket
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bincodec.defaults import DEFAULT_QUALITY
from bincodec.errors import BincodecError
from bincodec.eval import demo
from bincodec.eval.demo import Compressed
from bincodec.eval.errors import needed
from bincodec.eval.plain import plain
from bincodec.model.card import REALISTIC_DECODER

if TYPE_CHECKING:
    from flask import Flask, Request
    from werkzeug.serving import BaseWSGIServer

    from bincodec import Codec
    from bincodec.eval.peers import Pixels

ADDRESS = "127.0.0.1"
"""Nobody else's machine can ask."""

MOST_BYTES = 2**26
"""Of an uploaded picture."""

KEPT = 4
"""Pictures that are remembered, and files of each setting."""

STYLES = (("page_assets", "base.css"), ("demo_assets", "demo.css"), ("page_assets", "narrow.css"))
SCRIPTS = (("demo_assets", "brush.js"), ("demo_assets", "demo.js"))

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class NoPicture(BincodecError):
    """The page asks about a picture that is no longer remembered."""


@dataclass
class _Shelf:
    """The last pictures and what they were compressed to; several requests may ask for one thing at once."""

    codec: Codec
    pictures: OrderedDict[str, Pixels] = field(default_factory=OrderedDict)
    compressed: OrderedDict[tuple[str, int], Compressed] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, pixels: Pixels) -> str:
        # Nobody guesses such a name, and no page that is still open asks for the picture of another one.
        name = secrets.token_urlsafe(9)
        with self.lock:
            self.pictures[name] = pixels
            while len(self.pictures) > KEPT:
                self.pictures.popitem(last=False)
        return name

    def picture(self, name: str) -> Pixels:
        found = self.pictures.get(name)
        if found is None:
            msg = "this picture is no longer remembered: choose it again"
            raise NoPicture(msg)
        return found

    def file(self, name: str, quality: int) -> Compressed:
        pixels, key = self.picture(name), (name, quality)
        with self.lock:
            if key not in self.compressed:
                self.compressed[key] = demo.compress(self.codec, pixels, quality)
            while len(self.compressed) > KEPT:
                self.compressed.popitem(last=False)
            return self.compressed[key]


def application(codec: Codec, artist: Codec) -> Flask:
    """The page as a WSGI application: `codec` compresses and fills holes, `artist` draws new pictures.

    Raises:
        NotInstalled: without the package Flask.
    """
    with needed("the demonstration page needs", "flask", "demo"):
        from flask import Flask
    app = Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MOST_BYTES, TRUSTED_HOSTS=[ADDRESS, "localhost"])
    _add_rules(app)
    _add_page(app)
    _add_answers(app, _Shelf(codec), artist)
    return app


def _add_rules(app: Flask) -> None:
    from flask import Response, request

    @app.before_request
    def refuse_other_sites() -> tuple[dict[str, str], int] | None:
        how = [request.headers.get(f"Sec-Fetch-{name}", "none") for name in ("Site", "Mode", "Dest")]
        follows_link = request.path == "/" and how[1:] == ["navigate", "document"]
        if how[0] in ("none", "same-origin") or follows_link:
            return None
        return {"error": "another site asks"}, 403

    @app.after_request
    def add_policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(BincodecError)
    def explain(error: BincodecError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 400


def _add_page(app: Flask) -> None:
    from flask import Response

    @app.get("/")
    def page() -> str:
        return _text(("demo_assets", "demo.html"))

    @app.get("/demo.css")
    def style() -> Response:
        return Response("\n".join(map(_text, STYLES)), mimetype="text/css")

    @app.get("/demo.js")
    def script() -> Response:
        return Response("\n".join(map(_text, SCRIPTS)), mimetype="text/javascript")


def _add_answers(app: Flask, shelf: _Shelf, artist: Codec) -> None:
    from flask import request

    codec = shelf.codec

    @app.get("/setup")
    def setup() -> dict[str, Any]:
        return {
            "model": codec.model.card.name,
            "quality": DEFAULT_QUALITY,
            "layers": codec.model.card.architecture.layers,
            "realism": REALISTIC_DECODER in codec.model.card.decoders,
            "artist": artist.model.card.name,
            "classes": list(artist.model.card.classes),
            "beside": demo.besides(),
        }

    @app.post("/picture")
    def add() -> dict[str, Any]:
        pixels = demo.read(request.get_data())
        height, width = pixels.shape[:2]
        return {"id": shelf.add(pixels), "width": width, "height": height, "picture": _url(demo.png(pixels))}

    @app.get("/compressed/<name>")
    def compressed(name: str) -> dict[str, Any]:
        file = shelf.file(name, _number(request, "quality"))
        layers = min(_number(request, "layers", 255), file.code.layers)
        heat = _url(demo.png(demo.heat_map(file)))
        realism = _number(request, "realism", 0)
        shown = demo.decode(codec, file, layers, realism)
        return _answer(shown) | {"layers": layers, "realism": realism, "heat": heat}

    @app.get("/beside/<name>/<other>")
    def beside(name: str, other: str) -> dict[str, Any]:
        file = shelf.file(name, _number(request, "quality"))
        return _answer(demo.beside(other, file.original, len(file.data)))

    @app.post("/filled/<name>")
    def filled(name: str) -> dict[str, Any]:
        pixels, quality = shelf.picture(name), _number(request, "quality")
        image = demo.fill(codec, pixels, request.get_data(), quality, _number(request, "seed", 0))
        return {"picture": _url(demo.png(image))}

    @app.get("/drawn")
    def drawn() -> dict[str, Any]:
        label, quality = request.args.get("class") or None, _number(request, "quality")
        return {"picture": _url(demo.png(demo.draw(artist, label, quality, _number(request, "seed", 0))))}


def server(codec: Codec, artist: Codec, port: int) -> BaseWSGIServer:
    """A server of the page at `port` of this machine, any free one if 0; `serve_forever` runs it.

    Raises:
        NotInstalled: as `application`.
        OSError: if the port is taken.
    """
    app = application(codec, artist)

    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing of what goes well."""

    # Werkzeug would end the process itself if it bound the port and found it taken.
    with socket.create_server((ADDRESS, port)) as bound:
        return make_server(ADDRESS, port, app, threaded=True, request_handler=Quiet, fd=bound.fileno())


def _answer(shown: demo.Shown) -> dict[str, Any]:
    facts = {"bytes": shown.size, "setting": shown.setting, "psnr": plain(shown.psnr)}
    picture = _url(demo.png(shown.pixels))
    return facts | {"bits_per_pixel": shown.bits_per_pixel, "picture": picture}


def _number(request: Request, name: str, default: int | None = None) -> int:
    """A number of the address; what is none is told as such."""
    text = request.args.get(name, "" if default is None else str(default))
    try:
        return int(text)
    except ValueError as error:
        msg = f"{name} {text!r} is not an integer"
        raise BincodecError(msg) from error


def _url(file: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


@functools.cache
def _text(place: tuple[str, str]) -> str:
    return importlib.resources.files("bincodec.eval").joinpath(*place).read_text(encoding="utf-8")
