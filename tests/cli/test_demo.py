"""The command that shows the demonstration page."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
SCRIPT = """
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # What runs in the background may have it ignored.
from bincodec.cli.start import main

main()
"""
COMMAND = [sys.executable, "-c", SCRIPT, "demo"]


def test_the_page_is_there_until_it_is_interrupted() -> None:
    arguments = ["--port", "0", "--model", str(TINY), "--artist", str(TINY)]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}setup") as answer:
            assert json.load(answer)["model"] == "tiny-1"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert (process.returncode, said) == (130, "bincodec: error: interrupted\n")


def test_a_port_that_is_taken_is_named(run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("demo", "--port", port, "--model", TINY, "--artist", TINY)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"bincodec: error: port {port}: Address already in use (--port 0 takes a free one)\n"
    )
