"""`path("streams/", include("streamstraight_celery.integrations.django.urls"))`."""

from __future__ import annotations

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.urls import path, re_path

from . import views

if not apps.is_installed("streamstraight_celery.integrations.django"):
    raise ImproperlyConfigured(
        'Add "streamstraight_celery.integrations.django" to INSTALLED_APPS: without it there are '
        "neither template tags and static files, nor system checks, nor the mounted relay."
    )

app_name = "streams"
urlpatterns = [
    re_path(r"^(?P<path>v1/.+|healthz|readyz|client\.js)$", views.relay, name="relay"),
    path("<str:stream_id>/token", views.token, name="token"),
    path("<str:stream_id>/stop", views.stop, name="stop"),
]
