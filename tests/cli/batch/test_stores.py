"""URLs: what is read from and written to a store is as with files, and whole or absent."""

import errno
import functools
import http.server
import os
import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import bincodec
from bincodec.cli.batch import stores
from bincodec.errors import TooLarge, Unreadable

HERE = ("-j", 0, "--model", "tiny-1")


@pytest.fixture
def memory(pictures: Path) -> MemoryFileSystem:
    store = fsspec.filesystem("memory")
    store.store.clear()
    for path in pictures.rglob("*.*g"):
        store.pipe(f"/photos/{path.relative_to(pictures)}", path.read_bytes())
    return store


def names(store: MemoryFileSystem, folder: str) -> set[str]:
    return {path.removeprefix(f"/{folder}/") for path in store.find(folder)}


@pytest.mark.parametrize("source", ["memory://photos", "memory://photos/**/*.*g"])
def test_from_store_to_store(run, memory: MemoryFileSystem, source: str) -> None:
    command = ("compress", source, "-r", "-o", "memory://out", "--manifest", "memory://m/all.jsonl", *HERE)
    result = run(*command)
    assert result.exit_code == 0, result.stderr
    assert {name for name in names(memory, "out") if not name.startswith(".")} == {
        "a.bld",
        "b.bld",
        "below/c.bld",
        "below/deep/d.bld",
    }
    data = memory.cat("/out/below/c.bld")
    assert data == bincodec.compress(memory.cat("/photos/below/c.png"), model="tiny-1")
    assert memory.cat("/m/all.jsonl").count(b'"status": "done"') == 4
    assert run(*command).stderr.startswith("0 compressed, 4 skipped")


def test_an_output_does_not_replace_its_input(run, memory: MemoryFileSystem) -> None:
    assert run("compress", "memory://photos/a.png", "-o", "memory://up", *HERE).exit_code == 0
    store_name, before = "memory://up/a.png", memory.cat("/up/a.bld")
    memory.pipe("/up/a.png", before)
    result = run("decompress", store_name, "--format", "png", "--force", "-j", 0)
    assert result.exit_code == 1
    assert f"{store_name}: its output would have the name of the input" in result.stderr
    assert memory.cat("/up/a.png") == before


def test_an_object_may_have_the_characters_of_a_pattern(run, memory: MemoryFileSystem) -> None:
    memory.pipe("/odd/a[1].png", memory.cat("/photos/a.png"))
    memory.pipe("/odd/a1.png", memory.cat("/photos/a.png"))
    assert run("compress", "memory://odd/a[1].png", "-o", "memory://up", *HERE).exit_code == 0
    assert names(memory, "up") == {"a[1].bld"}
    assert run("compress", "memory://odd/a[2].png", "-o", "memory://up", *HERE).exit_code == 1
    assert run("compress", "memory://odd/a?.png", "-o", "memory://more", *HERE).exit_code == 0
    assert names(memory, "more") == {"a1.bld"}


def test_a_store_that_forbids_deletion_takes_outputs(
    run, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(MemoryFileSystem, "rm_file", forbid)
    assert run("compress", "memory://photos/a.png", "-o", "memory://up", *HERE).exit_code == 0
    assert "a.bld" in names(memory, "up")


def test_between_stores_and_folders(run, memory: MemoryFileSystem, pictures: Path) -> None:
    out = "file://" + str(Path("out").resolve())
    assert run("compress", "memory://photos/a.png", "-o", out, *HERE).exit_code == 0
    assert Path("out/a.bld").read_bytes() == bincodec.compress(pictures / "a.png", model="tiny-1")
    assert run("compress", pictures / "a.png", "-o", "memory://up", *HERE).exit_code == 0
    assert names(memory, "up") == {"a.bld"}
    assert run("verify", "memory://up/a.bld", "-j", 0).exit_code == 0
    assert run("decompress", "memory://up/a.bld", "--format", "webp", "-j", 0).exit_code == 0
    assert names(memory, "up") == {"a.bld", "a.webp"}


def test_pictures_of_the_web(run, pictures: Path) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(pictures))
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/below"
        result = run("compress", f"{url}/c.png?size=all", f"{url}/none.png", "-o", "out", *HERE)
        server.shutdown()
    assert Path("out/c.bld").read_bytes() == bincodec.compress(pictures / "below/c.png", model="tiny-1")
    assert f"failed: {url}/none.png: cannot be read: No such file or directory\n" in result.stderr


