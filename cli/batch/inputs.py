"""Find the inputs of a batch from files, folders, patterns and URLs, and choose their outputs."""

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
    """An input, and its path below the folder or pattern that named it."""

    name: str
    below: str


@dataclass
class Inputs:
    """The jobs to do, and the problems: names that were given and the reason why there is no job for them.

    `identity` gives the identity of each name. It remembers the folders.
    """

    jobs: list[Job] = field(default_factory=list)
    problems: list[tuple[Job, str]] = field(default_factory=list)
    identity: stores.Identities = field(default_factory=stores.Identities)


def is_many(name: str) -> bool:
    """Return whether one name stands for a batch: a folder, a pattern or a URL, but not a file."""
    return stores.path_of(name) != name or os.path.isdir(name) or _is_pattern(name)


def looks_like_a_file(name: str) -> bool:
    """Return whether the name of an output is that of a file: -, a device, or ending as images do."""
    if name == places.STANDARD or places.is_device(name):
        return True
    if os.path.isdir(stores.path_of(name) or ""):
        return False
    from PIL import Image

    return os.path.splitext(name)[1].lower() in Image.registered_extensions()


def is_file_name(name: str) -> bool:
    """Return whether an output looks like a file and is not in a store."""
    return stores.path_of(name) == name and looks_like_a_file(name)


def listed(lines: str) -> Iterator[Found]:
    """Yield the inputs of a listing with one name on each line. Outputs get the folders that it names."""
    for line in filter(None, map(str.strip, lines.split("\n"))):
        below = re.sub(r"^[\w+:]+://", "", line)
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
    """Return the jobs for `names` and `others`, and the problems.

    Args:
        names: files, folders, patterns and URLs.
        others: inputs that need not be searched for.
        wanted: a function that says whether a file of that name, found in a folder, is an input.
        recursive: whether the folders inside folders are searched too.
        extension: the extension of the outputs, or "" for a command without outputs.
        folder: the folder for the outputs, or None if they are written beside the inputs.
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
        for folder_name, reason in unreadable:
            told = Job(folder_name, ""), output.explained(reason) or str(reason)
            if told not in result.problems:  # Folders may overlap.
                result.problems.append(told)
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
        """The first job for each name in small letters, to find names that differ only in capitals."""
        self._others: dict[str, Job] = {}
        """The further jobs for a name in small letters, by their own names."""
        self._ignoring: dict[str, bool] = {}

    def take(self, job: Job) -> str | None:
        """Take the output of a job, or return in a line why it cannot have it."""
        own = self._identity(job.destination)
        small = own.casefold()
        taker = self._takers.setdefault(own if small == own else small, job)  # Equal names share memory.
        if taker is not job and own != self._identity(taker.destination):
            if self._ignores_case(os.path.dirname(job.destination)):
                return (
                    f"{job.source}: its output {job.destination} is the same file there as "
                    f"{taker.destination}, the output of {taker.source}"
                )
            taker = self._others.setdefault(own, job)
        if taker is not job:
            return f"{job.source}: its output {job.destination} is already that of {taker.source}"
        return None

    def are_same(self, job: Job) -> bool:
        """Return whether the output of a job is its input."""
        path = stores.path_of(job.destination)
        if path is not None and os.path.lexists(path):
            return places.is_same(job.source, job.destination)
        return self._identity(job.source) == self._identity(job.destination)

    def _ignores_case(self, folder: str) -> bool:
        if folder not in self._ignoring:
            self._ignoring[folder] = False
            with suppress(OSError):  # A folder that takes no file is reported later.
                self._ignoring[folder] = stores.ignores_case(folder or ".")
        return self._ignoring[folder]


def _expanded(
    name: str, wanted: Callable[[str], bool], recursive: bool, unreadable: list[tuple[str, OSError]]
) -> list[Found]:
    """Return the inputs that a name stands for.

    Folders below it that cannot be read are added to `unreadable`, with the reason of the system.

    Raises:
        Unreadable: if a store cannot be read. The error has the reason of the store.
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
    """Return what a pattern matches.

    For `**`, `glob` would follow links to folders, which may lead round in circles.
    """
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
        wild = _WILD.search(name.partition("://")[2]) and not name.startswith("http")
        if wild and not store.exists(path):
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
    """Yield a folder with its files, and with `recursive` those below it too, without what is hidden."""

    def skip(error: OSError) -> None:
        folder = error.filename or path
        unreadable.append((folder, streams.unreadable(error, folder)))

    for folder, folders, names in os.walk(path, onerror=skip):
        folders[:] = sorted(one for one in folders if recursive and not _is_hidden(one))
        yield folder, [one for one in names if not _is_hidden(one)]


def _is_file(path: str) -> bool:
    """Return whether a path can be an input. A folder cannot, and neither can a pipe, which may never end.

    A link that leads nowhere is an input, so that the user learns that it cannot be read.
    """
    return not os.path.isdir(path) and not places.is_device(path)


def _is_hidden(below: str) -> bool:
    return any(part.startswith(".") for part in below.split("/"))


def _is_pattern(name: str) -> bool:
    return _WILD.search(name) is not None and not os.path.lexists(name)


def _base(pattern: str) -> str:
    """Return the folders of a pattern before its first wildcard."""
    wild = _WILD.search(pattern)
    fixed = pattern[: wild.start()] if wild else pattern
    return fixed[: fixed.rfind("/") + 1]


def _nothing(name: str, recursive: bool) -> str:
    if _is_pattern(name) or _WILD.search(name):
        return f"{name}: no file matches this pattern"
    more = "" if recursive else " (--recursive also searches the folders in it)"
    return f"{name}: this folder has no files for this command{more}"


def _destination(one: Found, extension: str, folder: str | None) -> str:
    if not extension:
        return ""
    if folder is None:
        return os.path.splitext(one.name)[0] + extension
    return f"{folder.rstrip('/') or folder}/{os.path.splitext(one.below)[0]}{extension}"


def _problem(job: Job, one: Found, folder: str | None, outputs: _Outputs) -> str | None:
    """Return why a job cannot be done. If it can, take its output and return None."""
    if not job.destination:
        return None
    if folder is not None and one.below.split("/")[0] == "..":
        return f"{one.name}: its output would be outside the folder {folder}"
    if outputs.are_same(job):
        return f"{one.name}: its output would have the name of the input"
    return outputs.take(job)
