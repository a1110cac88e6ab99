"""`streams ls`, `show`, `top` and `stop`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count

import click
from celery import Celery

from ..conversations.events import read_events
from ..conversations.tree import members
from ..enqueue.ending import state_of
from ..enqueue.handle import get_stream
from ..errors import StreamError, StreamNotFoundError
from ..ids import check_conversation_name, conversation_id
from ..relays import Relay
from ..relays.index import Query
from ..relays.overview import Overview, overview
from ..relays.requests import Read
from ..runtime import Runtime
from .group import StreamsCommand, json_option
from .output import (
    fitted,
    json_text,
    print_json,
    print_table,
    rich_console,
    rich_table,
    shown_duration,
    shown_moment,
    shown_percentiles,
    shown_size,
)

COLUMNS = (
    "task", "stream", "status", "chunks", "size", "first chunk", "lasted", "queue", "worker",
    "labels", "requested",
)  # fmt: skip


@click.command(cls=StreamsCommand)
@click.option("--active", is_flag=True, help="Only streams that have not ended.")
@click.option("--state", "states", multiple=True, help="A status or an end reason; repeatable.")
@click.option("--task", default="", help="Only streams of the task of that name.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Repeatable.")
@click.option("--conversation", default="", metavar="NAME", help="The streams of one, as a tree.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Newest N.")
@json_option
@click.pass_context
def ls(
    ctx: click.Context,
    active: bool,
    states: Sequence[str],
    task: str,
    labels: Sequence[str],
    conversation: str,
    limit: int,
    as_json: bool,
) -> None:
    """List streams, the newest first."""
    if conversation:
        if states or active or task or labels:
            raise click.UsageError("--conversation lists all streams of one: no other filters")
        _list_conversation(relay_of(ctx), conversation, as_json)
        return
    if active and states:
        raise click.UsageError("--active is a state itself: give --active or --state")
    wanted = ("active",) if active else states
    query = Query.of(labels=labels_of(labels), task=task, state=wanted, limit=limit)
    found = relay_of(ctx).find(query)
    views = [overview(*each) for each in found.streams]
    if as_json:
        print_json(views)
        return
    print_table(COLUMNS, [line(each) for each in views])
    if sys.stdout.isatty():
        for each in percentiles(views):
            click.echo(each)
    if found.more:
        click.echo("there are more; see --limit", err=True)
    if not found.complete:
        click.echo("streams of an earlier version are still looked for: run it again", err=True)


def _list_conversation(relay: Relay, name: str, as_json: bool) -> None:
    """Print a conversation's streams, those that others started below those.

    Raises:
        StreamNotFoundError: there is no such conversation.
    """
    log = conversation_id(check_conversation_name(name))
    found = members(read_events(relay, log))
    if not found:
        raise StreamNotFoundError(f"no conversation {name!r}, or none with streams")
    rows, views = [], []
    for each in found:
        page = relay.read(Read(each.stream_id))
        about = f"{'  ' * each.depth}{each.title or each.task or '-'}"
        if page is None:
            views.append({"status": "expired", **each._asdict()})
            rows.append((about, each.stream_id, "expired", *["-"] * (len(COLUMNS) - 3)))
        else:
            view = overview(each.stream_id, page.state)
            views.append({**view, **each._asdict()})
            rows.append((about, *line(view)[1:]))
    if as_json:
        print_json(views)
    else:
        print_table(COLUMNS, rows)


def percentiles(views: Sequence[Overview]) -> Iterator[str]:
    """What is worth knowing of the times of all streams that are listed."""
    first = [each["first_chunk_after"] for each in views if each["first_chunk_after"] is not None]
    lasted = [
        each["duration"] for each in views if each["duration"] is not None and each["end_reason"]
    ]
    if first:
        yield f"first chunk: {shown_percentiles(first)}"
    if lasted:
        yield f"lasted: {shown_percentiles(lasted)}"


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """Labels as the command line has them.

    Raises:
        BadParameter: one is not `name=value`.
    """
    pairs = [each.partition("=") for each in given]
    if any(not (equals and value) for _, equals, value in pairs):
        raise click.BadParameter("write --label name=value")
    return {name: value for name, _, value in pairs}


@click.command(cls=StreamsCommand)
@click.argument("stream_id")
@json_option
@click.pass_context
def show(ctx: click.Context, stream_id: str, as_json: bool) -> None:
    """Show one stream."""
    found = overview(stream_id, state_of(Runtime.of(ctx.obj.app), stream_id))
    if as_json:
        print_json(found)
        return
    ago = shown_duration(found["age"])
    rows = [
        ("task", found["task"] or "-"),
        ("status", shown_status(found)),
        ("requested", f"{shown_moment(found['requested_at'])} ({ago} ago)"),
        ("first chunk", shown_duration(found["first_chunk_after"])),
        ("lasted", shown_duration(found["duration"])),
        ("chunks", f"{found['chunks']} ({shown_size(found['bytes'])})"),
        ("attempt", str(found["attempt"])),
        ("queue", found["queue"] or "-"),
        ("worker", found["worker"] or "-"),
        ("labels", shown_labels(found)),
        ("conversation", found["conversation"] or "-"),
        ("task id", found["task_id"] or "-"),
        ("stop asked", "yes" if found["stop_asked"] else "no"),
    ]
    if found["error"]:
        rows.append(("error", str(json.loads(found["error"]).get("message", found["error"]))))
    print_table((stream_id, ""), rows, styled="")


@click.command(cls=StreamsCommand)
@click.argument("stream_ids", nargs=-1, required=True)
@json_option
@click.pass_context
def stop(ctx: click.Context, stream_ids: Sequence[str], as_json: bool) -> None:
    """Stop streams: queued tasks never start, running generators are closed.

    The exit status is 1 when one of them could not be stopped; the others are.
    """
    app: Celery = ctx.obj.app
    told: list[dict[str, str]] = []
    for stream_id in stream_ids:
        try:
            asked = get_stream(stream_id, app=app).stop()
        except StreamError as error:
            told.append({"stream_id": stream_id, "error": str(error)})
        else:
            told.append({"stream_id": stream_id, "status": "stopping" if asked else "ended"})
    if as_json:
        print_json(told)
    else:
        words = {"stopping": "stopping", "ended": "had ended already"}
        for each in told:
            said = each.get("error") or words[each["status"]]
            click.echo(f"{each['stream_id']}\t{said}", err="error" in each)
    ctx.exit(1 if any("error" in each for each in told) else 0)


@click.command(cls=StreamsCommand)
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.2))
@click.option("--rounds", default=0, type=click.IntRange(0), help="End after so many; 0: never.")
@json_option
@click.pass_context
def top(ctx: click.Context, interval: float, rounds: int, as_json: bool) -> None:
    """Watch the streams that have not ended, with their rates; Ctrl-C ends it.

    With --json each round is one line: a list of streams.
    """
    views = live_views(relay_of(ctx), interval, rounds)
    if as_json:
        for view in views:
            click.echo(json_text(view))
        return
    if not sys.stdout.isatty() or rich_table((), ()) is None:
        for view in views:
            print_table(TOP_COLUMNS, [top_line(each) for each in view])
        return
    from rich.live import Live

    with Live(console=rich_console(), auto_refresh=False, screen=True) as live:
        for view in views:
            columns, *rows = fitted([TOP_COLUMNS, *map(top_line, view)])
            live.update(rich_table(columns, rows) or "", refresh=True)


TOP_COLUMNS = ("task", "stream", "status", "chunks", "size", "chunks/s", "first chunk", "age")


RUNNING = Query(states=("active",), limit=1000)


class Rated(Overview):
    """A stream of `top`; `rate` is chunks a second since the view before, None in its first."""

    rate: float | None


def live_views(relay: Relay, interval: float, rounds: int) -> Iterator[list[Rated]]:
    """The streams that have not ended, again and again, `interval` seconds apart."""
    before: dict[str, int] = {}
    since = time.monotonic()
    for number in count(1):
        now = time.monotonic()
        found = [overview(*each) for each in relay.find(RUNNING).streams]
        yield [{**each, "rate": rate_of(each, before, now - since)} for each in found]
        before, since = {each["stream_id"]: each["chunks"] for each in found}, now
        if number == rounds:
            return
        try:
            time.sleep(interval)
        except KeyboardInterrupt:
            return


def rate_of(found: Overview, before: dict[str, int], seconds: float) -> float | None:
    """Chunks a second since the view before."""
    if found["stream_id"] not in before:
        return None
    return round(max(0, found["chunks"] - before[found["stream_id"]]) / seconds, 1)


def top_line(found: Rated) -> tuple[str, ...]:
    return (
        found["task"] or "-",
        found["stream_id"],
        shown_status(found),
        str(found["chunks"]),
        shown_size(found["bytes"]),
        "-" if found["rate"] is None else f"{found['rate']:.1f}",
        shown_duration(found["first_chunk_after"]),
        shown_duration(found["age"]),
    )


def relay_of(ctx: click.Context) -> Relay:
    app: Celery = ctx.obj.app
    return Runtime.of(app).relay


def line(found: Overview) -> tuple[str, ...]:
    return (
        found["task"] or "-",
        found["stream_id"],
        shown_status(found),
        str(found["chunks"]),
        shown_size(found["bytes"]),
        shown_duration(found["first_chunk_after"]),
        shown_duration(found["duration"]),
        found["queue"] or "-",
        found["worker"] or "-",
        shown_labels(found),
        shown_moment(found["requested_at"]),
    )


def shown_labels(found: Overview) -> str:
    return " ".join(f"{name}={value}" for name, value in found["labels"].items()) or "-"


def shown_status(found: Overview) -> str:
    return found["end_reason"] or found["status"]
