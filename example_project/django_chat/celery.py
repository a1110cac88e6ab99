"""The Celery application; its settings are Django's `CELERY_*`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.django_chat.settings")

app = Celery("django_chat")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
