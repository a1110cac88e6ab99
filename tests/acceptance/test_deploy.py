"""docs/how-to/deploy.md: its units and its compose file, as far as it goes without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, RedisServer, eventually, free_port, missing

TEXT = (ROOT / "docs/how-to/deploy.md").read_text()
BLOCK = re.compile(r'^```(?:\w+) title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
FILES = {Path(title.split(" ")[0]).name: body for title, body in BLOCK.findall(TEXT)}
UNITS = [name for name in FILES if name.endswith(".service")]
BIN = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load(FILES["compose.yaml"])


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_one(name: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    body = FILES[name].replace("/srv/app/venv/bin", str(BIN)).replace("User=app", "User=root")
    path = tmp_path / name.replace("@", "@8787")
    path.write_text(body)
    done = subprocess.run([program, "verify", path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_processes_get_time_and_are_checked() -> None:
    assert "KillMode=mixed" in FILES["streams-worker.service"]
    services = COMPOSE["services"]
    assert set(services) == {"redis", "worker", "relay", "web"}
    assert all("healthcheck" in service for service in services.values())
    assert services["worker"]["stop_grace_period"] == "10m"


class Machine:
    """The project, and what the compose file says of its processes."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.ports = {"8787": str(free_port()), "8000": str(free_port())}
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "REDIS_URL": redis_url,
            "STREAM_SECRET": "s" * 32,
            "DJANGO_SETTINGS_MODULE": "proj.settings",
            "HOSTNAME": os.uname().nodename,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        project = folder / "proj"
        project.mkdir()
        (project / "__init__.py").write_text("from .celery import app as celery_app\n")
        (project / "celery.py").write_text(
            "from celery import Celery\napp = Celery('proj')\n"
            "app.config_from_object('django.conf:settings', namespace='CELERY')\n"
        )
        (project / "settings.py").write_text(
            "import os\nSECRET_KEY = 'x'\nROOT_URLCONF = __name__\nurlpatterns = []\n"
            + FILES["settings.py"]
        )
        (project / "wsgi.py").write_text(
            "from django.core.wsgi import get_wsgi_application\n"
            "application = get_wsgi_application()\n"
        )

    def start(self, service: str) -> None:
        with (self.folder / f"{service}.log").open("wb") as log:
            words = self._here(COMPOSE["services"][service]["command"]).split()
            if service == "relay":
                words += ["--port", self.ports["8787"]]
            self.processes.append(
                subprocess.Popen(
                    words, cwd=self.folder, env=self.environment, stdout=log, stderr=log,
                    start_new_session=True,
                )
            )  # fmt: skip

    def is_healthy(self, service: str) -> bool:
        test = self._here(COMPOSE["services"][service]["healthcheck"]["test"])
        done = subprocess.run(
            ["/bin/sh", "-c", test.replace("$$", "$")],
            cwd=self.folder, env=self.environment, capture_output=True, timeout=60,
        )  # fmt: skip
        return done.returncode == 0

    def _here(self, line: str) -> str:
        for theirs, ours in self.ports.items():
            line = line.replace(theirs, ours)
        return line

    def stop(self) -> list[int]:
        for process in self.processes:
            process.terminate()
        return [process.wait(30) for process in self.processes]


@pytest.fixture
def machine(tmp_path: Path, redis_server: RedisServer) -> Iterator[Machine]:
    machine = Machine(tmp_path, redis_server.new_database())
    yield machine
    for process in machine.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_the_commands_run_and_the_checks_tell(machine: Machine) -> None:
    if shutil.which("gunicorn", path=str(BIN)) is None:
        missing("gunicorn")
    services = ["worker", "relay", "web"]
    assert [name for name in services if machine.is_healthy(name)] == []
    for name in services:
        machine.start(name)
    for name in services:
        eventually(lambda name=name: machine.is_healthy(name), timeout=90)  # type: ignore[misc]
    assert machine.stop() == [0, 0, 0]
