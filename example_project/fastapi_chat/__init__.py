"""A chat in FastAPI: its routes answer at once, a Celery worker streams the answers to the relay.

celery -A example_project.fastapi_chat worker
celery -A example_project.fastapi_chat streams relay
uvicorn example_project.fastapi_chat:api
"""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex
from uuid import uuid4

from celery import Celery
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from kombu.exceptions import OperationalError
from starlette.middleware.sessions import SessionMiddleware

import streamstraight_celery
from streamstraight_celery import RelayUnavailableError, StreamRef
from streamstraight_celery.integrations.fastapi import Streams

from .tasks import Question, answer

CLIENT = Path(streamstraight_celery.__file__).with_name("static") / "streamstraight_celery"
PAGE = Path(__file__).parent.parent / "flask_chat"  # the page is that of the Flask chat
ORIGINS = "http://127.0.0.1:8000 http://localhost:8000"
# What the page shows when a question cannot be taken.
PROBLEMS: dict[type[Exception], tuple[str, int]] = {
    RequestValidationError: ("That is not a message.", 400),
    RelayUnavailableError: ("The queue cannot be reached. Try again later.", 503),
    OperationalError: ("The queue cannot be reached. Try again later.", 503),
}

celery_app = Celery("fastapi_chat")
celery_app.conf.update(
    broker_url=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    task_ignore_result=True,
    stream_secret=os.environ.get("STREAM_SECRET", ""),  # needed off this machine
    stream_public_url=os.environ.get("STREAM_PUBLIC_URL", "http://127.0.0.1:8787"),
    stream_allowed_origins=os.environ.get("PAGE_ORIGINS", ORIGINS).split(),
)
celery_app.set_default()


def visitor(request: Request) -> str:
    """Who this browser is; the names of its streams begin with it."""
    return str(request.session.setdefault("visitor", token_hex(8)))


def own_stream(request: Request, stream_id: str) -> bool:
    """Only the visitor who asked for a stream may have it."""
    return stream_id.startswith(f"{visitor(request)}.")


streams = Streams(celery_app, permission=own_stream)
api = FastAPI(lifespan=streams.lifespan)
# SameSite=Lax: other sites cannot ask or stop in a visitor's name.
secret_key = os.environ.get("SECRET_KEY", "for development only")
api.add_middleware(SessionMiddleware, secret_key=secret_key, same_site="lax")
api.include_router(streams.router, prefix="/streams")
api.mount("/static/client", StaticFiles(directory=CLIENT))
api.mount("/static", StaticFiles(directory=PAGE / "static"))
templates = Jinja2Templates(PAGE / "templates")


@api.get("/")
def page(request: Request) -> Response:
    visitor(request)
    shown = {"framework": "FastAPI", "static_url": "/static/"}
    shown["client_url"] = "/static/client/client.js"
    return templates.TemplateResponse(request, "chat.html", shown)


@api.post("/chat")
def ask(request: Request, question: Question) -> StreamRef:
    stream_id = f"{visitor(request)}.{uuid4()}"
    return answer.apply_stream(kwargs=question.model_dump(), stream_id=stream_id).ref()


def explain(_: Request, error: Exception) -> Response:
    words, status = next(PROBLEMS[kind] for kind in PROBLEMS if isinstance(error, kind))
    return JSONResponse({"error": words}, status)


for problem in PROBLEMS:
    api.add_exception_handler(problem, explain)
