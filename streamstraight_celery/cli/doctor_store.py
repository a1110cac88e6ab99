"""The checks of `streams doctor` on the stream store: its health, and what its user may do."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from celery import Celery

from ..errors import StreamError
from ..offsets import new_nonce
from ..relays import AsyncRelay, Relay, open_async_relay, open_relay
from ..relays.cluster.relay import ClusterRelay
from ..relays.redis.relay import RedisRelay, not_allowed
from ..relays.requests import Append, Claim, Create, Delete, Delist, Enlist, Entry, Read, Stop
from ..relays.sealing import seal_requests
from ..runtime import Runtime
from .doctor_findings import Finding

MIN_REDIS = (6, 2)
MAX_SKEW = 2.0  # seconds
NOTICE_TIMEOUT = 3.0  # seconds in which a reader has to hear of a chunk
PROBE_TTL = 60.0  # seconds that the probe is kept if it cannot be deleted


def check_redis(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    relay = runtime.relay
    if isinstance(relay, RedisRelay):
        found = [*_certificate(relay), *_server(relay)]
        yield from found
        if all(each.grade != "error" for each in found):
            yield from _rights(runtime)
    elif isinstance(relay, ClusterRelay):
        try:
            primaries = relay.primaries()
        except StreamError as error:
            yield _unreached(error)
            return
        for (host, port), node in primaries.items():
            for finding in _server(node):
                yield finding._replace(check=f"{finding.check} {host}:{port}")
        yield from _rights(runtime)
    else:
        yield Finding("relay", "ok", f"kept by {type(relay).__name__}")


def _certificate(relay: RedisRelay) -> Iterator[Finding]:
    if relay.trusts_any_certificate:
        found = "the certificate of Redis is not checked (ssl_cert_reqs)"
        advice = "name its CA: ssl_cert_reqs required and ssl_ca_certs, where Redis is configured"
        yield Finding("tls", "warning", found, advice)


def _server(relay: RedisRelay) -> Iterator[Finding]:
    """What one Redis says of itself."""
    try:
        began = time.monotonic()
        told = relay.server_info()
        took = time.monotonic() - began
    except StreamError as error:
        if error.__cause__ is not None and not_allowed(error.__cause__):
            found = f"it is there; its version and eviction policy are unknown ({error.__cause__})"
            advice = "to check them too, allow +info +time to the user that runs doctor"
            yield Finding("redis", "warning", found, advice)
        else:
            yield _unreached(error)
        return
    yield _version(told, took)
    yield _eviction(told)
    skew = abs(told["time"] - time.time())
    if skew > MAX_SKEW:
        advice = "synchronise the clocks: Celery's redelivery compares them"
        yield Finding("clock", "warning", f"{skew:.0f} s away from Redis' clock", advice)
    else:
        yield Finding("clock", "ok", f"within {MAX_SKEW:.0f} s of Redis' clock")


def _unreached(error: StreamError) -> Finding:
    advice = "" if _refused(error) else "start Redis, or correct stream_relay_url"
    return Finding("redis", "error", str(error), advice)


def _version(told: dict[str, Any], took: float) -> Finding:
    version = str(told["redis_version"])
    found = f"Redis {version} answers in {took * 1000:.1f} ms"
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_REDIS:
        return Finding("redis", "error", found, "use Redis 6.2 or later")
    return Finding("redis", "ok", found)


def _eviction(told: dict[str, Any]) -> Finding:
    policy, limit = str(told.get("maxmemory_policy", "noeviction")), int(told.get("maxmemory", 0))
    if policy == "noeviction" or not limit:
        return Finding("eviction", "ok", f"maxmemory-policy is {policy}")
    advice = (
        "set maxmemory-policy to noeviction: every other policy may drop streams, which have a "
        "time to live, while they are written"
    )
    return Finding("eviction", "warning", f"maxmemory-policy is {policy}", advice)


def _refused(error: StreamError) -> bool:
    """Whether Redis is there, and refuses; the message says what to do."""
    return any(word in str(error) for word in ("refuses", "refused to", "certificate"))


def _rights(runtime: Runtime) -> Iterator[Finding]:
    """Write, read and stop a stream as workers and readers do."""
    settings = replace(runtime.settings, ttl=PROBE_TTL)
    relay = open_relay(settings)
    name = f"doctor-{secrets.token_hex(8)}"
    try:
        yield from _write(relay, name)
        yield from asyncio.run(_listen(relay, open_async_relay(settings), name))
    except StreamError as error:
        advice = "" if _refused(error) else "see what the log of Redis says"
        yield Finding("rights", "error", str(error), advice)
    finally:
        relay.close()


def _write(relay: Relay, name: str) -> Iterator[Finding]:
    nonce = new_nonce()
    for request in (Create(name, name), Claim(name, nonce, name), Stop(name)):
        relay.call(request)
    relay.call(Append(name, 1, nonce, 1, 1, b'"x"', "stopped"))
    for sealing in seal_requests(name, 1, nonce, [Entry(1, 1, b'"x"')]):
        relay.call(sealing)
    # As a stream with on_end= is listed, and removed when that is told.
    relay.call(Delist(name, relay.call(Enlist(name)).mark))
    yield Finding("writing", "ok", "a stream can be started, written, stopped, ended and sealed")


async def _listen(relay: Relay, server_side: AsyncRelay, name: str) -> list[Finding]:
    heard = asyncio.Event()
    try:
        try:
            if (await server_side.read([Read(name, 0, 0, 1)]))[0] is None:
                return [Finding("reading", "error", "a stream just written is not there")]
        except StreamError as error:
            if not _refused(error):
                raise
            found = f"a worker's rights, which are not enough to read streams ({error})"
            await asyncio.to_thread(relay.call, Delete(name))
            return [Finding("reading", "warning", found)]
        watcher = server_side.watch(lambda *_: heard.set(), lambda: None)
        try:
            await asyncio.wait_for(watcher.subscribe(name), NOTICE_TIMEOUT)
            await asyncio.to_thread(relay.call, Delete(name))
            await asyncio.wait_for(heard.wait(), NOTICE_TIMEOUT)
        except asyncio.TimeoutError:
            advice = (
                "allow the Redis user +publish +subscribe +unsubscribe +ping and the channels "
                "&<stream_key_prefix>*; the log lines above say what was refused"
            )
            found = "readers see chunks late: no notice of a change arrives"
            return [Finding("reading", "ok", "a stream can be read"),
                    Finding("notices", "warning", found, advice)]  # fmt: skip
        finally:
            await watcher.close()
    finally:
        await server_side.close()
    return [Finding("reading", "ok", "a stream can be read, and readers are told at once")]
