"""Settings of the Django chat. There is no database: the session is a signed cookie."""

from __future__ import annotations

import os
from pathlib import Path

DEBUG = os.environ.get("DJANGO_DEBUG", "1") == "1"
SECRET_KEY = os.environ.get("SECRET_KEY", "for development only")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "example_project.django_chat.urls"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "streamstraight_celery.integrations.django",
    "example_project.django_chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

# The page is that of the Flask chat.
PAGE = Path(__file__).parent.parent / "flask_chat"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PAGE / "templates"],
    }
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [PAGE / "static"]

CELERY_BROKER_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_TASK_IGNORE_RESULT = True
CELERY_STREAM_SECRET = os.environ.get("STREAM_SECRET", "")  # needed off this machine
CELERY_STREAM_PERMISSION = "example_project.django_chat.views.stream_permission"
CELERY_STREAM_PUBLIC_URL = os.environ.get("STREAM_PUBLIC_URL", "http://127.0.0.1:8787")
CELERY_STREAM_ALLOWED_ORIGINS = os.environ.get(
    "PAGE_ORIGINS", "http://127.0.0.1:8000 http://localhost:8000"
).split()
