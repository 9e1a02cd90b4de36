"""The engine on a Ray cluster of this machine alone. What happens on two is tried by `make cluster`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import bincodec
from bincodec.cli.batch import cluster

COMMAND = [sys.executable, "-c", "from bincodec.cli.start import main; main()"]


class Nodes:
    """What Ray says of a cluster of two machines, one of which is lost."""

    def __init__(self, *cores: float) -> None:
        self._cores = cores

    def nodes(self) -> list[dict[str, Any]]:
        lost = {"Alive": False, "Resources": {"CPU": 64.0}}
        return [lost, *({"Alive": True, "Resources": {"CPU": count}} for count in self._cores)]


def test_more_threads_than_any_machine_has_cores_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", Nodes(2.0, 4.0))
    cluster._check_cores(4)
    with pytest.raises(click.ClickException, match=r"--threads 5: no machine .* the largest has 4"):
        cluster._check_cores(5)
    monkeypatch.setitem(sys.modules, "ray", Nodes())
    with pytest.raises(click.ClickException, match="the largest has 0"):
        cluster._check_cores(1)


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
