"""The Django site with WebSockets by Channels."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from streamstraight_celery import get_stream
from streamstraight_celery.integrations.channels import respond
from tests.integrations.sites import django_site, sources


class Consumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        where = self.scope["url_route"]["kwargs"]
        self.stream_id = where["stream_id"]
        options = {**sources.WAYS[where["way"]], "app": django_site.celery_app}
        self.answering = respond(self.stream_id, self, **options)

    async def receive(self, text_data: str = "", bytes_data: bytes = b"") -> None:
        if text_data == "stop":
            await sync_to_async(get_stream(self.stream_id, app=django_site.celery_app).stop)()


def asgi() -> Any:
    sockets = URLRouter([path("socket/<str:way>/<str:stream_id>", Consumer.as_asgi())])
    return ProtocolTypeRouter({"http": django_site.asgi(), "websocket": sockets})
