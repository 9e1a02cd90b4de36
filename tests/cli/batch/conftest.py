"""A folder of small pictures, and a bucket on loopback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image

TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-1.safetensors"
PICTURES = ("a.png", "b.jpg", "below/c.png", "below/deep/d.png")


def draw(path: Path, seed: int = 0) -> None:
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours.repeat(8, axis=0).repeat(8, axis=1)).save(path)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `photos`, in the current one: PICTURES, a text, and what hides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BINCODEC_MODELS", str(TINY.parent))
    for seed, name in enumerate(PICTURES):
        draw(tmp_path / "photos" / name, seed)
    draw(tmp_path / "photos" / ".hidden.png")
    (tmp_path / "photos" / "readme.txt").write_text("no picture")
    return Path("photos")


SERVER = """
import time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
time.sleep(600)
"""


@contextmanager
def serving(**environment: str) -> Iterator[str]:
    """A server of S3 on loopback, and its address. All processes that begin after it find it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        ) as server:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            patch.setenv("AWS_ENDPOINT_URL", url)
            yield url
            server.kill()


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def denied() -> Iterator[Any]:
    """A bucket whose server refuses everything after it was made."""
    with serving(INITIAL_NO_AUTH_ACTION_COUNT="1") as url:
        found = boto3.resource("s3", endpoint_url=url).Bucket("photos")
        found.create()
        yield found


@pytest.fixture
def bucket(store: str) -> Any:
    """An empty bucket, as the library of S3 knows it."""
    found = boto3.resource("s3", endpoint_url=store).Bucket("photos")
    found.create()
    found.objects.delete()
    return found
