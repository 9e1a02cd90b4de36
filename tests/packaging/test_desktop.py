"""What tells a system about .bld files: file(1), the types of freedesktop.org, and thumbnails."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import bincodec
from bincodec.bitstream.header import FORMAT_VERSION, MAGIC

NAMESPACE = "{http://www.freedesktop.org/standards/shared-mime-info}"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "a photo's.bld"
    path.write_bytes(bincodec.compress(np.full((40, 300), 99, np.uint8), quality=37))
    return path


def described(packaging: Path, path: Path, *options: str) -> str:
    if shutil.which("file") is None:
        pytest.skip("this test needs the program file")
    rules = packaging / "magic" / "bincodec"
    command = ["file", "--brief", *options, "-m", str(rules), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_file_describes_a_picture(packaging: Path, photo: Path) -> None:
    version = ".".join(map(str, FORMAT_VERSION))
    assert (
        described(packaging, photo) == f"bincodec image data, version {version}, 300 x 40, grey, quality 37"
    )
    assert described(packaging, photo, "--mime-type") == "image/x-bld"
    assert described(packaging, photo, "--extension") == "bld"


def test_file_reads_the_header_as_the_format_says(packaging: Path, tmp_path: Path, forge_header) -> None:
    path = tmp_path / "a.bld"
    path.write_bytes(forge_header(width=70000, height=129, quality=100))
    assert described(packaging, path) == "bincodec image data, version 1.0, 70000 x 129, quality 100"
    path.write_bytes(MAGIC[:-1] + b"\r" + bytes(40))
    assert "bincodec" not in described(packaging, path)


def test_the_type_has_the_magic_and_the_extension(packaging: Path) -> None:
    (kind,) = ElementTree.parse(packaging / "mime" / "bincodec.xml").getroot()
    assert kind.get("type") == "image/x-bld"
    match = kind.find(f"{NAMESPACE}magic/{NAMESPACE}match")
    glob = kind.find(f"{NAMESPACE}glob")
    assert match is not None
    assert glob is not None
    assert (match.get("type"), match.get("offset")) == ("string", "0")
    assert (match.get("value") or "").encode().decode("unicode_escape").encode("latin-1") == MAGIC
    assert glob.get("pattern") == "*.bld"


def test_the_thumbnailer_makes_a_png_under_any_name(
    packaging: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = configparser.ConfigParser(interpolation=None)
    entries.optionxform = str  # type: ignore[assignment,method-assign]
    entries.read(packaging / "thumbnailers" / "bincodec.thumbnailer")
    entry = entries["Thumbnailer Entry"]
    assert (entry["TryExec"], entry["MimeType"]) == ("bincodec", "image/x-bld;")
    program = tmp_path / "bincodec"
    code = "from bincodec.cli.start import main; main()"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-c", code])} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    target = tmp_path / "a thumbnail"
    target.touch()  # File managers make the file first.
    values = {"%s": "128", "%i": str(photo), "%o": str(target)}
    words = [values.get(word, word) for word in shlex.split(entry["Exec"])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(target) as image:
        assert (image.format, image.size) == ("PNG", (128, 17))
