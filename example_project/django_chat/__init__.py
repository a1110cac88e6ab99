"""A chat in Django: its views answer at once, a Celery worker streams the answers to the relay.

export DJANGO_SETTINGS_MODULE=example_project.django_chat.settings
celery -A example_project.django_chat worker
celery -A example_project.django_chat streams relay
python -m django runserver
"""

from .celery import app as celery_app

__all__ = ["celery_app"]
