"""docs/how-to/deploy.md, followed from `startproject` to an answer that streams behind nginx.

Not done: TLS, `systemctl`, and what needs a container engine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.acceptance.test_nginx import MAIN, TLS
from tests.conftest import ROOT, RedisServer, eventually, free_port, missing

BLOCK = re.compile(r'^```(?:\w+) title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)$", re.MULTILINE)
TEXT = (ROOT / "docs/how-to/deploy.md").read_text()
TUTORIAL = (ROOT / "docs/tutorials/django.md").read_text()
FILES = {Path(title.split(" ")[0]).name: body for title, body in BLOCK.findall(TEXT)}
UNITS = [name for name in FILES if name.endswith(".service")]
BIN = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load(FILES["compose.yaml"])
CONTAINERS = ["worker", "relay", "web"]  # those that run the application
SITE = "https://app.example.com"


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
    assert set(services) == {"redis", "proxy", *CONTAINERS}
    assert all("healthcheck" in services[name] for name in ("redis", *CONTAINERS))
    assert services["worker"]["stop_grace_period"] == "10m"


def test_units_and_containers_run_the_same() -> None:
    units = {"streams-worker": "worker", "streams-relay@": "relay", "web": "web"}
    for unit, service in units.items():
        (line,) = re.findall(r"^ExecStart=\S*/bin/(.*)$", FILES[f"{unit}.service"], re.MULTILINE)
        words = COMPOSE["services"][service]["command"].replace("0.0.0.0:", "127.0.0.1:")
        assert line.removesuffix(" --port %i") == words.removesuffix(" --host 0.0.0.0")


@pytest.mark.slow
def test_the_kubernetes_manifest_is_valid() -> None:
    try:
        import kubernetes_validate
    except ImportError:
        missing("kubernetes-validate (make test-all installs it)")
    manifests = list(yaml.safe_load_all(FILES["streams.yaml"]))
    for each in manifests:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def test_the_kubernetes_manifest_runs_the_same_and_fits_together() -> None:
    manifests = list(yaml.safe_load_all(FILES["streams.yaml"]))
    kinds = [each for each in manifests if each["kind"] == "Deployment"]
    deployments = {each["metadata"]["name"]: each for each in kinds}
    for name in ("worker", "relay"):
        template = deployments[f"streams-{name}"]["spec"]["template"]
        (container,) = template["spec"]["containers"]
        assert container["args"] == shlex.split(COMPOSE["services"][name]["command"])
        labels = template["metadata"]["labels"]
        assert labels == deployments[f"streams-{name}"]["spec"]["selector"]["matchLabels"]
    (service,) = (each for each in manifests if each["kind"] == "Service")
    assert service["spec"]["selector"] == labels
    (port,) = container["ports"]
    assert (port["containerPort"], service["spec"]["ports"][0]["targetPort"]) == (
        8787,
        port["name"],
    )


class Machine:
    """The project that the tutorial makes, with what the page adds, and its processes."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in ("8787", "8000", "443", "model")}
        self.url = f"http://127.0.0.1:{self.ports['443']}"
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOSTNAME": os.uname().nodename,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self.ports['model']}/v1",
            "MODEL_TOKENS_PER_SECOND": "100",
        }
        values = {"DJANGO_SECRET_KEY": "d" * 50 + "efghijk", "STREAM_SECRET": "sYx3-9qLw-0vTz-Ab",
                  "REDIS_URL": redis_url, "OPENAI_API_KEY": "none"}  # fmt: skip
        told = [line.partition("=")[0] for line in FILES["app.env"].splitlines()]
        assert set(told) == set(values)
        self.environment.update(values)
        self.processes: list[subprocess.Popen[bytes]] = []

    def here(self, text: str) -> str:
        """With this machine's folder, addresses and ports, and without TLS."""
        for theirs, ours in (
            (f'"{SITE}/relay"', f'"{self.url}/relay"'),
            (f'["{SITE}"]', f'["{self.url}"]'),
            ("app.example.com", "127.0.0.1"),
            ("/srv/app/venv/bin/", ""),
            ("/srv/app", str(self.folder)),
            ("%i", "8787"),
            ("8787", self.ports["8787"]),
            ("8000", self.ports["8000"]),
        ):
            text = text.replace(theirs, ours)
        return text

    def build(self) -> None:
        """The tutorial's commands and files, then the page's."""
        self.run("django-admin startproject proj .")
        self.run("python manage.py startapp chat")
        for title, body in BLOCK.findall(TUTORIAL):
            self.write(title, body)
        settings = next(title for title, _ in BLOCK.findall(TEXT) if "settings.py" in title)
        self.write(settings.replace("; elsewhere app.conf.stream_...", ""), FILES["settings.py"])
        for command in COMMAND.findall(TEXT):
            if command.startswith("python manage.py"):
                self.run(command)

    def write(self, title: str, body: str) -> None:
        name, end, _ = title.partition(" (at the end)")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if end else ""
        path.write_text(before + self.here(body))

    def run(self, line: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name: str, line: str, folder: Path | None = None) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    shlex.split(self.here(line)), cwd=folder or self.folder,
                    env=self.environment, stdout=log, stderr=log, start_new_session=True,
                )
            )  # fmt: skip

    def start_service(self, service: str) -> None:
        port = f" --port {self.ports['8787']}" if service == "relay" else ""
        self.start(service, COMPOSE["services"][service]["command"] + port)

    def start_unit(self, name: str) -> None:
        (line,) = re.findall(r"^ExecStart=(.*)$", FILES[f"{name}.service"], re.MULTILINE)
        self.start(name, line)

    def start_nginx(self) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            missing("nginx")
        lines = [line for line in FILES["app.conf"].splitlines() if not TLS.match(line)]
        blocks = self.here("\n".join(lines)).replace(
            "listen 443 ssl", f"listen {self.ports['443']}"
        )
        types = "types { text/html html; text/javascript js; text/css css; }"
        path = self.folder / "nginx.conf"
        # Its workers read what only this user can.
        user = "user root;" if os.geteuid() == 0 else ""
        path.write_text(user + MAIN.format(folder=self.folder, blocks=f"{types}\n{blocks}"))
        self.start("nginx", f"{program} -c {path} -p {self.folder}")

    def start_model(self) -> None:
        words = f"-m example_project.model_server --port {self.ports['model']}"
        self.start("model", f"{sys.executable} {words}", ROOT)

    def is_healthy(self, service: str) -> bool:
        test = self.here(COMPOSE["services"][service]["healthcheck"]["test"])
        done = subprocess.run(
            ["/bin/sh", "-c", test.replace("$$", "$")],
            cwd=self.folder, env=self.environment, capture_output=True, timeout=60,
        )  # fmt: skip
        return done.returncode == 0

    def answers(self) -> bool:
        try:
            return httpx.get(self.url, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> list[int]:
        for process in self.processes:
            process.terminate()
        return [process.wait(30) for process in self.processes]


@pytest.fixture
def machine(tmp_path: Path, redis_server: RedisServer) -> Iterator[Machine]:
    if shutil.which("gunicorn", path=str(BIN)) is None:
        missing("gunicorn")
    machine = Machine(tmp_path, redis_server.new_database())
    machine.build()
    yield machine
    for process in machine.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_the_commands_run_and_the_checks_tell(machine: Machine) -> None:
    assert [name for name in CONTAINERS if machine.is_healthy(name)] == []
    for name in CONTAINERS:
        machine.start_service(name)
    for name in CONTAINERS:
        eventually(lambda name=name: machine.is_healthy(name), timeout=90)  # type: ignore[misc]
    assert machine.stop() == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_streams_behind_nginx_and_gunicorn(machine: Machine, tab: Page) -> None:
    machine.start_model()
    enabled = next(each for each in COMMAND.findall(TEXT) if each.startswith("systemctl enable"))
    for unit in enabled.removeprefix("systemctl enable --now ").split():
        machine.start_unit(unit.replace("@8787", "@"))
    machine.start_nginx()
    eventually(machine.answers, timeout=90)
    eventually(lambda: " ready." in (machine.folder / "streams-worker.log").read_text(), timeout=90)
    tab.goto(machine.url)
    tab.get_by_label("Prompt").fill("How does this work?")
    tab.get_by_role("button", name="Ask").click()
    answer = tab.locator("#answer")
    eventually(lambda: len(answer.inner_text()) > 20, timeout=60)
    expect(tab.get_by_role("button", name="Stop")).to_be_visible()  # it is still being written
    tab.reload()
    expect(tab.get_by_role("button", name="Stop")).to_be_hidden(timeout=60_000)
    assert len(answer.inner_text()) > 200
    found = json.loads(machine.run("celery -A proj streams doctor --json"))
    assert [each for each in found if each["grade"] != "ok"] == []


@pytest.mark.slow
def test_the_image_s_commands_run_in_order(machine: Machine) -> None:
    app, proxy = FILES["Dockerfile"].split("\nFROM nginx")
    for line in re.findall(r"^RUN (.*)$", app, re.MULTILINE):
        if line.startswith("pip install"):
            for name in FILES["requirements.txt"].split():
                machine.run(f"python -m pip show --quiet {name.partition('[')[0]}")
        elif not line.startswith("useradd"):
            machine.run(line)
    assert (machine.folder / "static/streamstraight_celery/client.js").exists()
    machine.write("app.conf", FILES["app.conf"])
    (line,) = re.findall(r"^RUN (.*)$", proxy, re.MULTILINE)
    (machine.folder / "app.conf").write_text(FILES["app.conf"])
    machine.run(line.replace("/etc/nginx/conf.d/default.conf", "app.conf"))
    conf = (machine.folder / "app.conf").read_text()
    services = COMPOSE["services"]
    for name, port in (("web", 8000), ("relay", 8787)):
        assert f"server {name}:{port};" in conf
        assert name in services
    assert "127.0.0.1" not in conf
