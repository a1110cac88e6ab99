"""The built sdist, and the wheel made from it, installed alone into an empty environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from streamstraight_celery import __version__
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return out


@pytest.fixture
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def test_the_sdist_holds_what_its_readme_names(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / "README.md").read_text())
    assert links
    for link in links:
        folder = link.endswith("/")
        assert any(name.startswith(link) if folder else name == link for name in names), link
    assert {"Makefile", "CHANGELOG.md", "SECURITY.md", "LICENSE"} <= names


def test_an_index_shows_no_link_that_leads_nowhere(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        shown = archive.read(name).decode()
    assert "# streamstraight-celery" in shown
    assert "guarantees (`docs/guarantees.md`)" in shown
    assert not re.search(r"\]\((?!https?:|#)", shown)


def test_the_changelog_knows_the_version() -> None:
    assert re.search(
        rf"^## \[?{re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M
    )
    assert version("streamstraight-celery") == __version__
    client = json.loads((ROOT / "client" / "package.json").read_text())
    assert client["version"] == __version__


def test_it_holds_what_is_needed_at_run_time(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "streamstraight_celery/py.typed",
        "streamstraight_celery/relays/redis/lua/append.lua",
        "streamstraight_celery/static/streamstraight_celery/client.js",
        "streamstraight_celery/static/streamstraight_celery/client.d.ts",
        "streamstraight_celery/static/streamstraight_celery/streams.html",
        "streamstraight_celery/static/streamstraight_celery/streams.css",
        "streamstraight_celery/static/streamstraight_celery/streams.js",
        "streamstraight_celery/static/streamstraight_celery/streams-list.js",
        "streamstraight_celery/static/streamstraight_celery/streams-plots.js",
        "streamstraight_celery/static/streamstraight_celery/streams-shared.js",
        "streamstraight_celery/static/streamstraight_celery/streams-view.js",
        "streamstraight_celery/docs/protocol.md",
        "streamstraight_celery/skills/streamstraight-celery/SKILL.md",
    } <= names
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "streamstraight_celery",
        "pytest_streamstraight_celery.py",
    }


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_it_works_alone(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel],
        check=True, timeout=500, cwd=tmp_path,
    )  # fmt: skip
    code = """
from celery import Celery
from streamstraight_celery import stream_task

app = Celery(broker="memory://")
app.conf.update(stream_relay_url="memory://", task_always_eager=True)
app.set_default()

@stream_task
def count(n: int):
    for number in range(n):
        yield {"number": number}

handle = count.stream(3)
assert handle.state().last == 3, handle.state()
assert handle.ref()["token"]
"""
    subprocess.run([python, "-W", "error", "-c", code], check=True, timeout=120, cwd=tmp_path)
    relay = subprocess.run(
        [python, "-m", "celery", "--broker", "memory://", "streams", "relay"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={**os.environ, "STREAM_RELAY_URL": "redis://127.0.0.1:1"},
    )  # fmt: skip
    assert relay.returncode != 0
    assert "pip install 'streamstraight-celery[relay]'" in relay.stdout + relay.stderr
    assert "Traceback" not in relay.stderr
