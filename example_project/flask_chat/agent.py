"""The agent's page: it shows a conversation, in any number of tabs, and talks back into it."""

from __future__ import annotations

from uuid import uuid4

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from streamstraight_celery import StreamActiveError, get_conversation
from streamstraight_celery.enqueue.conversations import Conversation

from .agent_tasks import Note, clean_up
from .visitors import owns, visitor

agent = Blueprint("agent", __name__, url_prefix="/agent")


@agent.get("/")
def begin() -> ResponseReturnValue:
    return redirect(url_for("agent.page", name=f"{visitor()}.{uuid4()}"))


@agent.get("/<name>")
def page(name: str) -> ResponseReturnValue:
    chat = own_conversation(name)
    client_url = url_for("streams.static", filename="client.js")
    return render_template(
        "agent.html", static_url="/static/", client_url=client_url, conversation=chat.ref()
    )


@agent.get("/<name>/ref")
def ref(name: str) -> ResponseReturnValue:
    """A fresh token, before the page's own expires."""
    return own_conversation(name).ref()


@agent.post("/<name>")
def ask(name: str) -> ResponseReturnValue:
    """Start the agent; one that works gets the message instead."""
    chat, note = own_conversation(name), Note.model_validate(request.get_json())
    try:
        return {"stream_id": chat.stream(clean_up, note.text, title=note.text).id}
    except StreamActiveError as active:
        chat.send(note.model_dump())
        return {"stream_id": active.stream_id}


def own_conversation(name: str) -> Conversation:
    """Only the visitor who began it may have it."""
    if not owns(name):
        abort(404)
    return get_conversation(name)
