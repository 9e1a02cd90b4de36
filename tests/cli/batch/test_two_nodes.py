"""The engine on a real Ray cluster of two nodes on loopback: `make cluster`.

A worker is killed, a node is lost, a picture is poisonous.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from two_nodes import COMMAND, two_nodes

import bincodec

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests" / "models" / "tiny-1.safetensors"
PICTURES = 40 * int(os.environ.get("BINCODEC_FAULT_ROUNDS", "1"))

# Other processes import what they are to do by name.
MODULE = """
import os, signal, time
from bincodec.cli.batch.job import Made

def work(source, given, destination):
    if "poison" in source:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return Made({"pid": os.getpid()}, "", b"made")
"""
DRIVER = """
import sys, errands
from bincodec.cli import options
from bincodec.cli.batch.asked import Asked
from bincodec.cli.batch.run import Batch
asked = Asked(False, "list.txt", None, None, "ray", sys.argv[1], None, "out")
Batch("compress", errands.work, lambda name: True, ".y", None, options.reading(as_json=True)).run((), asked)
"""


@pytest.fixture(scope="module")
def cluster(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    with two_nodes(tmp_path_factory.mktemp("cluster"), {"BINCODEC_MODELS": str(TINY.parent)}) as process:
        yield process


@pytest.fixture(scope="module")
def address(cluster: subprocess.Popen[str]) -> str:
    assert cluster.stdout is not None
    return cluster.stdout.readline().strip()


def test_from_bucket_to_bucket(address: str, bucket: Any, pictures: Path) -> None:
    for path in pictures.rglob("*.*g"):
        bucket.upload_file(str(path), f"in/{path.relative_to(pictures)}")
    command = [*COMMAND, "compress", "s3://photos/in", "-r", "-o", "s3://photos/out", "--model", "tiny-1"]
    manifest = ["--manifest", "s3://photos/manifest.jsonl"]
    on_cluster = ["--engine", "ray", "--address", address]
    done = subprocess.run([*command, *manifest, *on_cluster], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {item.key for item in bucket.objects.all() if not item.key.startswith("in/")} == {
        "manifest.jsonl",
        *(f"out/{name}.bld" for name in ("a", "b", "below/c", "below/deep/d")),
    }
    data = bucket.Object("out/below/c.bld").get()["Body"].read()
    assert data == bincodec.compress(pictures / "below" / "c.png", model="tiny-1")
    told = [json.loads(line) for line in bucket.Object("manifest.jsonl").get()["Body"].read().splitlines()]
    assert {line["input"] for line in told} == {
        f"s3://photos/in/{name}" for name in ("a.png", "b.jpg", "below/c.png", "below/deep/d.png")
    }
    assert all(line["bytes"] > 0 and line["bits_per_pixel"] > 0 for line in told)
    again = subprocess.run([*command, "-j", "1"], capture_output=True, text=True, check=False)
    assert again.stderr.startswith("0 compressed, 4 skipped "), "the engine of this machine sees the same"


def test_more_threads_than_a_machine_has_cores_are_one_line(address: str, pictures: Path) -> None:
    command = [*COMMAND, "compress", str(pictures), "-o", "out", "--model", "tiny-1", "--threads", "2"]
    on_cluster = ["--engine", "ray", "--address", address]
    done = subprocess.run([*command, *on_cluster], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert "--threads 2: no machine of the Ray cluster has so many cores, the largest has 1" in done.stderr
    assert not Path("out").exists()


def test_nothing_is_lost_and_nothing_told_twice(
    cluster: subprocess.Popen[str], address: str, tmp_path: Path
) -> None:
    (tmp_path / "errands.py").write_text(MODULE)
    names = [f"{number:02}.x" for number in range(PICTURES)]
    names.insert(3, "poison.x")
    (tmp_path / "list.txt").write_text("\n".join(names))
    told = []
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, address],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
    ) as driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            told.append(json.loads(line))
            if len(told) == PICTURES // 4:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(told[-1]["pid"], signal.SIGKILL)
            if len(told) == PICTURES // 2:
                assert cluster.stdin is not None
                cluster.stdin.write("remove\n")
                cluster.stdin.flush()
        _, said = driver.communicate()
    assert sorted(line["input"] for line in told) == sorted(names), said
    failed = [line["error"] for line in told if line["status"] == "failed"]
    assert failed == ["poison.x: the process that worked on it died (WorkerCrashedError)"]
    # Who was killed while it wrote has left a file with a temporary name, and none that is half-written.
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.y")}
    assert written == {f"{number:02}.y": b"made" for number in range(PICTURES)}
