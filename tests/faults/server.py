"""Run things repeatedly, each in a fork of one process that has imported everything.

A separate process for each run would take two seconds, mostly for `import torch`, and a fork takes a tenth of
one. The caller names the modules to import. The server answers each line, a JSON object, with another one
(`conftest.Server` speaks to it):

    {"start": {...}}  forks a run, as `become` and `work` describe it -> {"pid": 123}
    {"wait": 123}     waits until it ends or stops -> {"code": 0}, a negative signal, or null if it stopped

A run may have a fault: something that happens before the n-th line that it executes in some source files.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

PATIENCE = 60
"""The seconds after which a run counts as hung and is ended."""

Request = dict[str, Any]


EVERY = -1


class Lines:
    """Count executed lines of files whose paths end in one of `files`. Act before the n-th, or EVERY."""

    def __init__(self, files: list[str], number: int, act: Callable[[], object]) -> None:
        self.files, self.number, self.act = tuple(files), number, act
        self.count = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> Lines | None:
        if event == "call":
            return self if frame.f_code.co_filename.endswith(self.files) else None
        if event == "line":
            self.count += 1
            if self.number in (self.count, EVERY):
                self.act()
        return self


def contents_of(folder: Path) -> dict[str, int | None]:
    """Return the CRC-32 of every file by its path, and None for every folder."""
    return {
        str(path.relative_to(folder)): zlib.crc32(path.read_bytes()) if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def befall(name: str, path: str) -> None:
    """Send a signal by its name, or do something to the file `path` as if another program did it."""
    if name.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[name])
    elif name == "take" and not os.path.lexists(path):
        Path(path).write_bytes(b"somebody else's")
        print("taken", file=sys.stderr)
    elif name == "look":
        print(json.dumps(contents_of(Path())), file=sys.stderr)
    elif name == "remove":
        Path(path).unlink(missing_ok=True)
    elif name == "cut" and os.path.exists(path):
        os.truncate(path, os.path.getsize(path) // 2)
    elif name == "grow":
        with open(path, "ab") as file:
            file.write(bytes(100))


def obey_permissions() -> None:
    """Give up root's right to write to folders that forbid it. Other users do not have this right."""
    version, this_process = 0x20080522, 0
    header = (ctypes.c_uint32 * 2)(version, this_process)
    none_at_all = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none_at_all):
        raise OSError(ctypes.get_errno(), "capset")


def open_streams(run: Request) -> None:
    """Open standard streams of the run's own, as a new process has them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY
        opened = os.open(run.get(name, os.devnull), flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, "r", closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def become(run: Request) -> Lines:
    """Take on the run's folder, streams, limits and fault."""
    if not run.get("deaf"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(run["folder"])
    open_streams(run)
    if run.get("obeys"):
        obey_permissions()
    if "largest_file" in run:
        resource.setrlimit(resource.RLIMIT_FSIZE, (run["largest_file"],) * 2)
    if "largest_input" in run:
        importlib.import_module("bincodec.io.streams").MAX_BYTES = run["largest_input"]  # type: ignore[attr-defined]
    if "loses" in run:
        lose_interruption(run["loses"])
    if run.get("no_links"):
        os.link = refuse
    fault = run.get("fault", {"files": [], "line": 0, "action": ""})
    return Lines(fault["files"], fault["line"], lambda: befall(fault["action"], fault.get("path", "")))


def hold_back_until_heeded() -> None:
    """Delay Ctrl-C until the command has a handler for it. Before that, Python's own would show a traceback.

    The process that starts this one blocks SIGINT, so no signal is lost or comes earlier. It may ignore
    SIGINT itself, as a shell does for background processes.
    """
    install = signal.signal

    def installed(*handler: Any) -> Any:
        before = install(*handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return before

    signal.signal = installed


class Panic(BaseException):
    """The kind of exception that a panic of Rust is in Python."""


def lose_interruption(how: str) -> None:
    """Send Ctrl-C while weights are loaded, and lose it there, as libraries outside Python may do."""
    weights: Any = importlib.import_module("bincodec.model.weights")
    load = weights.load_file

    def losing(path: str) -> object:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if how == "failure":
                msg = "could not determine the shape"
                raise RuntimeError(msg) from None
            if how == "panic":
                raise Panic from None
        return load(path)

    weights.load_file = losing


def refuse(*_: object) -> None:
    """Refuse a link, as a file system without links does."""
    raise PermissionError(1, "Operation not permitted")


def work(run: Request) -> None:
    """Run the command with its "arguments", or the function of `bincodec.io.files` named in "call"."""
    if "arguments" in run:
        hold_back_until_heeded()
        sys.argv = ["bincodec", *run["arguments"]]
        importlib.import_module("bincodec.cli.start").main()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    contents = {name: text.encode() for name, text in run["contents"].items()}
    function = getattr(importlib.import_module("bincodec.io.files"), run["call"])
    function(*run.get("place", ()), contents, **run["options"])


def live(run: Request) -> None:
    """Do a whole run. It skips Python's own end, which takes longest, unless that is requested."""
    lines, code = become(run), 0
    try:
        sys.settrace(lines)
        work(run)
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        print(type(error).__name__, file=sys.stderr)
        code = 1
    except SystemExit as end:
        if run.get("to_the_end"):
            raise
        code = int(end.code or 0)
    sys.settrace(None)
    if "counts" in run:
        Path(run["counts"]).write_text(str(lines.count))
    os._exit(code)


def wait(pid: int) -> int | None:
    """Return the exit code of a run, a negative signal, or None if it has stopped."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if found:
            return None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    msg = f"a run hung for {PATIENCE} s"
    raise TimeoutError(msg)


def serve() -> Request | None:
    """Answer requests. Return the run to become in a fork, or None in the server itself at the end."""
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if not pid:
                return dict(request["start"])
            answer: Request = {"pid": pid}
        else:
            answer = {"code": wait(request["wait"])}
        print(json.dumps(answer), flush=True)
    return None


def prepare(modules: list[str]) -> None:
    """Import what runs need, and let forks share its memory."""
    for module in modules:
        importlib.import_module(module)
    if "bincodec.bitstream.coder" in sys.modules:
        # Its first use asks NumPy for an interface. If Rust is interrupted there, it prints many lines.
        importlib.import_module("bincodec.bitstream.coder").BitDecoder(b"")
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    prepare(sys.argv[1:])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A run that ignores SIGINT keeps this.
    print(json.dumps({"ready": True}), flush=True)
    wanted = serve()
    if wanted is not None:
        live(wanted)
