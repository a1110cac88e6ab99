"""docs/how-to/drf.md as it stands: a JWT for the API, a stream's token for its user alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing

pytestmark = pytest.mark.slow
BLOCK = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
FILES = dict(BLOCK.findall((ROOT / "docs/how-to/drf.md").read_text()))
SETTINGS = """
from pathlib import Path
SECRET_KEY = "k" * 50
ROOT_URLCONF = "proj.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "chat"]
DATABASE = Path(__file__).with_name("db")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}}
CELERY_BROKER_URL = "memory://"
CELERY_STREAM_RELAY_URL = "memory://"
"""
CELERY = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
"""
TASKS = """
from streamstraight_celery import stream_task
@stream_task
def answer(prompt):
    yield prompt
"""
USE = """
import proj, django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.test import APIClient
call_command("migrate", verbosity=0)
visitors = {}
for name in ("ada", "eve"):
    User.objects.create_user(name, password="secret of " + name)
    client = visitors[name] = APIClient()
    body = {"username": name, "password": "secret of " + name}
    jwt = client.post("/api/token/", body, format="json").json()["access"]
    client.credentials(HTTP_AUTHORIZATION="Bearer " + jwt)
assert APIClient().post("/api/chat/", {"prompt": "x"}, format="json").status_code == 401
ada, eve = visitors["ada"], visitors["eve"]
ref = ada.post("/api/chat/", {"prompt": "hello"}, format="json").json()
path = f"/api/streams/{ref['stream_id']}"
assert ada.get(f"{path}/token").json()["stream_id"] == ref["stream_id"]
assert eve.get(f"{path}/token").status_code == 404
assert eve.post(f"{path}/stop").status_code == 404
assert ada.get("/api/streams/nothing/token").status_code == 404
assert ada.post(f"{path}/stop").status_code == 204
from streamstraight_celery import get_stream
assert get_stream(ref["stream_id"]).state().end == "stopped"
"""


def test_streams_belong_to_the_user_of_the_jwt(tmp_path: Path) -> None:
    if find_spec("rest_framework_simplejwt") is None:
        missing("djangorestframework-simplejwt (make test-all installs it)")
    files = {
        "proj/__init__.py": "from .celery import app as celery_app\n", "proj/celery.py": CELERY,
        "chat/__init__.py": "", "chat/tasks.py": TASKS, "use.py": USE,
        "proj/settings.py": SETTINGS + FILES["proj/settings.py (at the end)"],
        "proj/urls.py": FILES["proj/urls.py"], "chat/api.py": FILES["chat/api.py"],
    }  # fmt: skip
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    done = subprocess.run(
        [sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
