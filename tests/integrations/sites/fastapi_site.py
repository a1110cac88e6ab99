"""A FastAPI app with the relay mounted."""

from __future__ import annotations

from typing import Any

from celery import Celery
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from starlette.middleware.sessions import SessionMiddleware

from streamstraight_celery import StreamHandle, StreamRef, apublish, atee, get_stream, publish, tee
from streamstraight_celery.integrations.fastapi import (
    Streams,
    remember,
    respond,
    respond_websocket,
)
from streamstraight_celery.integrations.hubs import hubs_of
from tests.integrations.sites import sources

celery_app = Celery("fastapi_site", set_as_current=False)
celery_app.config_from_object(sources.settings())


def create_app() -> FastAPI:
    celery_app.set_default()
    streams = Streams(celery_app)
    own: Any = Depends(streams.own)
    app = FastAPI(lifespan=streams.lifespan)
    app.add_middleware(SessionMiddleware, secret_key="of these tests")
    app.include_router(streams.router, prefix="/streams")
    app.mount("/relay", streams.relay)

    @app.get("/ask")
    def ask(request: Request, chat: str | None = None) -> StreamRef:
        stream = sources.answer.apply_stream(("one two",), key=chat)
        remember(request, stream)
        return stream.ref()

    @app.get("/chat/{chat}/stream")
    async def go_on(chat: str, have: str | None = None) -> Response:
        return await streams.resume(chat, have=have)

    @app.get("/mine/{stream_id}")
    def mine(stream: StreamHandle = own) -> dict[str, str]:
        return {"end": stream.state().end}

    @app.get("/after")
    def after(request: Request) -> StreamRef:
        stream = publish(sources.gated())
        remember(request, stream)
        return stream.ref()

    @app.get("/after-async")
    async def after_async() -> StreamRef:
        return (await apublish(sources.agated())).ref()

    @app.get("/after-task")
    async def after_task(background: BackgroundTasks) -> StreamRef:
        return (await streams.publish_after(background, sources.agated())).ref()

    @app.get("/both")
    def both() -> Any:
        stream = tee(sources.gated())
        return StreamingResponse(sources.lines(stream), headers={"X-Stream-Id": stream.id})

    @app.get("/both-async")
    async def both_async() -> Any:
        stream = await atee(sources.agated())
        return StreamingResponse(sources.alines(stream), headers={"X-Stream-Id": stream.id})

    @app.post("/begin/{then}")
    async def begin(then: str, request: Request) -> Response:
        return respond(await apublish(sources.steps(then)), request)

    @app.get("/own/{way}/{stream_id}")
    def own_route(way: str, stream_id: str, request: Request) -> Response:
        return respond(stream_id, request, app=celery_app, **sources.WAYS[way])

    @app.websocket("/socket/{way}/{stream_id}")
    async def socket(way: str, stream_id: str, websocket: WebSocket) -> None:
        await websocket.accept()

        def heard(text: str) -> None:
            if text == "stop":
                get_stream(stream_id, app=celery_app).stop()

        options = sources.WAYS[way]
        await respond_websocket(stream_id, websocket, on_message=heard, app=celery_app, **options)

    @app.get("/watched")
    async def watched() -> dict[str, int]:
        return sources.watched(hubs_of(celery_app))

    return app
