"""A RabbitMQ node of the tests' own, on free ports, with its data in a directory of theirs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import psutil

from tests.conftest import free_port
from tests.tasks.processes import wait_until

# It is an Erlang virtual machine: half a minute on a machine that is busy.
PATIENCE = 120.0


def program() -> str | None:
    """The server's own script: Debian's on PATH changes to another user first."""
    return shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin") or shutil.which(
        "rabbitmq-server"
    )


class RabbitMQ:
    """One node without plugins, stopped by its process id."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self._log = directory / "output.log"
        directory.joinpath("rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            # The machine's disk and memory are not what is tested here.
            "disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.relative = 0.9\n"
        )
        self._distribution = free_port()
        self._environment = {
            **os.environ,
            "RABBITMQ_NODENAME": f"tests-{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "no-plugins"),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            # A port mapper of its own too: the machine's may be another user's.
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "HOME": str(directory),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> RabbitMQ:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [program() or "rabbitmq-server"], cwd=self._directory, env=self._environment,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_until(self._answers, "RabbitMQ answers", PATIENCE)
        return self

    def stop(self) -> None:
        if self._process is None:
            return
        for member in self._members():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _members(self) -> list[psutil.Process]:
        """The node, its helpers, and the port mapper, which makes itself a daemon."""
        assert self._process is not None
        found = []
        port = self._environment["ERL_EPMD_PORT"]
        for process in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error):
                if (
                    process.info["name"] == "epmd"
                    and process.environ().get("ERL_EPMD_PORT") == port
                ):
                    found.append(process)
        with contextlib.suppress(psutil.NoSuchProcess):
            node = psutil.Process(self._process.pid)
            found = [*node.children(recursive=True), node, *found]
        return found

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"it did not start:\n{self._log.read_text()}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                # The listener is there a little before the node takes connections.
                connection.settimeout(5)
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False
