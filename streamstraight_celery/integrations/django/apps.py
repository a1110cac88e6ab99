"""The Django application: static files of the package, system checks, the mounted relay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from django.apps import AppConfig

from ...settings import this_app

if TYPE_CHECKING:
    from ...server import RelayApp


class StreamsConfig(AppConfig):
    """Its folder is the whole package's, whose `static/` holds the browser's client."""

    name = "streamstraight_celery.integrations.django"
    label = "streamstraight_celery"
    verbose_name = "Streams"
    path = str(Path(__file__).parents[2])
    _relay: RelayApp | None = None

    def ready(self) -> None:
        from . import checks

        checks.register_checks()

    @property
    def relay(self) -> RelayApp:
        """The relay that the URLs serve under ASGI, made when it is first asked for."""
        if self._relay is None:
            from ...server import relay_app
            from ..hubs import hubs_of

            app = this_app()
            self._relay = relay_app(app, hubs=hubs_of(app))
        return self._relay
