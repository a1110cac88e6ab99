"""`streams tail`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from celery import Celery

from ..codecs.words import words_of
from ..enqueue.handle import get_stream
from ..errors import StreamFailedError
from ..offsets import START
from ..relays.end_reasons import GOOD_ENDS
from .group import StreamsCommand, json_option
from .output import json_text, visible, visible_lines

if TYPE_CHECKING:
    from ..reader.reader import StreamReader


@click.command(cls=StreamsCommand)
@click.argument("stream_id")
@click.option("--offset", default=START, help="Start after this; `now`; -10: the last ten.")
@click.option("--text", "as_text", is_flag=True, help="Only the words of the answer.")
@json_option
@click.pass_context
def tail(ctx: click.Context, stream_id: str, offset: str, as_text: bool, as_json: bool) -> None:
    """Follow a stream's chunks as they come, until it ends.

    The exit status is 1 when the stream failed.
    """
    if as_text and as_json:
        raise click.UsageError("--text and --json exclude each other")
    from ..reader import read_stream

    app: Celery = ctx.obj.app
    # A reader waits for a relay that is away, which is right later on, but not for a typing error.
    get_stream(stream_id, app=app)
    began = time.time()

    def reset(attempt: int) -> None:
        show({"reset": attempt}, f"-- attempt {attempt}: from the start --")

    def show(record: dict[str, Any], line: str) -> None:
        if as_text:  # words alone are for standard output
            click.echo(f"\n{visible(line)}", err=True)
        else:
            click.echo(json_text(record) if as_json else visible(line))

    stream = read_stream(stream_id, app=app, offset=offset, on_reset=reset, raise_on_failure=False)
    for each in timed_chunks(stream):
        if as_text:
            whole = isinstance(each.chunk, bytes)
            words = each.chunk.decode("utf-8", "replace") if whole else words_of(each.chunk)
            click.echo(visible_lines(words), nl=False)
            continue
        text = each.chunk if isinstance(each.chunk, str) else json_text(each.chunk)
        record = {"offset": each.offset, "time": each.time, "chunk": each.chunk}
        show(record, f"{each.time - began:8.3f}  {text}")
    why = f": {stream.error.message}" if isinstance(stream.error, StreamFailedError) else ""
    show({"end": stream.end_reason}, f"-- {stream.end_reason}{why} --")
    ctx.exit(0 if stream.end_reason in GOOD_ENDS else 1)


class Tailed(NamedTuple):
    """A chunk, the position after it, and when it was read (seconds since the epoch).

    The log does not keep times, so a chunk that was there before is as old as the look at it.
    """

    offset: str
    chunk: Any
    time: float


def timed_chunks(reader: StreamReader[Any]) -> Iterator[Tailed]:
    """Iterate over a reader's chunks, live, and close it in the end; raises what the reader does.

    `timed_chunks(read_stream(stream_id, app=app, offset="now"))` shows only what comes from now on.
    """
    with reader:
        for chunk in reader:
            yield Tailed(reader.offset, chunk, time.time())
