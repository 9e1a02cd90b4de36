"""A batch of pictures on a Ray cluster of two nodes, while a worker is killed and a node is lost.

    python benchmarks/two_nodes.py [--pictures 2000] [--model MODEL]

Two nodes with a core each start on this machine, at addresses of their own. `bincodec compress --engine ray`
compresses small pictures from folder to folder. One of them is cut short. After a quarter of the results, one
process of a worker is killed, and after half of them a node is removed. At the end, the script counts the
lines of the report, the lines of the manifest and the files, and every file is verified.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from cluster import TINY, made

COMMAND = [sys.executable, "-c", "from bincodec.cli.start import main; main()"]

# The cluster lives in a process of its own: what it warns of does not concern its users.
_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 100_000_000}
cluster = Cluster()
cluster.add_node(node_ip_address="127.0.0.2", include_dashboard=False, **node)
second = cluster.add_node(node_ip_address="127.0.0.3", **node)
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""


@contextlib.contextmanager
def two_nodes(folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a cluster of two nodes. It prints its address, and a line from us removes its second node."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **environment},
            cwd=folder,
        )
    try:
        yield process
    finally:
        process.communicate()


def kill_a_worker() -> str:
    """Kill a process that works on a picture now, and say so. Between two pictures, it has another title."""
    for _ in range(1000):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_bytes().startswith(b"ray::_attempt"):
                    os.kill(int(path.parent.name), signal.SIGKILL)
                    return "killed a process that worked on a picture"
    return "no process worked on a picture"


def run(folder: Path, pictures: int, model: str) -> None:
    """Run the batch and print what became of it."""
    source, target, manifest = folder / "in", folder / "out", folder / "manifest.jsonl"
    source.mkdir()
    jobs = made(source, pictures)
    (source / "cut.png").write_bytes(Path(jobs[0].source).read_bytes()[:-40])
    with two_nodes(folder, {}) as cluster:
        assert cluster.stdout is not None
        assert cluster.stdin is not None
        address = cluster.stdout.readline().strip()
        command = [*COMMAND, "compress", str(source), "-r", "-o", str(target), "--model", model, "--json"]
        began, lines = time.perf_counter(), []
        with subprocess.Popen(
            [*command, "--engine", "ray", "--address", address, "--manifest", str(manifest)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as batch:
            assert batch.stdout is not None
            for line in batch.stdout:
                lines.append(json.loads(line))
                if len(lines) == pictures // 4:
                    print(f"after {len(lines)}: {kill_a_worker()}", flush=True)
                if len(lines) == pictures // 2:
                    cluster.stdin.write("remove\n")
                    cluster.stdin.flush()
                    print(f"after {len(lines)}: a node is {cluster.stdout.readline().strip()}", flush=True)
            _, said = batch.communicate()
    seconds = time.perf_counter() - began
    inputs = Counter(line["input"] for line in lines)
    print(f"{len(lines)} lines for {pictures + 1} pictures in {seconds:.0f} s, exit code {batch.returncode}")
    print(f"by status: {dict(Counter(line['status'] for line in lines))}")
    print(f"told twice: {sum(count > 1 for count in inputs.values())}")
    print(f"failed: {[line['error'] for line in lines if line['status'] == 'failed']}")
    print(f"the command's last line: {said.strip().splitlines()[-1]}")
    print(f"lines of the manifest: {len(manifest.read_text().splitlines())}")
    print(f"files: {len(list(target.rglob('*.bld')))}")
    verified = subprocess.run(
        [*COMMAND, "verify", str(target), "-r", "-j", "1", "--model", model], capture_output=True, text=True
    )
    print(f"verify: exit code {verified.returncode}, {verified.stderr.strip().splitlines()[-1]}")


def main() -> None:
    """Read the arguments and run the batch in a temporary folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--model", default=str(TINY))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), chosen.pictures, chosen.model)


if __name__ == "__main__":
    main()
