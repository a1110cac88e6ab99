"""The relay on a Redis Cluster, for workers and web routes: each request to the node of its stream.

    redis+cluster://host:port,host:port/

Each node is a `RedisRelay`. The slots are read from any node, and again whenever a node doesn't
answer or says that a stream is elsewhere (MOVED). While a slot is being moved,
its first node says which streams have gone ahead (ASK): those requests follow them. A node that is
away fails the requests for its own streams only.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis import exceptions

from ...errors import ConfigurationError, RelayUnavailableError
from ..about import PLACES
from ..base import Page, Relay, RelayOptions
from ..index import changes
from ..redis.relay import RedisRelay, as_answer, as_page
from ..requests import Answer, Read, Request
from ..urls import parse_hosts_url, without_secrets
from .slots import Node, SlotMap, parse_slots

# Errors after which the slots are read again.
STALE = (exceptions.MovedError, exceptions.ClusterDownError, ConnectionError)
MOVED = exceptions.MovedError  # an AskError, to redis-py
NOT_A_CLUSTER = "cluster support disabled"
# While nodes fail, the slots are not read more often than this; seconds.
REFRESH_INTERVAL = 0.2


def unserved(stream_id: str) -> RelayUnavailableError:
    """The error for a stream whose slot no node serves."""
    return RelayUnavailableError(f"no node of the Redis Cluster serves stream {stream_id!r} now")


def explained(url: str, failures: Iterable[tuple[Node, Exception]]) -> Exception:
    """The error for a cluster of which no node told the slots."""
    wrong: list[Exception] = []
    shown = []
    for (host, port), error in failures:
        if NOT_A_CLUSTER in str(error):
            error = ConfigurationError(
                f"stream_relay_url: the Redis at {host}:{port} is not a node of a cluster: "
                "write redis:// instead of redis+cluster://"
            )
        if isinstance(error, ConfigurationError):
            wrong.append(error)
        shown.append(f"{host}:{port}: {error.__cause__ or error}")
    if len(wrong) == len(shown):
        return wrong[0]
    return RelayUnavailableError(
        f"no node of the stream store at {without_secrets(url)} answers ({'; '.join(shown)}). "
        "Is the cluster running? Set stream_relay_url to some of its nodes"
    )


def gone_ahead(answers: Sequence[Any]) -> dict[Node, list[int]]:
    """The indexes of the answers that send elsewhere for now (ASK), by the node to ask."""
    groups: dict[Node, list[int]] = {}
    for index, answer in enumerate(answers):
        if isinstance(answer, exceptions.AskError) and not isinstance(answer, MOVED):
            groups.setdefault((answer.host, answer.port), []).append(index)
    return groups


def some_order(*nodes: Iterable[Node]) -> list[Node]:
    """Each node once. Another order each time: one may be cut off and know old slots only."""
    found = list(dict.fromkeys(node for some in nodes for node in some))
    random.shuffle(found)
    return found


def node_cursor(cursor: str, nodes: int) -> tuple[int, str]:
    """Which node a `scan` looks at, and from where on; from the start when the nodes changed."""
    index, _, inner = cursor.partition("-")
    return (int(index), inner) if inner and int(index) < nodes else (0, "0")


def next_cursor(index: int, following: str, nodes: int) -> str:
    """Where a `scan` goes on."""
    if following != "0":
        return f"{index}-{following}"
    return f"{index + 1}-0" if index + 1 < nodes else "0"


class ClusterRelay(Relay):
    """Requests as scripts on the nodes of a Redis Cluster.

    Args:
        url: `redis+cluster://` or `rediss+cluster://`, with redis-py's options in its query.
        options: what the requests have in common.
        connection: as `RedisRelay`, for every node.
    """

    def __init__(
        self, url: str, options: RelayOptions, *, connection: Mapping[str, Any] | None = None
    ) -> None:
        self._url = url
        self._connection = connection
        self._parsed = parse_hosts_url(url)
        self._parsed.connection_options()  # a wrong option is told now
        self._options = options
        self._slots: SlotMap | None = None
        self._primaries: list[Node] = []  # as they were when the slots were read last
        self._stale_since = 0.0
        self._nodes: dict[Node, RedisRelay] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        answers = self._run(requests)
        failed = [each for each in answers if isinstance(each, RelayUnavailableError)]
        if answers and len(failed) == len(answers):
            raise failed[0]
        found = [as_answer(each) for each in answers]
        if following := changes(requests, found, PLACES):
            self._run(following)  # advisory: whatever comes of it
        return found

    def read(self, read: Read) -> Page | None:
        answer = self._run([read])[0]
        if isinstance(answer, RelayUnavailableError):
            raise answer
        return as_page(answer, read)

    @property
    def places(self) -> Sequence[str]:
        return PLACES

    def scan(self, cursor: str) -> tuple[Sequence[str], str]:
        nodes = self.primaries()
        order = sorted(nodes)
        index, inner = node_cursor(cursor, len(order))
        found, following = nodes[order[index]].scan(inner)
        return found, next_cursor(index, following, len(order))

    def primaries(self) -> dict[Node, RedisRelay]:
        """The nodes that serve slots.

        Raises:
            RelayUnavailableError: no node tells which.
        """
        slots = self._known_slots()
        return {node: self._node(node, slots.publish) for node in slots.nodes}

    def close(self) -> None:
        with self._lock:
            nodes, self._nodes, self._slots = self._nodes, {}, None
        for node in nodes.values():
            node.close()

    def _run(self, requests: Sequence[Request | Read]) -> list[Any]:
        """Each request's answer, or the exception; those sent to a wrong node are sent again."""
        answers: list[Any] = [None] * len(requests)
        self._send(requests, range(len(requests)), answers)
        if any(isinstance(answer, STALE) for answer in answers):
            self._slots = None
            moved = [index for index, answer in enumerate(answers) if isinstance(answer, MOVED)]
            if moved:
                self._send(requests, moved, answers)
        for node, indexes in gone_ahead(answers).items():
            self._ask(node, requests, indexes, answers, asking=True)
        return answers

    def _send(
        self, requests: Sequence[Request | Read], indexes: Sequence[int], answers: list[Any]
    ) -> None:
        slots = self._known_slots()
        groups: dict[Node, list[int]] = {}
        for index in indexes:
            node = slots.node_of(requests[index].stream_id)
            if node is None:
                answers[index] = unserved(requests[index].stream_id)
            else:
                groups.setdefault(node, []).append(index)
        for node, group in groups.items():
            self._ask(node, requests, group, answers)

    def _ask(
        self, node: Node, requests: Sequence[Request | Read], indexes: Sequence[int],
        answers: list[Any], *, asking: bool = False,
    ) -> None:  # fmt: skip
        relay = self._node(node, self._known_slots().publish)
        try:
            found = relay.run([requests[index] for index in indexes], asking=asking)
        except RelayUnavailableError as error:
            found = [error] * len(indexes)
        for index, answer in zip(indexes, found, strict=True):
            answers[index] = answer

    def _node(self, node: Node, publish: bytes) -> RedisRelay:
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._nodes = os.getpid(), {}
            relay = self._nodes.get(node)
            if relay is None:
                url = self._parsed.node_url(*node)
                relay = self._nodes[node] = RedisRelay(
                    url, self._options, publish=publish, connection=self._connection,
                    in_cluster=True,
                )  # fmt: skip
            return relay

    def _known_slots(self) -> SlotMap:
        slots = self._slots
        if slots is None:
            slots = self._slots = self._read_slots()
        return slots

    def _read_slots(self) -> SlotMap:
        pause = self._stale_since + REFRESH_INTERVAL - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        self._stale_since = time.monotonic()
        failures: list[tuple[Node, Exception]] = []
        for node in some_order(self._primaries, self._parsed.hosts):
            relay = RedisRelay(
                self._parsed.node_url(*node), self._options, connection=self._connection
            )
            try:
                raw, info = relay.ask("CLUSTER", "SLOTS"), relay.ask("COMMAND", "INFO", "SPUBLISH")
                slots = parse_slots(raw, node, info)
            except (RelayUnavailableError, ConfigurationError) as error:
                # One that belongs to no cluster (any more) says nothing about the others.
                failures.append((node, error))
            else:
                self._primaries = slots.nodes
                return slots
            finally:
                relay.close()
        raise explained(self._url, failures)
