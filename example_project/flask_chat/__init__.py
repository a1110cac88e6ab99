"""A chat in Flask: its routes answer at once, a Celery worker streams the answers to the relay.

celery -A example_project.flask_chat worker
celery -A example_project.flask_chat streams relay
flask --app example_project.flask_chat run
"""

from __future__ import annotations

import os
from uuid import uuid4

from celery import Celery
from flask import Blueprint, Flask, render_template, request, url_for
from flask.typing import ResponseReturnValue
from kombu.exceptions import OperationalError
from pydantic import ValidationError

from streamstraight_celery import RelayUnavailableError
from streamstraight_celery.integrations.flask import Streams, celery_init_app

from .agent import agent
from .tasks import Question, answer
from .visitors import owns, visitor

ORIGINS = "http://127.0.0.1:5000 http://localhost:5000"
# What the page shows when a question cannot be taken.
PROBLEMS: dict[type[Exception], tuple[str, int]] = {
    ValidationError: ("That is not a message.", 400),
    RelayUnavailableError: ("The queue cannot be reached. Try again later.", 503),
    OperationalError: ("The queue cannot be reached. Try again later.", 503),
}

chat = Blueprint("chat", __name__)


@chat.get("/")
def page() -> ResponseReturnValue:
    visitor()
    client_url = url_for("streams.static", filename="client.js")
    return render_template(
        "chat.html", framework="Flask", static_url="/static/", client_url=client_url
    )


@chat.post("/chat")
def ask() -> ResponseReturnValue:
    question = Question.model_validate(request.get_json())
    stream_id = f"{visitor()}.{uuid4()}"
    return answer.apply_stream(kwargs=question.model_dump(), stream_id=stream_id).ref()


streams = Streams(permission=owns)  # only the visitor who asked for a stream may have it


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY=os.environ.get("SECRET_KEY", "for development only"),
        SESSION_COOKIE_SAMESITE="Lax",  # other sites cannot ask or stop in a visitor's name
        CELERY={
            "broker_url": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
            "task_ignore_result": True,
            "stream_secret": os.environ.get("STREAM_SECRET", ""),  # needed off this machine
            "stream_token_ttl": float(os.environ.get("STREAM_TOKEN_TTL", "3600")),
            "stream_public_url": os.environ.get("STREAM_PUBLIC_URL", "http://127.0.0.1:8787"),
            "stream_allowed_origins": os.environ.get("PAGE_ORIGINS", ORIGINS).split(),
        },
    )
    celery_init_app(app)
    app.register_blueprint(chat)
    app.register_blueprint(agent)
    streams.init_app(app)
    for error, (words, status) in PROBLEMS.items():
        app.register_error_handler(error, lambda _, answer=({"error": words}, status): answer)
    return app


flask_app = create_app()
celery_app: Celery = flask_app.extensions["celery"]
