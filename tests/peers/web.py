"""An application with a chat, as `docs/readers.md` shows it: it holds no answer itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

from streamstraight_celery import StreamHandle, StreamNotFoundError, get_stream
from tests.peers.app import app as celery_app

PAGE = """<!doctype html><meta charset="utf-8"><title>chat</title>
<div id="root"></div>"""
SCRIPT = '<script type="module" src="/{}.js"></script>'


class Web:
    """The application, served from a thread.

    Attributes:
        ask: enqueues the next answer.
        streams: the stream of each chat's last answer, until that is saved.
        requests: method, path and status of each request so far.
        bundles: where the pages' scripts are.
    """

    def __init__(self) -> None:
        self.ask: Callable[[], StreamHandle] | None = None
        self.streams: dict[str, str] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.bundles = Path()
        self._server = make_server("127.0.0.1", 0, self._application(), threaded=True)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _begin(self, chat_id: str) -> StreamHandle:
        assert self.ask is not None
        stream = self.ask()
        self.streams[chat_id] = stream.id
        return stream

    def _unsaved(self, chat_id: str) -> StreamHandle | None:
        """The answer that the chat still waits for, if it does."""
        stream_id = self.streams.get(chat_id)
        try:
            return get_stream(stream_id, app=celery_app) if stream_id else None
        except StreamNotFoundError:
            return None

    def _application(self) -> Flask:
        app = Flask(__name__)

        @app.get("/")
        def page() -> str:
            script = request.args.get("script")
            return PAGE + (SCRIPT.format(script) if script else "")

        @app.get("/<name>.js")
        def script(name: str) -> ResponseReturnValue:
            text = (self.bundles / f"{name}.js").read_text()
            return text, {"Content-Type": "text/javascript"}

        @app.post("/api/chat")
        def chat() -> ResponseReturnValue:
            return redirect(self._begin(request.get_json()["id"]).sse_url(), 303)

        @app.get("/api/chat/<chat_id>/stream")
        def resume(chat_id: str) -> ResponseReturnValue:
            stream = self._unsaved(chat_id)
            return redirect(stream.sse_url(), 303) if stream else ("", 204)

        @app.post("/api/text")
        def text() -> ResponseReturnValue:
            assert self.ask is not None
            return redirect(self.ask().text_url(), 303)

        @app.post("/api/agent")
        def agent() -> ResponseReturnValue:
            return jsonify(self._begin(request.get_json()["threadId"]).ref())

        @app.get("/api/agent/<thread_id>/stream")
        def join_agent(thread_id: str) -> ResponseReturnValue:
            stream = self._unsaved(thread_id)
            return jsonify(stream.ref()) if stream else ("", 204)

        @app.post("/api/durable")
        def durable() -> ResponseReturnValue:
            return self._durable_url(self._begin(request.get_json()["id"]))

        @app.get("/api/durable/<chat_id>/stream")
        def resume_durable(chat_id: str) -> ResponseReturnValue:
            stream = self._unsaved(chat_id)
            return self._durable_url(stream) if stream else ("", 204)

        @app.after_request
        def note(response: Any) -> Any:
            self.requests.append((request.method, request.path, response.status_code))
            return response

        return app

    @staticmethod
    def _durable_url(stream: StreamHandle) -> ResponseReturnValue:
        return jsonify(streamUrl=f"{stream.url}?token={stream.token(scopes=['read'])}")
