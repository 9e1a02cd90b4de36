"""Batches with buckets: a server of S3 on loopback."""

import json
from pathlib import Path
from typing import Any

import pytest
import s3fs

import bincodec

HERE = ("--model", "tiny-1", "-j", 0)
S3 = "s3://photos/"


@pytest.fixture(autouse=True)
def clean() -> None:
    """What was listed in other tests is forgotten."""
    s3fs.S3FileSystem.clear_instance_cache()


def test_from_bucket_to_bucket(run, bucket: Any, pictures: Path) -> None:
    for path in pictures.rglob("*.*g"):
        bucket.upload_file(str(path), f"in/{path.relative_to(pictures)}")
    command = ("compress", f"{S3}in", "-o", f"{S3}out", *HERE)
    result = run(*command, "--manifest", f"{S3}all.jsonl")
    assert result.exit_code == 0, result.stderr
    outputs = {item.key for item in bucket.objects.all() if not item.key.startswith("in/")}
    assert outputs == {"all.jsonl", "out/a.bld", "out/b.bld"}, "nothing is left of what was tried"
    data = bucket.Object("out/a.bld").get()["Body"].read()
    assert data == bincodec.compress(pictures / "a.png", model="tiny-1")
    told = [json.loads(line) for line in bucket.Object("all.jsonl").get()["Body"].read().splitlines()]
    assert [line["input"] for line in told] == [f"{S3}in/a.png", f"{S3}in/b.jpg"]
    assert run(*command).stderr.startswith("0 compressed, 2 skipped ")
    assert run("compress", f"{S3}in/**/*.png", "-o", "down", *HERE).exit_code == 0
    assert {str(path) for path in Path("down").rglob("*.bld")} == {
        "down/a.bld",
        "down/below/c.bld",
        "down/below/deep/d.bld",
    }


def test_what_a_bucket_refuses_is_one_line(run, bucket: Any, pictures: Path) -> None:
    result = run("compress", pictures, "-o", "s3://elsewhere/out", *HERE)
    assert result.exit_code == 1
    assert result.stderr == "bincodec: error: s3://elsewhere/out: No such file or directory\n"
    result = run("compress", "s3://elsewhere/in", "-o", "out", *HERE)
    assert result.exit_code == 1
    assert "s3://elsewhere/in" in result.stderr
    assert "cannot be read" in result.stderr


def test_a_bucket_that_denies_is_one_line(run, denied: Any, pictures: Path) -> None:
    result = run("compress", pictures, "-o", f"{S3}out", *HERE)
    assert (result.exit_code, result.stderr) == (1, "bincodec: error: s3://photos/out: Permission denied\n")
    result = run("compress", f"{S3}in", "-o", "out", *HERE)
    assert result.exit_code == 1
    assert result.stderr == "bincodec: error: s3://photos/in: cannot be read: Permission denied\n"
