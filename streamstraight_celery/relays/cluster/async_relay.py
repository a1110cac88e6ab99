"""The relay on a Redis Cluster, for the event loop of the relay server. See `cluster.py`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from ...cancellation import cancelled
from ...errors import ConfigurationError, RelayUnavailableError
from ..about import PLACES
from ..base import AsyncRelay, OnGap, OnNotice, Page, RelayOptions, Watcher
from ..index import changes
from ..redis.async_relay import AsyncRedisRelay
from ..redis.pubsub import RedisWatcher, hiredis_reader
from ..redis.relay import as_answer, as_page
from ..requests import Answer, Read, Request
from ..urls import parse_hosts_url
from .relay import (
    MOVED,
    REFRESH_INTERVAL,
    STALE,
    explained,
    gone_ahead,
    next_cursor,
    node_cursor,
    some_order,
    unserved,
)
from .slots import Node, SlotMap, parse_slots

logger = logging.getLogger(__name__)

# How often a watcher without trouble looks whether streams have moved to other nodes; seconds.
LOOK_INTERVAL = 5.0


class AsyncClusterRelay(AsyncRelay):
    """Requests as scripts on the nodes of a Redis Cluster.

    Args:
        url, options, connection: as `ClusterRelay`.
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
        self._primaries: list[Node] = []
        self._reading: asyncio.Task[SlotMap] | None = None
        self._nodes: dict[Node, AsyncRedisRelay] = {}

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        answers = await self._run(requests)
        failed = [each for each in answers if isinstance(each, RelayUnavailableError)]
        if answers and len(failed) == len(answers):
            raise failed[0]
        found = [as_answer(each) for each in answers]
        if following := changes(requests, found, PLACES):
            await self._run(following)  # advisory: whatever comes of it
        return found

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        pages = await self.read_each(reads)
        for page in pages:
            if isinstance(page, RelayUnavailableError):
                raise page
        return [page for page in pages if not isinstance(page, RelayUnavailableError)]

    async def read_each(self, reads: Sequence[Read]) -> list[Page | RelayUnavailableError | None]:
        answers = await self._run(reads)
        return [_page_or_error(answer, read) for answer, read in zip(answers, reads, strict=True)]

    @property
    def places(self) -> Sequence[str]:
        return PLACES

    async def scan(self, cursor: str) -> tuple[Sequence[str], str]:
        slots = await self.slots()
        order = sorted(slots.nodes)
        index, inner = node_cursor(cursor, len(order))
        found, following = await self.node(order[index], slots).scan(inner)
        return found, next_cursor(index, following, len(order))

    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        return ClusterWatcher(self, on_notice, on_gap)

    async def ping(self) -> None:
        # Not every node: while one is away, a relay server still serves the streams of the others.
        await self.slots(anew=True)

    async def close(self) -> None:
        if self._reading is not None:
            await cancelled(self._reading)
        for node in self._nodes.values():
            await node.close()
        self._nodes.clear()

    def node(self, node: Node, slots: SlotMap) -> AsyncRedisRelay:
        """One node's relay."""
        relay = self._nodes.get(node)
        if relay is None:
            url = self._parsed.node_url(*node)
            relay = self._nodes[node] = AsyncRedisRelay(
                url, self._options, publish=slots.publish, connection=self._connection,
                in_cluster=True,
            )  # fmt: skip
        return relay

    async def slots(self, *, anew: bool = False) -> SlotMap:
        """Which node serves which slot.

        Raises:
            RelayUnavailableError: no node tells.
        """
        slots = None if anew else self._slots
        if slots is None:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.get_running_loop().create_task(self._read_slots())
            slots = await asyncio.shield(self._reading)
            self._slots = slots
        return slots

    async def _run(self, requests: Sequence[Request | Read]) -> list[Any]:
        """Each request's answer, or the exception; those sent to a wrong node are sent again."""
        answers: list[Any] = [None] * len(requests)
        await self._send(requests, range(len(requests)), answers)
        if any(isinstance(answer, STALE) for answer in answers):
            self._slots = None
            moved = [index for index, answer in enumerate(answers) if isinstance(answer, MOVED)]
            if moved:
                await self._send(requests, moved, answers)
        if ahead := gone_ahead(answers):
            await self._ask_all(await self.slots(), ahead, requests, answers, asking=True)
        return answers

    async def _send(
        self, requests: Sequence[Request | Read], indexes: Sequence[int], answers: list[Any]
    ) -> None:
        slots = await self.slots()
        groups: dict[Node, list[int]] = {}
        for index in indexes:
            node = slots.node_of(requests[index].stream_id)
            if node is None:
                answers[index] = unserved(requests[index].stream_id)
            else:
                groups.setdefault(node, []).append(index)
        await self._ask_all(slots, groups, requests, answers)

    async def _ask_all(
        self, slots: SlotMap, groups: dict[Node, list[int]], requests: Sequence[Request | Read],
        answers: list[Any], *, asking: bool = False,
    ) -> None:  # fmt: skip
        sent = [
            self._ask(self.node(node, slots), [requests[index] for index in group], asking)
            for node, group in groups.items()
        ]
        for group, found in zip(groups.values(), await asyncio.gather(*sent), strict=True):
            for index, answer in zip(group, found, strict=True):
                answers[index] = answer

    async def _ask(self, node: AsyncRedisRelay, requests: list[Any], asking: bool) -> list[Any]:
        try:
            if isinstance(requests[0], Read):
                return await node.run_reads(requests, asking=asking)
            return await node.run(requests, asking=asking)
        except RelayUnavailableError as error:
            return [error] * len(requests)

    async def _read_slots(self) -> SlotMap:
        failures: list[tuple[Node, Exception]] = []
        for host in some_order(self._primaries, self._parsed.hosts):
            relay = AsyncRedisRelay(
                self._parsed.node_url(*host), self._options, connection=self._connection
            )
            try:
                raw = await relay.ask("CLUSTER", "SLOTS")
                slots = parse_slots(raw, host, await relay.ask("COMMAND", "INFO", "SPUBLISH"))
            except (RelayUnavailableError, ConfigurationError) as error:
                failures.append((host, error))
            else:
                self._primaries = slots.nodes
                return slots
            finally:
                await relay.close()
        await asyncio.sleep(REFRESH_INTERVAL)
        raise explained(self._url, failures)


