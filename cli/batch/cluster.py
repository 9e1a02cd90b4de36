"""The engine for more than one machine: a Ray cluster, or one that is made on this machine for a batch."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import click

import bincodec
from bincodec.cli.batch.engine import Engine, Results
from bincodec.cli.batch.job import Job, Outcome
from bincodec.eval import workers
from bincodec.eval.errors import needed
from bincodec.eval.process import usable_cores
from bincodec.eval.workers import Broken

_RETRIES = 2
"""How often a picture is tried again whose process or machine died; then it is taken for the cause."""

_AHEAD = 2
"""So many pictures for each core are with the cluster: enough that none waits."""

_STORE_BYTES = 100_000_000
"""For the objects of a cluster made here. What is made of a picture goes to its store, not through Ray."""

_LOOKING = 10.0
"""Seconds after which is asked again how many cores there are: machines come and go."""

_PATIENCE = 5.0
"""Seconds until a cluster that does not answer is taken for none."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # What takes too much memory would be tried again for ever.
    "RAY_task_oom_retries": str(_RETRIES),
    # What Ray says of machines goes to standard output, which belongs to the results.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Of Ray, in the environment; it reads some of them when it is imported."""

_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""What Ray calls a machine without others: all that it starts listens on loopback alone."""


def engine(address: str | None, jobs: int | None, threads: int) -> Engine:
    """The cluster at `address`, or for None one on this machine, which ends with the batch.

    Args:
        address: HOST:PORT, or "auto" for the one that runs here.
        jobs: how many pictures at once; None for as many as the cluster has cores.
        threads: cores for each picture.

    Raises:
        NotInstalled: without the package `ray`.
        click.UsageError: for no processes.
    """
    if jobs == 0:
        msg = "--jobs 0 means this process alone: it does not go with --engine ray"
        raise click.UsageError(msg)
    for name, value in (_SETTINGS | (_ALONE if address is None else {})).items():
        os.environ.setdefault(name, value)
    with needed("--engine ray needs", "ray", "ray"):
        import ray  # noqa: F401
    return partial(_run, address=address, jobs=jobs, threads=threads)


def _run(
    function: Callable[[Job], Outcome],
    tasks: Sequence[Job],
    *,
    address: str | None,
    jobs: int | None,
    threads: int,
) -> Results:
    import ray

    if not tasks:
        return
    _connect(address, (jobs or usable_cores()) * threads)
    try:
        _check_cores(threads)
        _check_versions(ray)
        remote = ray.remote(num_cpus=threads, max_retries=_RETRIES)(_attempt)
        waiting = iter(enumerate(tasks))
        running: dict[Any, int] = {}
        room, looked = 0, -_LOOKING
        while True:
            if time.monotonic() - looked > _LOOKING:
                _check_cores(threads)
                room, looked = _room(threads, jobs if address else None), time.monotonic()
            for index, task in itertools.islice(waiting, max(0, room - len(running))):
                running[remote.remote(os.getcwd(), function, task)] = index
            if not running:
                return
            ray.wait([*running], num_returns=1, timeout=_LOOKING)
            for reference in ray.wait([*running], num_returns=len(running), timeout=0)[0]:
                yield running.pop(reference), _outcome(reference)
    finally:
        ray.shutdown()


def _room(threads: int, jobs: int | None) -> int:
    """How many pictures the cluster is to have: those that were asked for, or enough for all its cores."""
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return jobs or _AHEAD * max(1, int(resources.get("CPU", 1)) // threads)


def _check_cores(threads: int) -> None:
    """Ray would wait for a machine with more cores, without a word and without end.

    Raises:
        click.ClickException: if no machine of the cluster has so many.
    """
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    most = max((int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]), default=0)
    if most < threads:
        msg = f"--threads {threads}: no machine of the Ray cluster has so many cores, the largest has {most}"
        raise click.ClickException(msg)


def _attempt(folder: str, function: Callable[[Job], Outcome], task: Job) -> Outcome | Broken:
    """One job on some machine, where relative names mean what they mean here, if they mean anything."""
    with suppress(OSError):
        os.chdir(folder)
    return workers.attempt(function, task)


def _outcome(reference: Any) -> Outcome | Broken:
    import ray

    try:
        outcome: Outcome | Broken = ray.get(reference)
    except ray.exceptions.OutOfMemoryError:
        return Broken("its machine had too little memory")
    except ray.exceptions.RayError as error:
        return Broken(f"the process that worked on it died ({type(error).__name__})")
    return outcome


def _connect(address: str | None, cores: int) -> None:
    import ray

    if address is not None:
        _check_reachable(address)
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "bincodec"}
    try:
        if address is not None:
            ray.init(address, **common)
            return
        ray.init(
            "local",
            num_cpus=cores,
            object_store_memory=_STORE_BYTES,
            include_dashboard=False,
            **common,
        )
    except Exception as error:  # Ray has no class of its own for a cluster that is not there.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        msg = f"the Ray cluster {address or 'on this machine'} cannot be reached: {reason}"
        raise click.ClickException(msg) from error


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes, and says so in many lines."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdecimal():
        if address == "auto":
            return
        msg = f"--address {address} is neither HOST:PORT nor auto"
        raise click.UsageError(msg)
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except OSError as error:
        msg = f"the Ray cluster {address} cannot be reached: {error.strerror or error}"
        raise click.ClickException(msg) from error


def _check_versions(ray: Any) -> None:
    """A cluster without this package would fail with every picture."""
    try:
        found = ray.get(ray.remote(num_cpus=1, max_retries=_RETRIES)(_version).remote())
    except ray.exceptions.RayError as error:
        msg = f"the Ray cluster cannot run bincodec: {str(error).strip().splitlines()[-1]}"
        raise click.ClickException(msg) from error
    if found != bincodec.__version__:
        msg = f"the Ray cluster has bincodec {found}, this is {bincodec.__version__}"
        raise click.ClickException(msg)


def _version() -> str:
    return bincodec.__version__