def test_what_a_web_server_refuses_is_not_called_missing() -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:4]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for name, words in (("403.png", "403.*Forbidden"), ("500.png", "500"), ("410.png", "No such file")):
            with pytest.raises(Unreadable, match=f"{name}: cannot be read: {words}"):
                stores.read(f"{url}/{name}")
        server.shutdown()
    with pytest.raises(Unreadable, match="cannot be read: Connect"):
        stores.read(f"{url}/none.png")


def test_what_a_store_refuses_is_one_line(
    run, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("compress", "memory://photos/none.png", "-o", "out", *HERE)
    assert "failed: memory://photos/none.png: cannot be read: No such file" in result.stderr
    result = run("compress", "nosuch://photos/a.png", "-o", "out", *HERE)
    assert "error: nosuch://photos/a.png: cannot be read: Protocol not known" in result.stderr

    def deny(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", deny)
    result = run("compress", "memory://photos", "-o", "memory://out", *HERE)
    assert (result.exit_code, result.stderr) == (1, "bincodec: error: memory://out: Permission denied\n")


def test_other_errors_of_a_store_keep_their_words(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strange(Exception):
        """As those of the libraries of stores: no OSError."""

    def fail(*_: object, **__: object) -> None:
        msg = "no\ncredentials"
        raise Strange(msg)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
    with pytest.raises(Unreadable, match=r"memory://photos/a.png: cannot be read: no credentials") as caught:
        stores.read("memory://photos/a.png")
    assert caught.value.errno == errno.EIO


def test_too_much_is_not_read(memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_BYTES", 10)
    memory.pipe("/ten", bytes(10))
    memory.pipe("/more", bytes(11))
    assert stores.read("memory://ten") == bytes(10)
    with pytest.raises(TooLarge, match="memory://more: its 11 bytes are over the limit of 10"):
        stores.read("memory://more")


def test_a_write_that_fails_leaves_what_was_there(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.write("memory://x/old", b"old", replace=False)
    with pytest.raises(FileExistsError):
        stores.write("memory://x/old", b"new", replace=False)
    assert memory.cat("/x/old") == b"old"

    def fail(self: object, path: str, value: bytes, **__: object) -> None:
        with memory.open(path, "wb") as file:
            file.write(value[:1])
            msg = "gone"
            raise ConnectionResetError(msg)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
    for name in ("old", "fresh"):
        with pytest.raises(OSError, match="gone"):
            stores.write(f"memory://x/{name}", b"new", replace=True)
    assert (memory.cat("/x/old"), memory.exists("/x/fresh")) == (b"old", False)


def test_which_outputs_exist(
    memory: MemoryFileSystem, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"a.png", "below/deep/d.png"}
    for folder in ("photos", "./photos", "memory://photos"):
        wanted = {f"{folder}/{name}" for name in (*names, "no.png", "nothing/a.png")}
        assert stores.existing(wanted, folder) == {f"{folder}/{name}" for name in names}
    assert stores.existing({"memory://nothing/a.png"}, "memory://nothing/") == set()
    Path("a.png").touch()
    assert stores.existing({"a.png"}, None) == {"a.png"}

    def fail(path: str) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(os, "walk", fail)
    listed: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scan(path))
    stores.existing({"photos/a.png", "photos/b.png"}, ".")
    assert listed == ["photos"], "what else is below the folder of the outputs is no matter"
