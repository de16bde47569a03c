"""Independent jobs on many processes: of this machine, or of a Ray cluster.

A job is run by a function that can be imported, and gives a result that can be sent between processes. Each job ends in
exactly one outcome, in whatever order they end. A job whose process dies is run again, so that it must leave nothing
behind that a second run would double: what it returns is returned once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar, cast

from spike_depth_core.extras import how_to_install

Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 3
"""How often a job is run whose process dies."""
_WAITING = 1000  # jobs that are handed to a cluster at a time


@dataclass(frozen=True)
class Outcome(Generic[Job, Result]):
    """What came of a job.

    Attributes:
        job: as it was given.
        result: None where there is an error.
        error: in a line; None where there is none.
        fault: the traceback of an error that is not the input's (neither ValueError nor OSError); empty otherwise.
    """

    job: Job
    result: Result | None = None
    error: str | None = None
    fault: str = ""

    def result_of(self, what: object) -> Result:
        """The result, where a job may not fail.

        Args:
            what: the job was to make, for the message.

        Raises:
            ValueError: with the error.
            RuntimeError: with the traceback of a fault.
        """
        if self.fault:
            raise RuntimeError(f"{what}: {self.fault}")
        if self.error is not None:
            raise ValueError(f"{what}: {self.error}")
        return cast(Result, self.result)


def processes(asked: int, jobs: int) -> int:
    """How many processes so many jobs are run on: as many as asked for, all cores where that is 0, none idle."""
    return max(1, min(asked or os.cpu_count() or 1, jobs))


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int = 1,
    ray: str | None = None,
    gpus: float = 0.0,
) -> Iterator[Outcome[Job, Result]]:
    """Run jobs and give their outcomes as they end.

    Args:
        function: of a job; importable by name where the jobs run.
        jobs: each is sent to one process.
        workers: processes of this machine at a time; with 1 the jobs run in this process, and in their order.
        ray: address of a Ray cluster, as `ray.init` takes it (`auto`, `ray://host:10001`, or `local` for one that is
            started here); each job takes a core of it, and `workers` is not looked at.
        gpus: of the cluster, that each job takes.

    Raises:
        ValueError: for less than one worker, or a cluster that cannot be reached.
        ImportError: saying what to install.
    """
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, found {workers}")
    if ray is not None:
        return _on_ray(function, jobs, ray, gpus)
    return _here(function, jobs) if workers == 1 else _on_processes(function, jobs, workers)


def _attempt(function: Callable[[Any], Any], job: Any) -> tuple[Any, str | None, str]:
    """Result, error and fault of a job."""
    try:
        return function(job), None, ""
    except (ValueError, OSError) as error:
        return None, str(error), ""
    except Exception as error:  # one job's fault is told with its outcome and does not end the others
        return None, f"{type(error).__name__}: {error}", traceback.format_exc()


def _here(function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Outcome]:
    for job in jobs:
        yield Outcome(job, *_attempt(function, job))


# This machine: each process has one job at a time, so that it is known which job a process died of.


def _on_processes(function: Callable[[Any], Any], jobs: Iterable[Any], workers: int) -> Iterator[Outcome]:
    # Not forked: threads of PyTorch and numba do not survive that.
    context = multiprocessing.get_context("spawn")
    waiting = deque((job, 1) for job in jobs)
    processes: dict[Connection, Any] = {}
    running: dict[Connection, tuple[Any, int]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                connection = next((free for free in processes if free not in running), None)
                if connection is None:
                    connection, theirs = context.Pipe()
                    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
                    process.start()
                    theirs.close()
                    processes[connection] = process
                running[connection] = waiting.popleft()
                with contextlib.suppress(OSError):  # it has died already, which is seen below
                    connection.send(running[connection][0])
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                job, attempt = running.pop(ready)
                try:
                    outcome = ready.recv()
                except (EOFError, OSError):  # it died before it had an outcome
                    process = processes.pop(ready)
                    ready.close()
                    process.join()
                    if attempt < ATTEMPTS:
                        waiting.append((job, attempt + 1))
                        continue
                    outcome = (None, f"{ATTEMPTS} processes died of it, the last with {_end(process.exitcode)}")
                yield Outcome(job, *outcome)
    finally:
        for process in processes.values():
            process.kill()
            process.join()


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    """Do one job after the other, until there is nobody to hand them out."""
    end_with_parent()
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(_attempt(function, connection.recv()))


def end_with_parent() -> None:
    """End this process with the one that started it, whatever it is at.

    A job may take hours, and would go on beside the one that is begun in its place.
    """

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"status {code}"


# A cluster


def _on_ray(function: Callable[[Any], Any], jobs: Iterable[Any], address: str, gpus: float) -> Iterator[Outcome]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports its use to its makers
    try:
        import ray
    except ImportError as error:
        raise ImportError(f"a Ray cluster needs ray; {how_to_install('ray')}") from error
    began = not ray.is_initialized()
    if began:
        try:
            _reach(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # of whatever kind: Ray raises plain ones too
            raise ValueError(f"there is no Ray cluster at {address!r}: {error}") from error
    # Only the death of a process makes Ray run a job again: what a job raises is part of its outcome.
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=ATTEMPTS - 1)(_attempt)
    waiting = iter(jobs)
    running: dict[Any, Any] = {}
    try:
        while True:
            for job in waiting:
                running[remote.remote(function, job)] = job
                if len(running) >= _WAITING:
                    break
            if not running:
                return
            ended, _ = ray.wait(list(running))
            for reference in ended:
                job = running.pop(reference)
                try:
                    outcome = Outcome(job, *ray.get(reference))
                except ray.exceptions.RayError as error:
                    outcome = Outcome(job, None, f"{ATTEMPTS} processes died of it: {str(error).splitlines()[0]}")
                yield outcome
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if began:
            ray.shutdown()


def _reach(address: str) -> None:
    """Raises OSError where nobody listens at `[ray://]host:port`: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
