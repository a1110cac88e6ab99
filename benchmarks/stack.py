"""A stack: one way of streaming with all of its processes, each with a Redis of its own."""

from __future__ import annotations

import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import redis

from benchmarks.chunks import Job
from benchmarks.feeds import Feed
from benchmarks.processes import BenchmarkError, Process, free_port

BROKER_DB = 0
DATA_DB = 1
THREADS = 50


@cache
def stable_port(app: str, role: str) -> int:
    """One port throughout the run for what a Celery application keeps connections to."""
    return free_port()


class RedisServer:
    """A private redis-server without persistence."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            raise BenchmarkError("the benchmark needs redis-server or valkey-server on PATH")
        self.port = port
        argv = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        argv += ["--appendonly", "no", "--dir", str(folder)]
        self.process = Process(f"{name} redis", argv, log=folder / f"{name}-redis.log")
        self.process.wait_for_port(self.port)
        self.data = redis.Redis(port=self.port, db=DATA_DB)

    def url(self, db: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{db}"

    def stored_bytes(self) -> int:
        """Memory of every key of the data database."""
        return sum(
            int(self.data.memory_usage(key, samples=0) or 0) for key in self.data.scan_iter()
        )


class Stack(ABC):
    """Start it, hand it jobs, read the feeds it answers with, stop it."""

    name: ClassVar[str]
    app: ClassVar[str]
    """The module of its Celery application; of one application one stack runs at a time."""
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, Process] = {}

    def start(self) -> None:
        self.redis = RedisServer(self.name, self.folder, stable_port(self.app, "redis"))
        self.processes["redis"] = self.redis.process
        self.start_rest()

    @abstractmethod
    def start_rest(self) -> None:
        """Start what is needed beside Redis."""

    @abstractmethod
    def enqueue(self, job: Job, lane: str = "") -> Feed:
        """Queue the task that writes the job's stream, and say where to read it."""

    def reading(self, feeds: list[Feed], lane: str) -> list[Feed]:
        """How that lane reads these streams."""
        return feeds

    def clear(self) -> None:
        """Forget every stream."""
        self.redis.data.flushdb()

    def roles(self, lane: str = "") -> Sequence[str]:
        """The processes that work for a stream of this lane; a worker's name begins so."""
        return list(self.processes)

    def cpu_seconds(self, lane: str = "") -> dict[str, float]:
        return {role: self.processes[role].cpu_seconds() for role in self.roles(lane)}

    def start_worker(
        self,
        role: str,
        *,
        queue: str,
        env: Mapping[str, str],
        pool: str = "threads",
        concurrency: int = THREADS,
    ) -> None:
        argv = [sys.executable, "-m", "celery", "-A", self.app, "worker", "-P", pool]
        argv += ["-c", str(concurrency), "-Q", queue, "-n", f"{role}@%h", "-l", "info"]
        argv += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
        log = self.folder / f"{self.name}-{role}.log"
        self.processes[role] = Process(f"{self.name} {role}", argv, log=log, env=env)
        self.processes[role].wait_for_text(" ready.")

    def start_uvicorn(self, app: str, role: str, *, env: Mapping[str, str]) -> int:
        port = free_port()
        argv = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
        if app.endswith(":create_app"):
            argv.append("--factory")
        argv += ["--log-level", "warning", "--no-access-log", "--backlog", "4096"]
        log = self.folder / f"{self.name}-{role}.log"
        self.processes[role] = Process(f"{self.name} {role}", argv, log=log, env=env)
        self.processes[role].wait_for_port(port)
        return port

    def stop(self) -> None:
        for process in reversed(list(self.processes.values())):
            process.stop()


def send(task: Any, job: Job, queue: str) -> None:
    """Queue a task of a peer's app."""
    task.apply_async(args=(job.as_dict(),), queue=queue, ignore_result=True)
