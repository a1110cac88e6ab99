"""A chat in Flask: its routes answer at once, a Celery worker streams the answers to the relay.

celery -A example_project.flask_chat worker
celery -A example_project.flask_chat streams relay
flask --app example_project.flask_chat run
"""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex
from uuid import uuid4

from celery import Celery
from flask import Blueprint, Flask, render_template, request, session
from flask.typing import ResponseReturnValue
from kombu.exceptions import OperationalError
from pydantic import ValidationError

import streamstraight_celery
from streamstraight_celery import (
    RelayUnavailableError,
    StreamHandle,
    StreamNotFoundError,
    get_stream,
)

from .tasks import Question, answer

CLIENT = Path(streamstraight_celery.__file__).with_name("static") / "streamstraight_celery"
ORIGINS = "http://127.0.0.1:5000 http://localhost:5000"
# What the page shows when a question cannot be taken, or an answer not be found.
PROBLEMS: dict[type[Exception], tuple[str, int]] = {
    ValidationError: ("That is no message.", 400),
    StreamNotFoundError: ("This answer is no longer kept.", 404),
    RelayUnavailableError: ("The queue cannot be reached. Try again later.", 503),
    OperationalError: ("The queue cannot be reached. Try again later.", 503),
}

chat = Blueprint("chat", __name__)


@chat.get("/")
def page() -> ResponseReturnValue:
    visitor()
    return render_template("chat.html", framework="Flask", static_url="/static/")


@chat.post("/chat")
def ask() -> ResponseReturnValue:
    question = Question.model_validate(request.get_json())
    stream_id = f"{visitor()}.{uuid4()}"
    return answer.apply_stream(kwargs=question.model_dump(), stream_id=stream_id).ref()


@chat.get("/chat/<stream_id>")
def reopen(stream_id: str) -> ResponseReturnValue:
    """A fresh token, for a page that was reloaded or has been open for long."""
    return own_stream(stream_id).ref()


@chat.post("/chat/<stream_id>/stop")
def stop(stream_id: str) -> ResponseReturnValue:
    own_stream(stream_id).stop()
    return "", 204


def visitor() -> str:
    """Who this browser is; the names of its streams begin with it."""
    return str(session.setdefault("visitor", token_hex(8)))


def own_stream(stream_id: str) -> StreamHandle:
    if not stream_id.startswith(f"{visitor()}."):
        raise StreamNotFoundError  # as if it were not there
    return get_stream(stream_id)


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY=os.environ.get("SECRET_KEY", "for development only"),
        SESSION_COOKIE_SAMESITE="Lax",  # other sites cannot ask or stop in a visitor's name
        CELERY={
            "broker_url": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
            "task_ignore_result": True,
            "stream_secret": os.environ.get("STREAM_SECRET", ""),  # needed off this machine
            "stream_public_url": os.environ.get("STREAM_PUBLIC_URL", "http://127.0.0.1:8787"),
            "stream_allowed_origins": os.environ.get("PAGE_ORIGINS", ORIGINS).split(),
        },
    )
    celery_init_app(app)
    app.register_blueprint(chat)
    app.register_blueprint(
        Blueprint("client", __name__, CLIENT, static_url_path="/static/streamstraight_celery")
    )
    for error, (words, status) in PROBLEMS.items():
        app.register_error_handler(error, lambda _, answer=({"error": words}, status): answer)
    return app


def celery_init_app(app: Flask) -> Celery:
    celery = Celery(app.import_name)
    celery.config_from_object(app.config["CELERY"])
    celery.set_default()
    app.extensions["celery"] = celery
    return celery


flask_app = create_app()
celery_app: Celery = flask_app.extensions["celery"]
