"""The processes on the stage: a Redis that keeps its data, relay servers, producers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import redis

from streamstraight_celery.testing.embedded import EmbeddedRedis
from tests.faults.ledger import Ledgers
from tests.faults.producer import CONF_VARIABLE

ROOT = Path(__file__).resolve().parents[2]


class PersistentRedis:
    """A Redis with an append-only file, written each second; it may be killed and come back."""

    def __init__(self, *args: str, port: int = 0) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="streamstraight-faults-"))
        self._server = EmbeddedRedis(
            port,
            args=("--appendonly", "yes", "--appendfsync", "everysec",
                  "--dir", str(self.directory), "--enable-debug-command", "local", *args),
            prefer="redis-server", password="",
        ).start()  # fmt: skip
        self.port = self._server.port

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=20)

    def kill(self) -> None:
        """End at once, as a crash does; what was written to the file is kept."""
        if self._server.running:
            os.kill(self._server.pid, signal.SIGKILL)
            self._server.wait()

    def start(self) -> None:
        self._server.start()

    def forget(self) -> None:
        """Remove all data of a killed server."""
        for path in self.directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def log_size(self) -> int:
        """Bytes in the append-only file."""
        return self._log().stat().st_size

    def lose_tail(self, size: int) -> None:
        """Cut the file of a killed server to `size` bytes, and so perhaps in mid-command."""
        os.truncate(self._log(), size)

    def limit_file_size(self, size: int) -> None:
        """Let no file grow beyond `size`, as on a full disk; -1: no limit."""
        limit = resource.RLIM_INFINITY if size < 0 else size
        hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (limit, hard))

    def close(self) -> None:
        self._server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _log(self) -> Path:
        (found,) = [*self.directory.rglob("*.incr.aof"), *self.directory.glob("appendonly.aof")]
        return found


class Child:
    """A process of ours, ended by its own id."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def memory(self) -> int:
        """Bytes in use."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def descriptors(self) -> int:
        return psutil.Process(self.pid).num_fds()

    def signal(self, signum: int) -> None:
        if self.running:
            self.process.send_signal(signum)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self.running:
            self.process.kill()
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _spawn(self, command: list[str], conf: dict[str, Any], log: Path) -> str:
        """Start, and return the first line that it says."""
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                command, cwd=ROOT, text=True, bufsize=1,
                env={**os.environ, CONF_VARIABLE: json.dumps(conf), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{' '.join(command)} did not start:\n{log.read_text()[-4000:]}"
        return line


class RelayProcess(Child):
    """A relay server; it may be killed and started again on its port."""

    def __init__(self, conf: dict[str, Any], log: Path) -> None:
        self._conf, self._log = conf, log
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "tests.faults.app", "streams", "relay"]
        line = self._spawn([*command, "--port", str(self.port)], self._conf, self._log)
        self.port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", line)[0])


class ProducerProcess(Child):
    """Writes streams; see `producer.py`."""

    def __init__(self, conf: dict[str, Any], directory: Path, name: str, ledgers: Ledgers) -> None:
        self._conf, self._directory, self._name = conf, directory, name
        self._ledgers = ledgers
        self._starts = 0
        self.start()

    def start(self) -> None:
        self._starts += 1
        path = self._directory / f"{self._name}-{self._starts}.ledger"
        command = [sys.executable, "-m", "tests.faults.producer", str(path)]
        self._spawn(command, self._conf, self._directory / f"{self._name}.log")
        self._ledgers.follow(path)

    def begin(self, stream: str, total: int, **plan: Any) -> None:
        """Have a stream written: `total` chunks; `size`, `pace` and `hold` as `producer.py`."""
        self._tell({"stream": stream, "total": total, **plan})

    def go(self, stream: str) -> None:
        """Have it go on behind its hold."""
        self._tell({"go": stream})

    def _tell(self, what: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
