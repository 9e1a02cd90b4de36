"""What the arguments of a batch name: files, folders, patterns and URLs; and where each output goes."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bincodec.cli import output, places
from bincodec.cli.batch import stores
from bincodec.cli.batch.job import Job
from bincodec.io import streams

_WILD = re.compile(r"[*?\[]")
_ANY_DEPTH = re.compile(r"(?:^|(?<=/))\*\*(?:/+|$)")


@dataclass(frozen=True)
class Found:
    """An input, and where it stands below the folder or pattern that named it."""

    name: str
    below: str


@dataclass
class Inputs:
    """What there is to do, and what could not be found: the name that was given and a line that says why.

    `identity` knows the folders of all of them.
    """

    jobs: list[Job] = field(default_factory=list)
    problems: list[tuple[Job, str]] = field(default_factory=list)
    identity: stores.Identities = field(default_factory=stores.Identities)


def is_many(name: str) -> bool:
    """Whether one name stands for a batch: a folder, a pattern, a URL; not the name of a file."""
    return stores.path_of(name) != name or os.path.isdir(name) or _is_pattern(name)


def looks_like_a_file(name: str) -> bool:
    """Whether an output is a file by its name, not a folder: -, a device, or with an image's extension."""
    if name == places.STANDARD or places.is_device(name):
        return True
    if os.path.isdir(stores.path_of(name) or ""):
        return False
    from PIL import Image

    return os.path.splitext(name)[1].lower() in Image.registered_extensions()


def is_file_name(name: str) -> bool:
    """Whether an output looks like a file, and is none of a store."""
    return stores.path_of(name) == name and looks_like_a_file(name)


def listed(lines: str) -> Iterator[Found]:
    """The inputs of a listing, one a line. In a folder of outputs they stand as the listing names them."""
    for line in filter(None, map(str.strip, lines.split("\n"))):
        below = re.sub(r"^[\w+]+://", "", line)
        yield Found(line, os.path.normpath(below.lstrip("/")))


def gather(
    names: Sequence[str],
    others: Sequence[Found],
    *,
    wanted: Callable[[str], bool],
    recursive: bool,
    extension: str,
    folder: str | None,
) -> Inputs:
    """The jobs that `names` stand for, and `others`.

    Args:
        names: files, folders, patterns, URLs.
        others: inputs that need not be looked for.
        wanted: whether a file of that name, found in a folder, is an input.
        recursive: whether folders within folders are looked into.
        extension: of the outputs, or "" for a command that has none.
        folder: where the outputs go; None for beside the inputs.
    """
    result = Inputs()
    inputs: list[Found] = []
    for name in names:
        unreadable: list[tuple[str, OSError]] = []
        found: list[Found] = []
        try:
            found = _expanded(name, wanted, recursive, unreadable)
        except OSError as error:
            unreadable.append((name, error))
        for one, error in unreadable:
            problem = Job(one, ""), output.explained(error) or str(error)
            if problem not in result.problems:  # Folders may overlap.
                result.problems.append(problem)
        if not found and not unreadable:
            result.problems.append((Job(name, ""), _nothing(name, recursive)))
        inputs += found
    seen: set[str] = set()
    outputs = _Outputs(result.identity)
    for one in [*inputs, *others]:
        identity = result.identity(one.name)
        if identity in seen:
            continue
        seen.add(identity)
        job = Job(one.name, _destination(one, extension, folder))
        problem = _problem(job, one, folder, outputs)
        if problem is None:
            result.jobs.append(job)
        else:
            result.problems.append((job, problem))
    return result


class _Outputs:
    """The outputs that are taken, by the identity of their names."""

    def __init__(self, identity: stores.Identities) -> None:
        self._identity = identity
        self._takers: dict[str, Job] = {}
        """By names in small letters: the first job of those whose names differ in capitals alone."""
        self._others: dict[str, Job] = {}
        """By names as they are: the others of them."""
        self._ignoring: dict[str, bool] = {}

    def take(self, job: Job) -> str | None:
        """Take the output of a job, or say in a line why it cannot have it."""
        own = self._identity(job.destination)
        small = own.casefold()
        taker = self._takers.setdefault(own if small == own else small, job)  # Equal names share memory.
        if taker is not job and own != self._identity(taker.destination):
            if self._ignores_case(os.path.dirname(job.destination)):
                return (
                    f"{job.source}: {taker.source} becomes {taker.destination}, "
                    f"which is the same name as {job.destination} there"
                )
            taker = self._others.setdefault(own, job)
        if taker is not job:
            return f"{job.source}: {taker.source} becomes {job.destination} as well"
        return None

    def _ignores_case(self, folder: str) -> bool:
        if folder not in self._ignoring:
            self._ignoring[folder] = False
            with suppress(OSError):  # A folder that takes no file is told later.
                self._ignoring[folder] = stores.ignores_case(folder or ".")
        return self._ignoring[folder]


