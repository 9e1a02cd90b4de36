"""The command that shows the demonstration page."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from io import BytesIO
from pathlib import Path

from PIL import Image

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


def test_an_interruption_in_the_midst_of_an_answer_ends_the_page_as_well() -> None:
    arguments = ["--port", "0", "--model", str(TINY), "--artist", str(TINY)]
    picture = BytesIO()
    Image.effect_noise((1024, 1024), 60).save(picture, "PNG")
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}picture", picture.getvalue()) as answer:
            name = json.load(answer)["id"]
        with socket.create_connection(("127.0.0.1", int(address.split(":")[2].rstrip("/")))) as asked:
            asked.sendall(f"GET /compressed/{name}?quality=50 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
    assert (process.returncode, said) == (130, "bincodec: error: interrupted\n")


def test_a_port_that_is_taken_is_named(run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("demo", "--port", port, "--model", TINY, "--artist", TINY)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"bincodec: error: port {port} cannot be used: Address already in use (--port 0 takes a free one)\n"
    )
