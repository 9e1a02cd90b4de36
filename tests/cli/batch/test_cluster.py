"""The engine on a Ray cluster of this machine alone. What happens on two is tried by `make cluster`."""

import json
import subprocess
import sys
from pathlib import Path

import bincodec

COMMAND = [sys.executable, "-c", "from bincodec.cli.start import main; main()"]


def test_a_cluster_made_for_the_batch(pictures: Path) -> None:
    (pictures / "b.jpg").write_bytes(b"no picture")
    command = [*COMMAND, "compress", "photos", "-r", "-o", "out", "--engine", "ray", "-j", "2", "--json"]
    done = subprocess.run([*command, "--model", "tiny-1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = {line["input"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert {name: line["status"] for name, line in told.items()} == {
        "photos/a.png": "done",
        "photos/b.jpg": "failed",
        "photos/below/c.png": "done",
        "photos/below/deep/d.png": "done",
    }
    assert done.stderr.splitlines() == [
        f"bincodec: note: failed: {told['photos/b.jpg']['error']}",
        "bincodec: error: 1 failed; the 3 others did not",
    ]
    for name in ("a", "below/deep/d"):
        data = (Path("out") / name).with_suffix(".bld").read_bytes()
        assert data == bincodec.compress(pictures / f"{name}.png", model="tiny-1")


def test_a_cluster_that_is_not_there_is_one_line(run, pictures: Path) -> None:
    run_on = ("compress", pictures, "--manifest", "all.jsonl", "--engine", "ray", "--address")
    result = run(*run_on, "127.0.0.1:1")
    assert (result.exit_code, result.stderr) == (
        1,
        "bincodec: error: the Ray cluster 127.0.0.1:1 cannot be reached: Connection refused\n",
    )
    assert run(*run_on, "nowhere").exit_code == 2
    assert not Path("all.jsonl").exists()
    assert run("compress", pictures, "--engine", "ray", "-j", 0).exit_code == 2
