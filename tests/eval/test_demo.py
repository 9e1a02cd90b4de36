"""What the demonstration page shows: pictures and numbers, and the answers that carry them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import bincodec
from bincodec.defaults import DEFAULT_QUALITY
from bincodec.eval import demo, demo_server, metrics
from bincodec.eval.errors import NotInstalled, UnknownCodec

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def eye(crops: dict[str, Pixels]) -> Pixels:
    return crops["eye"]


@pytest.fixture(scope="module")
def compressed(codec: bincodec.Codec, eye: Pixels) -> demo.Compressed:
    return demo.compress(codec, eye, 60)


@pytest.fixture(scope="module")
def artist(bits_model: Path) -> bincodec.Codec:
    return bincodec.Codec.load(bits_model)


@pytest.fixture(scope="module")
def client(codec: bincodec.Codec, artist: bincodec.Codec) -> Any:
    return demo_server.application(codec, artist).test_client()


def mask_of(pixels: Pixels) -> bytes:
    marked = np.zeros(pixels.shape[:2], np.uint8)
    marked[16:32, 24:44] = 255
    return demo.png(marked)


def picture_in(url: str) -> Image.Image:
    kind, _, text = url.partition(",")
    assert kind == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def test_a_large_picture_is_made_smaller() -> None:
    small = demo.read(demo.png(np.full((20, 30, 3), 90, np.uint8)))
    large = demo.read(demo.png(np.full((300, 2048), 90, np.uint8)))
    assert (small.shape, large.shape) == ((20, 30, 3), (150, 1024, 3))
    assert (large == 90).all()
    with pytest.raises(bincodec.ImageError, match="not an image"):
        demo.read(b"text")


def test_the_numbers_are_those_of_the_whole_file(
    codec: bincodec.Codec, eye: Pixels, compressed: demo.Compressed
) -> None:
    shown = demo.decode(codec, compressed, compressed.code.layers)
    decoded = np.asarray(codec.decompress(compressed.data).convert("RGB"))
    assert (shown.pixels == decoded).all()
    assert shown.psnr == metrics.psnr(eye, decoded)
    assert (shown.size, shown.setting) == (len(compressed.data), 60)
    assert shown.bits_per_pixel == 8 * len(compressed.data) / (64 * 48)


def test_fewer_layers_are_fewer_bytes(codec: bincodec.Codec, compressed: demo.Compressed) -> None:
    every = [demo.decode(codec, compressed, layers) for layers in range(1, compressed.code.layers + 1)]
    sizes = [shown.size for shown in every]
    assert sizes == sorted(set(sizes))
    for shown, bits in zip(every, compressed.bits.sum((1, 2)).cumsum() / 8, strict=True):
        assert len(compressed.data) - shown.size == pytest.approx(compressed.bits.sum() / 8 - bits, abs=0.5)
    assert (every[0].pixels != every[-1].pixels).any()


def test_invented_detail_is_shown_from_the_same_file(two_decoders: Path, eye: Pixels) -> None:
    codec = bincodec.Codec.load(str(two_decoders))
    file = demo.compress(codec, eye, 60)
    soft, half, sharp = (demo.decode(codec, file, 3, realism) for realism in (0, 50, 100))
    for shown, realism in ((soft, 0.0), (half, 0.5), (sharp, 1.0)):
        expected = np.asarray(codec.decompress(file.data, realism=realism).convert("RGB"))
        assert (shown.pixels == expected).all()
    assert soft.size == half.size == sharp.size
    client = demo_server.application(codec, codec).test_client()
    assert client.get("/setup").json["realism"] is True
    name = client.post("/picture", data=demo.png(eye)).json["id"]
    answer = client.get(f"/compressed/{name}?quality=60&realism=50").json
    assert (np.asarray(picture_in(answer["picture"])) == half.pixels).all()
    assert client.get(f"/compressed/{name}?quality=60&realism=101").status_code == 400


@pytest.mark.parametrize("name", demo.BESIDE)
def test_others_stand_beside_at_about_the_same_bytes(name: str, eye: Pixels) -> None:
    shown = demo.beside(name, eye, 1500)
    assert shown.size == pytest.approx(1500, rel=0.15)
    assert shown.psnr == metrics.psnr(eye, shown.pixels) > 25
    assert shown.bits_per_pixel == 8 * shown.size / (64 * 48)


def test_no_other_codec_stands_beside(eye: Pixels) -> None:
    with pytest.raises(UnknownCodec, match="'jp2' is not one of jpeg, webp, avif"):
        demo.beside("jp2", eye, 1500)


def test_the_heat_map_is_brightest_where_most_bits_are(compressed: demo.Compressed) -> None:
    heat = np.asarray(demo.heat_map(compressed))
    assert heat.shape == (48, 64, 4)
    bits = compressed.bits.sum(0)
    row, column = np.unravel_index(bits.argmax(), bits.shape)
    hottest = heat[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
    assert (hottest == (255, 220, 0, 204)).all()
    order = heat[::16, ::16, 3].ravel()[bits.ravel().argsort()]
    assert (np.diff(order.astype(int)) >= 0).all()
    assert order[0] < order[-1]


def test_a_hole_is_filled_and_the_rest_stays(codec: bincodec.Codec, eye: Pixels) -> None:
    filled = np.asarray(demo.fill(codec, eye, mask_of(eye), 60, 3))
    assert (filled[:, :12] == eye[:, :12]).all()
    assert (filled[18:30, 26:42] != eye[18:30, 26:42]).any()
    assert (filled == np.asarray(demo.fill(codec, eye, mask_of(eye), 60, 3))).all()


def test_a_class_is_drawn(artist: bincodec.Codec) -> None:
    first, again, other = (demo.draw(artist, "dog", 50, seed) for seed in (1, 1, 2))
    assert first.size == (48, 32)
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_the_page_gets_what_it_asks_for(client: Any, codec: bincodec.Codec, eye: Pixels) -> None:
    setup = client.get("/setup").json
    assert (setup["model"], setup["layers"], setup["beside"]) == ("tiny-1", 3, ["jpeg", "webp", "avif"])
    assert (setup["quality"], setup["realism"]) == (DEFAULT_QUALITY, False)
    assert (setup["artist"], setup["classes"]) == ("bits-1", ["cat", "dog", "not sure"])
    added = client.post("/picture", data=demo.png(eye)).json
    assert (added["width"], added["height"]) == (64, 48)
    assert (np.asarray(picture_in(added["picture"])) == eye).all()
    answer = client.get(f"/compressed/{added['id']}?quality=60&layers=2").json
    expected = demo.decode(codec, demo.compress(codec, eye, 60), 2)
    assert (answer["bytes"], answer["layers"], answer["psnr"]) == (expected.size, 2, expected.psnr)
    assert (np.asarray(picture_in(answer["picture"])) == expected.pixels).all()
    assert picture_in(answer["heat"]).mode == "RGBA"
    whole = client.get(f"/compressed/{added['id']}?quality=60").json
    beside = client.get(f"/beside/{added['id']}/jpeg?quality=60").json
    assert beside["bytes"] == demo.beside("jpeg", eye, whole["bytes"]).size
    filled = client.post(f"/filled/{added['id']}?quality=60&seed=3", data=mask_of(eye)).json
    assert picture_in(filled["picture"]).tobytes() == demo.fill(codec, eye, mask_of(eye), 60, 3).tobytes()
    assert picture_in(client.get("/drawn?class=dog&seed=1&quality=50").json["picture"]).size == (48, 32)


def test_a_picture_without_error_has_no_finite_psnr(client: Any) -> None:
    name = client.post("/picture", data=demo.png(np.zeros((16, 16), np.uint8))).json["id"]
    answer = client.get(f"/beside/{name}/webp?quality=50")
    assert answer.json["psnr"] is None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/compressed/0?quality=50", "no longer remembered"),
        ("/compressed/{}", "quality '' is not an integer"),
        ("/compressed/{}?quality=101", "quality 101 is not an integer in 0..100"),
        ("/compressed/{}?quality=50&layers=0", "layers 0 is not an integer in 1..3"),
        ("/compressed/{}?quality=50&realism=50", "model tiny-1: decoder 'realism' is not"),
        ("/compressed/{}?quality=50&realism=101", "realism 101 is not an integer in 0..100"),
        (f"/compressed/{{}}?quality=50&realism=1{400 * '0'}", "is not an integer in 0..100"),
        ("/beside/{}/bincodec?quality=50", "'bincodec' is not one of jpeg, webp, avif"),
        ("/drawn?class=mouse&quality=50", "mouse"),
        ("/drawn?quality=50&seed=-1", "seed -1"),
    ],
)
def test_wrong_questions_are_answered_in_one_sentence(
    client: Any, eye: Pixels, path: str, words: str
) -> None:
    name = client.post("/picture", data=demo.png(eye)).json["id"]
    answer = client.get(path.format(name))
    assert answer.status_code == 400
    assert words in answer.json["error"]


def test_only_the_last_pictures_are_remembered(client: Any, eye: Pixels) -> None:
    names = [client.post("/picture", data=demo.png(eye)).json["id"] for _ in range(demo_server.KEPT + 1)]
    codes = [client.get(f"/compressed/{name}?quality=50").status_code for name in names]
    assert codes == [400] + [200] * demo_server.KEPT


def test_other_sites_are_refused(client: Any) -> None:
    assert client.get("/setup", headers={"Host": "photos.example"}).status_code == 400
    assert client.get("/setup", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.get("/setup", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/setup", headers=link).status_code == 403
    assert client.get("/", headers={**link, "Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_codecs_that_this_pillow_cannot_write_are_not_offered(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/setup").json["beside"] == ["jpeg", "webp", "avif"]
    honest = demo.peers.find

    def without_avif(spec: str) -> Any:
        if spec.startswith("avif"):
            raise NotInstalled(spec)
        return honest(spec)

    monkeypatch.setattr(demo.peers, "find", without_avif)
    assert client.get("/setup").json["beside"] == ["jpeg", "webp"]


def test_the_page_needs_no_other_site(client: Any) -> None:
    texts = [client.get(path).text for path in ("/", "/demo.css", "/demo.js")]
    assert all(len(text) > 1000 and "//" not in text.replace("// ", "") for text in texts)
    assert client.get("/").headers["Content-Security-Policy"].startswith("default-src 'none'; ")


def test_the_server_listens_on_this_machine_alone(codec: bincodec.Codec, artist: bincodec.Codec) -> None:
    server = demo_server.server(codec, artist, 0)
    try:
        assert server.socket.getsockname() == ("127.0.0.1", server.port)
        with pytest.raises(OSError, match="in use"):
            demo_server.server(codec, artist, server.port)
    finally:
        server.server_close()
