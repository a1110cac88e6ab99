"""A Flask app by its factory: `flask_site:create_app()`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from flask import Flask, Response, render_template_string, request
from flask.typing import ResponseReturnValue

from streamstraight_celery import publish, read_stream, tee
from streamstraight_celery.integrations.flask import Streams, remember, respond, resume
from streamstraight_celery.integrations.hubs import hubs_of
from tests.integrations.sites import sources

streams = Streams()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="of these tests", CELERY=sources.settings())
    streams.init_app(app)

    @app.get("/")
    def page() -> str:
        return render_template_string("{{ stream_client(nonce='n') }}")

    @app.get("/ask")
    def ask() -> ResponseReturnValue:
        stream = sources.answer.apply_stream(("one two",), key=request.args.get("chat"))
        remember(stream)
        return dict(stream.ref())

    @app.get("/chat/<chat>/stream")
    def go_on(chat: str) -> Response:
        return resume(chat, have=request.args.get("have"))

    @app.get("/after")
    def after() -> ResponseReturnValue:
        stream = publish(sources.gated())
        remember(stream)
        return dict(stream.ref())

    @app.get("/both")
    def both() -> Response:
        stream = tee(sources.gated())
        return Response(sources.lines(stream), headers={"X-Stream-Id": stream.id})

    @app.get("/both-async")
    def both_async() -> Response:
        stream = tee(sources.agated())
        return Response(sources.lines(stream), headers={"X-Stream-Id": stream.id})

    @app.get("/read/<stream_id>")
    def read(stream_id: str) -> Response:
        def lines() -> Iterator[str]:
            with read_stream(stream_id) as stream:
                yield from sources.lines(stream)

        return Response(lines())

    @app.post("/begin/<then>")
    def begin(then: str) -> Response:
        return respond(publish(sources.steps(then)), request)

    @app.get("/own/<way>/<stream_id>")
    def own(way: str, stream_id: str) -> Response:
        return respond(stream_id, request, **sources.WAYS[way])

    @app.get("/watched")
    def watched() -> ResponseReturnValue:
        return sources.watched(hubs_of(app.extensions["celery"]))

    @app.get("/asyncio")
    def runs_a_loop() -> str:
        asyncio.run(asyncio.sleep(0.01))
        return "fine"

    return app