def _expanded(
    name: str, wanted: Callable[[str], bool], recursive: bool, unreadable: list[tuple[str, OSError]]
) -> list[Found]:
    """What a name stands for. Folders below it that cannot be read go to `unreadable`, with the reason.

    Raises:
        Unreadable: as a store reports it.
    """
    if stores.path_of(name) is None:
        return _in_store(name, wanted, recursive)
    path = stores.path_of(name) or ""
    if os.path.isdir(path):
        below = [
            os.path.relpath(os.path.join(folder, one), path)
            for folder, names in _walked(path, recursive, unreadable)
            for one in names
            if wanted(one) and _is_file(os.path.join(folder, one))
        ]
        return [Found(os.path.join(path, one), one) for one in sorted(below)]
    if _is_pattern(path):
        base = _base(path)
        matches = sorted(filter(_is_file, _matches(path, unreadable)))
        return [Found(match, os.path.relpath(match, base or ".")) for match in matches]
    return [Found(path, os.path.basename(path))]


def _matches(pattern: str, unreadable: list[tuple[str, OSError]]) -> set[str]:
    """What a pattern matches. The links to folders that `glob` follows for ** may lead round in circles."""
    wild = _ANY_DEPTH.search(pattern)
    if wild is None:
        return set(glob.glob(pattern))
    before, after = pattern[: wild.start()], pattern[wild.end() :] or "*"
    matches: set[str] = set()
    for root in glob.glob(before) if _WILD.search(before) else [before]:
        if not os.path.isdir(root or "."):
            continue
        for folder, _ in _walked(root or ".", True, unreadable):
            start = folder.rstrip("/") + "/"
            start = start if root else start.removeprefix("./")
            matches |= _matches(glob.escape(start) + after, unreadable)
    return matches


def _in_store(name: str, wanted: Callable[[str], bool], recursive: bool) -> list[Found]:
    with stores.reading(name):
        store, path = stores.store_of(name)
        if _WILD.search(name.partition("://")[2]) and not name.startswith("http"):
            base = _base(name)
            root = stores.store_of(base)[1]
            matches = store.glob(path, detail=True).items()
            found = [_below(base, root, match) for match, facts in matches if facts["type"] == "file"]
            return [one for one in found if not _is_hidden(one.below)]
        if not wanted(name) and store.isdir(path):
            every = store.find(path, maxdepth=None if recursive else 1)
            found = [_below(name, path, one) for one in every if wanted(one)]
            return [one for one in found if not _is_hidden(one.below)]
    return [Found(name, os.path.basename(urlsplit(name).path if name.startswith("http") else path))]


def _below(base: str, root: str, path: str) -> Found:
    below = path.removeprefix(root.rstrip("/")).lstrip("/")
    return Found(f"{base.rstrip('/')}/{below}", below)


def _walked(
    path: str, recursive: bool, unreadable: list[tuple[str, OSError]]
) -> Iterator[tuple[str, list[str]]]:
    """A folder, and with `recursive` those below it, each with the files in it, but for what hides."""

    def skip(error: OSError) -> None:
        folder = error.filename or path
        unreadable.append((folder, streams.unreadable(error, folder)))

    for folder, folders, names in os.walk(path, onerror=skip):
        folders[:] = sorted(one for one in folders if recursive and not _is_hidden(one))
        yield folder, [one for one in names if not _is_hidden(one)]


def _is_file(path: str) -> bool:
    """Whether it can be an input: no folder, and no pipe, which would be waited for without end.

    A link that leads nowhere is one: that it cannot be read is told.
    """
    return not os.path.isdir(path) and not places.is_device(path)


def _is_hidden(below: str) -> bool:
    return any(part.startswith(".") for part in below.split("/"))


def _is_pattern(name: str) -> bool:
    return _WILD.search(name) is not None and not os.path.lexists(name)


def _base(pattern: str) -> str:
    """The folders of a pattern that stand before everything that is wild."""
    wild = _WILD.search(pattern)
    fixed = pattern[: wild.start()] if wild else pattern
    return fixed[: fixed.rfind("/") + 1]


def _nothing(name: str, recursive: bool) -> str:
    if _is_pattern(name) or _WILD.search(name):
        return f"{name}: nothing matches"
    return f"{name}: no such files in it" + ("" if recursive else " (--recursive looks into its folders)")


def _destination(one: Found, extension: str, folder: str | None) -> str:
    if not extension:
        return ""
    if folder is None:
        return os.path.splitext(one.name)[0] + extension
    return f"{folder.rstrip('/') or folder}/{os.path.splitext(one.below)[0]}{extension}"


def _problem(job: Job, one: Found, folder: str | None, outputs: _Outputs) -> str | None:
    """Why a job is not done at all; None if it is, and then its output is taken."""
    if not job.destination:
        return None
    if folder is not None and one.below.split("/")[0] == "..":
        return f"{one.name}: leads out of the folder {folder}"
    if os.path.lexists(stores.path_of(job.destination) or "") and places.is_same(job.source, job.destination):
        return f"{one.name}: its output would have the same name"
    return outputs.take(job)
