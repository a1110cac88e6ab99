"""The README's example, as it stands there, run as it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.conftest import ROOT, RedisServer, eventually, free_port

README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def example(name: str) -> str:
    """The README's code block whose first line names the file."""
    match = re.search(rf"```\w+\n((?:#|<!--) {re.escape(name)}[^\n]*\n.*?)```", README, re.DOTALL)
    assert match is not None, name
    return match[1]


def listens(port: int, path: str) -> bool:
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


class Project:
    """The example in a folder of its own, with its processes."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.relay, self.web, self.model = free_port(), free_port(), free_port()
        self.environment = {
            **os.environ,
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self.model}/v1",
            "MODEL_TOKENS_PER_SECOND": "400",
        }
        tasks = example("tasks.py").replace("redis://localhost:6379/0", redis_url)
        tasks += f'\napp.conf.stream_public_url = "http://127.0.0.1:{self.relay}"\n'
        (folder / "tasks.py").write_text(tasks)
        (folder / "web.py").write_text(example("web.py"))
        (folder / "templates").mkdir()
        (folder / "templates" / "chat.html").write_text(
            example("templates/chat.html").replace(":8787", f":{self.relay}")
        )
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._run("model", sys.executable, "-m", "example_project.model_server",
                  "--port", str(self.model), cwd=ROOT)  # fmt: skip
        self._run("worker", BIN / "celery", "-A", "tasks", "worker", "-c", "1", "-l", "INFO")
        self._run("relay", BIN / "celery", "-A", "tasks", "streams", "relay",
                  "--port", str(self.relay))  # fmt: skip
        self._run("web", BIN / "flask", "--app", "web", "run", "--port", str(self.web))
        eventually(lambda: " ready." in self.log("worker"), timeout=60)
        eventually(lambda: listens(self.relay, "/readyz"), timeout=60)
        eventually(lambda: listens(self.web, "/"), timeout=60)
        eventually(lambda: listens(self.model, "/v1/models"), timeout=60)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def doctors_complaints(self) -> set[str]:
        done = subprocess.run(
            [BIN / "celery", "-A", "tasks", "streams", "doctor", "--json"],
            cwd=self.folder, env=self.environment, capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        return {each["check"] for each in json.loads(done.stdout) if each["grade"] != "ok"}

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _run(self, name: str, *words: str | Path, cwd: Path | None = None) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [str(word) for word in words],
                    cwd=cwd or self.folder,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )


@pytest.fixture
def project(tmp_path: Path, redis_server: RedisServer) -> Iterator[Project]:
    project = Project(tmp_path, redis_server.new_database())
    try:
        project.start()
        yield project
    finally:
        project.stop()


def test_the_example_streams_to_its_page(project: Project, tab: Page) -> None:
    tab.goto(f"http://127.0.0.1:{project.web}/")
    tab.get_by_label("Prompt").fill("How does this work?")
    tab.get_by_role("button", name="Ask").click()
    eventually(lambda: "succeeded in" in project.log("worker"), timeout=120)
    eventually(lambda: len(tab.locator("#answer").inner_text()) > 200, timeout=60)
    assert project.doctors_complaints() == {"secret"}
    assert "its one warning here, that `stream_secret` is not set" in README


def test_it_stays_short() -> None:
    assert len(README.splitlines()) <= 130
    code = [example(name) for name in ("tasks.py", "web.py", "templates/chat.html")]
    lines = [line for text in code for line in text.splitlines() if line.strip()]
    assert len(lines) <= 35


def test_its_links_lead_somewhere() -> None:
    assert len(re.findall(r"(?<!!)\[[^\]]*\]\(", README)) <= 8
    for target in re.findall(r"\]\(([^)#]+)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
