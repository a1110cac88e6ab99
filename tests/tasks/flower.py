"""A real Flower beside the workers of these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import free_port
from tests.tasks.processes import PATIENCE, ROOT, wait_until


class Flower:
    """Started as docs/flower.md says; `http` asks it.

    Args:
        app: the Celery app, as `celery -A` takes it.
        directory: where its log goes.
        environment: more variables.
    """

    def __init__(self, app: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log_file = directory / "flower.log"
        command = [
            sys.executable, "-m", "celery", "-A", app, "flower",
            "--address=127.0.0.1", f"--port={self.url.rpartition(':')[2]}",
            "--tasks_columns=name,uuid,state,kwargs,result,received,started,runtime",
        ]  # fmt: skip
        environment = {**os.environ, **environment, "FLOWER_UNAUTHENTICATED_API": "true"}
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)
        wait_until(self._is_ready, "Flower answers")

    def task(self, task_id: str) -> dict[str, Any]:
        """What it knows of a task, `{}` when it has not heard of it."""
        answer = self.http.get(f"/api/task/info/{task_id}")
        return dict(answer.json()) if answer.status_code == 200 else {}

    def wait_state(self, task_id: str, state: str) -> dict[str, Any]:
        """Return what it knows of the task once it is in that state."""
        wait_until(lambda: self.task(task_id).get("state") == state, f"Flower shows {state}")
        return self.task(task_id)

    def search(self, words: str) -> list[str]:
        """The ids of the tasks that its list shows for what is typed into the search field."""
        query = {
            "draw": "1", "start": "0", "length": "100", "search[value]": words,
            "order[0][column]": "0", "order[0][dir]": "asc", "columns[0][data]": "name",
        }  # fmt: skip
        rows = self.http.get("/tasks/datatable", params=query).raise_for_status().json()["data"]
        return [row["uuid"] for row in rows]

    def terminate(self, task_id: str) -> None:
        """What the button of a task's page does."""
        answer = self.http.post(f"/api/task/revoke/{task_id}", params={"terminate": "true"})
        answer.raise_for_status()

    def close(self) -> None:
        self.http.close()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        log = self._log_file.read_text(errors="replace")
        assert self._process.poll() is None, f"Flower did not start:\n{log}"
        try:
            return self.http.get("/api/workers").is_success
        except httpx.TransportError:
            return False