def _page_or_error(answer: Any, read: Read) -> Page | RelayUnavailableError | None:
    try:
        return answer if isinstance(answer, RelayUnavailableError) else as_page(answer, read)
    except RelayUnavailableError as error:
        return error


class ClusterWatcher(Watcher):
    """One `RedisWatcher` a node; streams follow their slots from node to node.

    Args:
        relay: knows the slots.
        on_notice, on_gap: as `AsyncRelay.watch`.
    """

    def __init__(self, relay: AsyncClusterRelay, on_notice: OnNotice, on_gap: OnGap) -> None:
        hiredis_reader()
        self._relay = relay
        self._on_notice = on_notice
        self._on_gap = on_gap
        self._watchers: dict[Node, RedisWatcher] = {}
        self._where: dict[str, Node | None] = {}
        self._trouble = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def subscribe(self, stream_id: str) -> None:
        self._where.setdefault(stream_id, None)
        try:
            slots = await self._relay.slots()
        except (RelayUnavailableError, ConfigurationError):
            self._trouble.set()  # it is subscribed to once the cluster answers
            return
        await self._place(stream_id, slots)

    def unsubscribe(self, stream_id: str) -> None:
        node = self._where.pop(stream_id, None)
        if node is not None and node in self._watchers:
            self._watchers[node].unsubscribe(stream_id)

    async def close(self) -> None:
        await cancelled(self._task)
        await asyncio.gather(*self._closing)
        for watcher in self._watchers.values():
            await watcher.close()
        self._watchers.clear()

    async def _place(self, stream_id: str, slots: SlotMap) -> bool:
        """Subscribe at the node that serves the stream now; whether that is another one."""
        node, before = slots.node_of(stream_id), self._where.get(stream_id)
        if stream_id not in self._where or node is None:
            return False
        if node != before:
            self._where[stream_id] = node
            if before is not None and before in self._watchers:
                self._watchers[before].unsubscribe(stream_id)
        await self._watcher(node, slots).subscribe(stream_id)
        return node != before

    def _watcher(self, node: Node, slots: SlotMap) -> RedisWatcher:
        watcher = self._watchers.get(node)
        if watcher is None:
            watcher = self._watchers[node] = self._relay.node(node, slots).watch(
                self._on_notice, self._on_gap, on_trouble=self._trouble.set
            )
        return watcher

    async def _follow(self) -> None:
        """Look where the slots are, soon when there is trouble; move streams that have moved."""
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._trouble.wait(), LOOK_INTERVAL)
            self._trouble.clear()
            try:
                slots = await self._relay.slots(anew=True)
                await self._move(slots)
            except (RelayUnavailableError, ConfigurationError) as error:
                logger.debug("%s", error)
                self._trouble.set()
            except Exception:
                logger.exception("unexpected error while following a Redis Cluster; continuing")
            await asyncio.sleep(REFRESH_INTERVAL * random.uniform(1.0, 2.0))

    async def _move(self, slots: SlotMap) -> None:
        moved = [await self._place(stream_id, slots) for stream_id in list(self._where)]
        if any(moved):
            self._on_gap()
        for node in self._watchers.keys() - set(slots.primaries):
            # Its streams have moved; it may be gone for good.
            task = asyncio.get_running_loop().create_task(self._watchers.pop(node).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
