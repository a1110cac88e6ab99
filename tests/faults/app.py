"""The Celery app behind the relay servers of these tests; its configuration is in FAULTS_CONF."""

from __future__ import annotations

import json
import os

from celery import Celery

from tests.faults.producer import CONF_VARIABLE

app = Celery("faults", broker="redis://127.0.0.1:1/0", set_as_current=False)
given = json.loads(os.environ.get(CONF_VARIABLE, "{}"))
app.conf.update({f"stream_{name}": value for name, value in given.items()})
