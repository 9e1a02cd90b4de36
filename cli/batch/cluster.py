"""Run the jobs of a batch on a Ray cluster, which may be started on this machine for the batch."""

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
"""How often a picture is tried again if its process or machine died. After that, the picture has failed."""

_AHEAD = 2
"""The number of pictures for each core that the cluster gets in advance, so that no core has to wait."""

_STORE_BYTES = 100_000_000
"""The memory for objects of a cluster that is started here. Outputs are written directly, not through Ray."""

_LOOKING = 10.0
"""The seconds after which the number of cores is asked for again, because machines come and go."""

_PATIENCE = 5.0
"""The seconds after which a cluster that does not answer counts as unreachable."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without this, a task that takes too much memory would be tried again forever.
    "RAY_task_oom_retries": str(_RETRIES),
    # Ray prints messages about machines to standard output, which is for results.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Settings of Ray in the environment. Ray reads some of them when it is imported."""

_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""A setting for a cluster of this machine alone: everything that Ray starts listens on loopback only."""


def engine(address: str | None, jobs: int | None, threads: int) -> Engine:
    """Return an engine for a Ray cluster. If `address` is None, it is started here and ends with the batch.

    Args:
        address: HOST:PORT, or "auto" for a cluster that is running on this machine, or None.
        jobs: how many pictures are processed at once, or None for as many as the cluster has cores.
        threads: the number of cores for each picture.

    Raises:
        NotInstalled: if the package `ray` is missing.
        click.UsageError: if `jobs` is 0.
    """
    if jobs == 0:
        msg = "--jobs 0 uses this process alone, so it does not go with --engine ray"
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
    """Return how many pictures the cluster gets at once: `jobs`, or enough for all of its cores."""
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
    """Do one job on some machine, in the same folder as here if that folder exists there."""
    with suppress(OSError):
        os.chdir(folder)
    return workers.attempt(function, task)


def _outcome(reference: Any) -> Outcome | Broken:
    import ray

    try:
        outcome: Outcome | Broken = ray.get(reference)
    except ray.exceptions.OutOfMemoryError:
        return Broken("the machine that worked on it had too little memory")
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
    except Exception as error:  # Ray has no error class for a cluster that cannot be reached.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        msg = f"the Ray cluster {address or 'on this machine'} cannot be reached: {reason}"
        raise click.ClickException(msg) from error


def _check_reachable(address: str) -> None:
    """Check that a cluster answers. Ray itself would try for minutes, and print many lines about it."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdecimal():
        if address == "auto":
            return
        msg = f"--address {address} is neither HOST:PORT nor auto"
        raise click.UsageError(msg)
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, UnicodeError) as error:  # A name of a host may have parts of impossible length.
        reason = error.strerror if isinstance(error, OSError) else None
        msg = f"the Ray cluster {address} cannot be reached: {reason or error}"
        raise click.ClickException(msg) from error


def _check_versions(ray: Any) -> None:
    """Check that the cluster has the same version of this package, or else every picture would fail."""
    try:
        found = ray.get(ray.remote(num_cpus=1, max_retries=_RETRIES)(_version).remote())
    except ray.exceptions.RayError as error:
        msg = f"the Ray cluster cannot run bincodec: {str(error).strip().splitlines()[-1]}"
        raise click.ClickException(msg) from error
    if found != bincodec.__version__:
        msg = f"the Ray cluster has bincodec {found}, but this machine has {bincodec.__version__}"
        raise click.ClickException(msg)


def _version() -> str:
    return bincodec.__version__
