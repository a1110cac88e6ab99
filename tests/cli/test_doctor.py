"""What `streams doctor` finds in projects and settings, and how it tells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from streamstraight_celery import StreamTask
from streamstraight_celery.cli.doctor_checks import check_imports, check_origins, check_secret
from streamstraight_celery.cli.doctor_findings import Finding
from streamstraight_celery.runtime import Runtime
from tests.conftest import ROOT, free_port

PROJECT = {
    "proj/__init__.py": "",
    "proj/settings.py": (
        "SECRET_KEY = 'x'\n"
        "INSTALLED_APPS = ['streamstraight_celery.integrations.django', 'chat']\n"
        "CELERY_BROKER_URL = '{broker}'\n"
        "CELERY_STREAM_PUBLIC_URL = '/relay'\n"
        "CELERY_STREAM_SECRET = 'short'\n"
    ),
    "proj/celery.py": (
        "import os\nfrom celery import Celery\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'proj.settings')\n"
        "app = Celery('proj')\n"
        "app.config_from_object('django.conf:settings', namespace='CELERY')\n"
        "app.autodiscover_tasks()\n"
    ),
    "chat/__init__.py": "",
    "chat/tasks.py": (
        "from streamstraight_celery import stream_task\n"
        "@stream_task\ndef answer():\n    yield 'a'\n"
    ),
}


def told_by(folder: Path, app: str) -> list[list[str]]:
    """The cells of the report's lines, and its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", app, "--skip-checks", "streams", "doctor"],
        cwd=folder, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_a_django_project(tmp_path: Path, redis_url: str) -> None:
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("{broker}", redis_url))
    told = told_by(tmp_path, "proj")
    assert ["tasks", "ok", "1 stream task(s): chat.tasks.answer"] in told  # not imported before
    secret = next(i for i, line in enumerate(told) if line[0] == "secret")
    assert told[secret][1] == "error"
    assert told[secret + 1][2].startswith("-> set another one")
    assert ["queues", "not checked", "no worker has answered"] in told
    workers = next(i for i, line in enumerate(told) if line[0] == "workers")
    assert told[workers + 1] == ["", "", "-> start one: celery -A proj worker"]
    assert told[-1] == ["13 checks: 9 ok, 1 warning, 1 error, 2 not checked"]


def test_advice_repeats_the_app_that_was_given(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    text = f"from celery import Celery\nqueue = Celery(broker={url!r})\nqueue.conf.stream_"
    (tmp_path / "shop.py").write_text(text + f"public_url = 'http://127.0.0.1:{free_port()}'\n")
    told = told_by(tmp_path, "shop:queue")
    assert any("(celery -A shop:queue streams relay)" in line[-1] for line in told)
    assert any(line[:2] == ["queues", "not checked"] for line in told)


@pytest.fixture
def shop() -> Iterator[Celery]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.stream_relay_url = "memory://"
    yield app
    Runtime.of(app).close()


def test_tasks_that_cannot_be_imported(shop: Celery) -> None:
    shop.conf.imports = ["there.is.no.such.module"]
    (found,) = check_imports(shop, Runtime.of(shop))
    assert found.grade == "error"
    assert "No module named 'there'" in found.found


def test_tasks_that_wait_for_the_app_to_be_finalized() -> None:
    app = Celery("lazy", broker="memory://", set_as_current=False)
    app.conf.stream_relay_url = "memory://"

    @app.task(base=StreamTask, shared=False, name="lazy.answer")
    def answer() -> Iterator[str]:
        yield "a"

    assert list(check_imports(app, Runtime.of(app))) == []
    assert "lazy.answer" in app._tasks


GOOD = "Kz8wq-long-and-random-3Vd"


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("short", "too short"),
        ("${STREAM_SECRET}", "placeholder"),
        ([GOOD, "change-me-change-me"], "easy to guess"),
    ],
)
def test_a_secret_that_is_easy_to_guess(shop: Celery, secret: object, words: str) -> None:
    shop.conf.stream_secret = secret
    (found,) = check_secret(shop, Runtime.of(shop))
    assert found.grade == "error"
    assert words in found.found


@pytest.mark.parametrize(
    ("relay", "origins", "grade", "words"),
    [
        ("https://r.example", ["https://a.example"], "ok", "https://a.example may read"),
        ("https://a.example/relay", [], "ok", "relay server's origin"),
        ("/relay", [], "ok", "relay server's origin"),
        ("http://127.0.0.1:8787", ["http://127.0.0.1:8000"], "ok", "may read"),
        ("http://r.example", ["http://localhost:8000"], "ok", "may read"),
        ("https://r.example", [], "warning", "only pages on the relay server's own origin"),
        ("http://127.0.0.1:8787", [], "warning", "only pages on the relay server's own origin"),
        ("http://127.0.0.1:8787", ["https://a.example"], "warning", "visitor's own machine"),
        ("http://r.example", ["https://a.example"], "warning", "which is not https"),
    ],
)
def test_origins_that_cannot_work(
    shop: Celery, relay: str, origins: list[str], grade: str, words: str
) -> None:
    shop.conf.update(stream_secret=GOOD, stream_public_url=relay, stream_allowed_origins=origins)
    (found,) = check_origins(shop, Runtime.of(shop))
    assert isinstance(found, Finding)
    assert (found.grade, bool(found.advice)) == (grade, grade != "ok")
    assert words in found.found
