"""The contents of a page: one file, nothing from outside, and only text from the data."""

import base64
import hashlib
import json
import re
import sys
import zlib
from html.parser import HTMLParser
from typing import Any

import pytest

from bincodec.eval.errors import NotInstalled
from bincodec.eval.page import Comparison, page


class Elements(HTMLParser):
    """Collect all elements with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open = ""
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open == "script":
            self.scripts[-1] += data


def test_nothing_points_outside(sample: Any) -> None:
    for tag, attributes in Elements(sample.text).found:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            target = attributes.get(name)
            assert target is None or target.startswith("#") or target == "data:,", (tag, name, target)
        assert tag not in {"iframe", "object", "embed", "base"}
    style = sample.text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_what_comes_from_the_data_stays_in_its_element(sample: Any) -> None:
    elements = Elements(sample.text)
    tags = [tag for tag, _ in elements.found]
    # There are the data, the library, four pictures (each stored once, though shown often), and the program.
    assert tags.count("script") == 2 + 4 + 1
    assert tags.count("img") == 2
    content = json.loads(elements.scripts[0])
    assert {image for image, *_ in content["rows"]["values"]} == set(sample.images)
    assert [entry["image"] for entry in content["pictures"]] == [
        image for image in sample.images for _ in range(2)
    ]
    for letter in "<>&":
        assert letter not in elements.scripts[0]


def test_names_that_are_no_text_can_still_be_saved(sample: Any) -> None:
    """Python represents file names that are not UTF-8 with lone surrogates. They are shown as elsewhere."""
    failure = {"image": "bad\udcff.png", "reason": "x", "codec": None, "setting": None}
    text = page(sample.report(failures=[failure]))
    content = json.loads(Elements(text.encode().decode()).scripts[0])
    assert content["failures"][0]["image"] == "bad\\udcff.png"


def test_the_policy_lets_only_the_two_scripts_run(sample: Any) -> None:
    elements = Elements(sample.text)
    policy = next(a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    library = zlib.decompress(base64.b64decode(elements.scripts[1])).decode()
    assert "Plotly" in library
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in (elements.scripts[-1], library)
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert rules == {
        "default-src": "'none'",
        "script-src": " ".join(hashes),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_values_that_json_lacks_become_null(sample: Any) -> None:
    rows = [{"setting": 20, "psnr": float("inf"), "ms_ssim": float("nan")}]
    content = json.loads(Elements(page(sample.report(rows=rows))).scripts[0])
    (values,) = content["rows"]["values"]
    found = dict(zip(content["rows"]["columns"], values, strict=True))
    assert (found["psnr"], found["ms_ssim"], found["setting"]) == (None, None, 20)


def test_a_picture_must_be_a_picture(sample: Any) -> None:
    bad = Comparison("a.png", 1, 1, 0.5, b"\xff\xd8\xff\xe0 a JPEG is not lossless", ())
    with pytest.raises(ValueError, match="must be a PNG or WebP file"):
        page(sample.report(), [bad])


def test_without_the_library_it_says_how_to_get_it(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.delitem(sys.modules, "plotly.offline", raising=False)
    with pytest.raises(NotInstalled, match=re.escape("pip install 'bincodec[eval]'")):
        page(sample.report())


def schemes(text: str) -> dict[str, dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", text.partition("<style>")[2], re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return {"light": light, "dark": dark}


def contrast(first: str, second: str) -> float:
    """Return the ratio of relative luminances, 1 to 21, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(sample: Any, scheme: str) -> None:
    colours = schemes(sample.text)[scheme]
    for name in ("text", "muted", "accent"):
        for ground in ("surface", "ground", "tint"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    assert contrast(colours["alert"], colours["alert-ground"]) >= 4.5
    graphics = [name for name in colours if name.startswith("curve-")] + ["control", "fewer", "more"]
    assert len(graphics) == 8 + 3
    for name in graphics:
        assert contrast(colours[name], colours["surface"]) >= 3, name
