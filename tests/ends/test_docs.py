"""The recipes of docs/how-to/save-answers.md, run as they stand, on SQLite and a real worker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCS = ROOT / "docs" / "how-to" / "save-answers.md"
MODEL = """
def ask_the_model(prompt):
    yield "Penguins "
    if prompt == "fail":
        raise OSError("the model is away")
    yield "waddle."


"""
# Runs two answers to their ends with a worker in this process, and the same end twice.
RUN = """
def ends(app, answer, save_answer, rows):
    from celery.contrib.testing.worker import start_worker
    from streamstraight_celery.ends.sweeping import sweep
    from streamstraight_celery.runtime import Runtime
    from tests.support.waiting import eventually

    app.loader.import_default_modules()
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        good, bad = answer.stream("go"), answer.stream("fail")
        eventually(lambda: len(rows()) == 2, "both answers are saved")
        saved = {
            good.id: ("Penguins waddle.", "completed"),
            bad.id: ("Penguins ", "producer-error"),
        }
        assert rows() == saved, rows()
        state = good.state()
        end = {"stream_id": good.id, "reason": state.end}
        again = [save_answer.delay(end) for _ in range(2)]
        eventually(lambda: all(each.ready() for each in again), "it is told again")
        assert [each.state for each in again] == ["SUCCESS"] * 2
        assert rows() == saved, rows()
    print("saved", len(rows()))
"""
CELERY = """
from celery import Celery

app = Celery("proj", broker={url!r}, backend={url!r}, set_as_current=True)
app.set_default()
app.conf.broker_connection_retry_on_startup = True
"""


def blocks() -> dict[str, str]:
    """The files of the documentation, by their titles."""
    found = re.findall(r'^```python title="(.*?)"\n(.*?)^```', DOCS.read_text(), re.M | re.S)
    return dict(found)


def with_model(source: str) -> str:
    """The recipe with a model to ask, behind its imports."""
    return source.replace("\n\n@shared_task", f"\n{MODEL}\n@shared_task", 1)


def run(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=folder, env={"PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "saved 2" in done.stdout


def test_sqlalchemy(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "answers.py").write_text(with_model(blocks()["answers.py"]))
    (tmp_path / "run.py").write_text(
        CELERY.format(url=redis_url)
        + "import answers\nfrom sqlalchemy import select\n"
        + RUN
        + """
def rows():
    with answers.Session(answers.engine) as session:
        found = session.scalars(select(answers.Answer)).all()
        return {each.stream_id: (each.text, each.reason) for each in found}

answers.Base.metadata.create_all(answers.engine)
ends(app, answers.answer, answers.save_answer, rows)
"""
    )
    run(tmp_path)


def test_django(tmp_path: Path, redis_url: str) -> None:
    chat = tmp_path / "chat"
    chat.mkdir()
    (chat / "__init__.py").touch()
    (chat / "models.py").write_text(blocks()["chat/models.py"])
    (chat / "tasks.py").write_text(with_model(blocks()["chat/tasks.py"]))
    (tmp_path / "settings.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['chat']\nUSE_TZ = True\n"
        "DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'\n"
        f"DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', "
        f"'NAME': {str(tmp_path / 'db.sqlite3')!r}, 'OPTIONS': {{'timeout': 30}}}}}}\n"
    )
    (tmp_path / "run.py").write_text(
        "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
        "import django\ndjango.setup()\n"
        + CELERY.format(url=redis_url)
        + "from chat.models import Answer\nfrom chat.tasks import answer, save_answer\n"
        + RUN
        + """
from django.db import connection

with connection.schema_editor() as editor:
    editor.create_model(Answer)

def rows():
    found = Answer.objects.all()
    return {each.stream_id: (each.text, each.reason) for each in found}

ends(app, answer, save_answer, rows)
"""
    )
    run(tmp_path)


@pytest.mark.parametrize("name", ["stream_id", "reason", "error", "attempt", "chunks", "bytes",
                                  "task_id", "conversation"])  # fmt: skip
def test_the_page_lists_what_is_told(name: str) -> None:
    from streamstraight_celery.ends.on_end import StreamEnd

    assert name in StreamEnd.__annotations__
    assert re.search(rf"^\| .*`{name}`.* \|", DOCS.read_text(), re.M)
