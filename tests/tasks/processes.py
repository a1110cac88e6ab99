"""The Celery workers that these tests run, each ended by its own id."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from celery import Celery

from tests.support.waiting import PATIENCE as PATIENCE
from tests.support.waiting import eventually as wait_until
from tests.tasks.apps.project import CONF_VARIABLE

ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """A Celery worker of `tests.tasks.apps.project` in a process of its own.

    Args:
        name: of the worker, and of the queue that it consumes.
        conf: the app's configuration.
        directory: where its log goes.
        pool: `prefork`, `threads` or `solo`.
        concurrency: pool processes or threads.
        options: further options of `celery worker`.
        queue: that it consumes, if not the one of its name.
        clock_ahead: seconds that its wall clock is ahead.
    """

    def __init__(
        self,
        name: str,
        conf: dict[str, Any],
        directory: Path,
        *,
        pool: str = "prefork",
        concurrency: int = 2,
        options: tuple[str, ...] = (),
        queue: str = "",
        clock_ahead: float = 0,
    ) -> None:
        self.queue = queue or name
        self.hostname = f"{name}@tests"
        self.log_file = directory / f"{name}.log"
        self._command = [
            sys.executable, "-m", "celery", "-A", "tests.tasks.apps.project", "worker",
            "-n", self.hostname, "-Q", self.queue, "-P", pool, "-c", str(concurrency), "-l", "INFO",
            "--without-mingle", "--without-gossip", "--without-heartbeat", *options,
        ]  # fmt: skip
        self._environment = {**os.environ, CONF_VARIABLE: json.dumps(conf)}
        if clock_ahead:
            clock = str(Path(__file__).with_name("clock"))
            path = [clock, *filter(None, [os.environ.get("PYTHONPATH")])]
            self._environment["PYTHONPATH"] = os.pathsep.join(path)
            self._environment["CLOCK_AHEAD"] = str(clock_ahead)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def pool_processes(self) -> dict[int, float]:
        """Each pool process' id, with its start time: a replaced process is another one."""
        found = {}
        for child in self.process.children():
            if "resource_tracker" not in " ".join(child.cmdline()):
                found[child.pid] = child.create_time()
        return found

    def active(self, app: Celery, task_id: str) -> dict[str, Any]:
        """What `celery inspect active` shows of a task that runs here."""
        inspect = app.control.inspect(destination=[self.hostname], timeout=PATIENCE)
        found = (item for item in inspect.active()[self.hostname] if item["id"] == task_id)
        # The same message may be there again, about to find that it is held already.
        return dict(min(found, key=lambda item: float(item["time_start"])))

    def start(self) -> Worker:
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_ready, f"worker {self.hostname} is ready")
        return self

    def ask_to_stop(self) -> None:
        """Ask for a warm shutdown: it finishes what it runs."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """Wait for the warm shutdown asked for; what does not go in time is killed."""
        if self._process is None:
            return
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """As when the machine is switched off."""
        if self._process is None:
            return
        family = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [self.process, *self.process.children(recursive=True)]
        # None may tell of another's death.
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.suspend()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self._process.wait()
        self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the worker did not start:\n{self.log}"
        return f"{self.hostname} ready." in self.log
