"""The recipes for Django and Channels, as they stand in docs/how-to."""

from __future__ import annotations

from typing import Any

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import Http404, HttpRequest
from django.urls import path
from django.views.decorators.http import require_POST

settings.configure(
    SECRET_KEY="of these tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[f"{__name__}.signed_in"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"token.html": "<b>{{ text }}</b>"})
                ]
            },
        }
    ],
)
django.setup()

from tests.integrations.sites import recipes  # noqa: E402


class Answers(dict[str, bool]):
    """A visitor's answers, as a relation of the ORM."""

    def create(self, stream_id: str) -> None:
        self[stream_id] = True


class User:
    answers = Answers()


def signed_in(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        request.user = User()
        return get_response(request)

    return middleware


def found(answers: Answers, stream_id: str) -> None:
    if stream_id not in answers:
        raise Http404


def home(request: HttpRequest) -> Any:
    raise Http404


names = recipes.run(
    "own-routes", slice(1, 2), login_required=lambda view: view, require_POST=require_POST,
    get_object_or_404=found,
)  # fmt: skip
consumer = recipes.run("channels", slice(None))["ChatConsumer"]
urlpatterns = [
    path("", home),
    path("own/chat", names["chat"]),
    path("own/chat/<str:stream_id>", names["again"]),
]


def asgi() -> Any:
    sockets = URLRouter([path("socket", consumer.as_asgi())])
    return ProtocolTypeRouter({"http": ASGIHandler(), "websocket": sockets})
