"""Agents and faults for minutes: `python -m tests.faults.conversation_soak --minutes 3 --seed 1`.

Conversations with a queue of agents, which wait for inputs without a worker and start children,
while Redis, networks, relay servers and workers fail, and whoever sends an input dies after it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, TypeVar

from celery import Celery

from streamstraight_celery import get_conversation, get_stream
from streamstraight_celery.conversations.events import event_bytes, value_text
from streamstraight_celery.enqueue.conversations import Conversation as Chat
from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.relays.base import Page
from streamstraight_celery.relays.requests import Post, Read
from streamstraight_celery.runtime import Runtime
from tests.conftest import RedisServer
from tests.faults import agents, conversation_oracle
from tests.faults.agents import BROKER_VARIABLE, LEDGER_VARIABLE, make_app
from tests.faults.conversation_oracle import judge_conversation
from tests.faults.faults import Fault
from tests.faults.producer import CONF_VARIABLE
from tests.faults.stage import Stage, until
from tests.support.processes import start_celery

AT_ONCE = 6  # conversations
WORKERS = 2
# Those in which Redis keeps what it has acknowledged: nobody could repair a conversation.
FAULTS = (
    Fault.RESTART, Fault.RESTART_LATE, Fault.SCRIPT_FLUSH, Fault.CLIENT_KILL, Fault.CLIENT_PAUSE,
    Fault.CUT, Fault.CUT_IN_REQUEST, Fault.CUT_IN_REPLY, Fault.LOST_REPLIES, Fault.NO_ROUTE,
    Fault.HANG, Fault.REDIS_HANGS, Fault.RELAY_KILLED, Fault.RELAY_RESTARTS,
)  # fmt: skip
# Leases have to outlast a machine that stands still. A task whose worker was killed is delivered
# again before its stream is given up, after which the next one would begin.
LEASE, REAP_AFTER = 5, 45
# All that may come one after the other: the broker's visibility time-out, a lease, its repetition.
BOUND = 120.0

T = TypeVar("T")


@dataclass
class ConversationSoak:
    """One run."""

    stage: Stage
    app: Celery
    conf: dict[str, Any]
    broker: str
    seed: int
    until: float
    struck: Counter[str] = field(default_factory=Counter)
    strikes: list[tuple[float, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    over: bool = False

    async def run(self) -> None:
        workers = [self._start_worker(number) for number in range(WORKERS)]
        sweeping = asyncio.ensure_future(self._sweep())
        try:
            striking = asyncio.ensure_future(self._strike(workers))
            load = [self._load(number) for number in range(AT_ONCE)]
            await asyncio.gather(*load, striking)
        finally:
            self.over = True
            await sweeping
            for worker in workers:
                worker.kill()
                worker.wait()

    def _start_worker(self, number: int) -> Popen[bytes]:
        return start_celery(
            "tests.faults.agents", self.stage.directory / f"worker-{number}-{time.time():.0f}.log",
            "worker", "-P", "threads", "-c", "8", "-l", "INFO", "-n", f"{number}-{time.time()}@x",
            "--without-mingle", "--without-gossip", "--without-heartbeat",
            env={
                CONF_VARIABLE: json.dumps(self.conf), BROKER_VARIABLE: self.broker,
                LEDGER_VARIABLE: str(self.ledger),
            },
        )  # fmt: skip

    @property
    def ledger(self) -> Path:
        return self.stage.directory / "agents.ledger"

    async def _sweep(self) -> None:
        """As beat does, but more often."""
        while not self.over:
            with contextlib.suppress(RelayUnavailableError):
                self.done["woken"] += (await self._ask(Runtime.of(self.app).sweep))["woken"]
            await asyncio.sleep(1.0)

    async def _strike(self, workers: list[Popen[bytes]]) -> None:
        rng = random.Random(f"strikes {self.seed}")
        kinds: list[Fault | None] = []
        while time.monotonic() + 3 < self.until:
            if not kinds:
                kinds = [*FAULTS, None, None, None]
                rng.shuffle(kinds)
            await asyncio.sleep(rng.uniform(1.0, 3.0))
            fault, began = kinds.pop(), time.time()
            self.struck[fault.name.lower() if fault else "worker_killed"] += 1
            if fault is not None:
                await fault.strike(self.stage)
            else:
                number = rng.randrange(WORKERS)
                workers[number].kill()
                await asyncio.to_thread(workers[number].wait)
                workers[number] = self._start_worker(number)
            # What it has begun is noticed after the lease, and delivered again later.
            self.strikes.append((began - 1, time.time() + LEASE + 25))

    async def _load(self, number: int) -> None:
        """One conversation after the other."""
        rng = random.Random(f"load {self.seed} {number}")
        while time.monotonic() < self.until:
            chat = get_conversation(f"chat-{number}-{self.done['conversations']}", app=self.app)
            self.done["conversations"] += 1
            await self._conversation(chat, rng)

    async def _conversation(self, chat: Chat, rng: random.Random) -> None:
        counts = [rng.randint(1, 4) for _ in range(rng.randint(1, 3))]
        tasks: list[str] = []
        for count in counts:
            tasks.append(await self._enqueued(chat, f"{chat.name}.{len(tasks)}", count))
        self.stage.readers[chat.id] = []
        token = await self._patiently(chat.token)
        readers = [self.stage.read_with(chat.id, token, door) for door in ("sse", "long-poll")]
        for number in range(sum(counts)):
            await asyncio.sleep(rng.choice([0, 0, 0.05, 0.5, 1.5]))
            # Died after it had stored the input: then the sweep sends the message.
            dies = rng.random() < 0.3
            await self._patiently(lambda number=number, dies=dies: self._send(chat, number, dies))
            self.done["inputs"] += 1
        try:
            log = await self._ended(chat, tasks)
            await until(
                lambda: all(len(reader.life.chunks) >= len(log) for reader in readers),
                f"the readers of {chat.name} have all",
                timeout=BOUND,
            )
        except AssertionError as error:
            self.wrong.append(f"{error}: {await self._shown(tasks)}")
        else:
            about = await self._about(chat, tasks, log)
            about.readers = [list(reader.life.chunks) for reader in readers]
            self.wrong += judge_conversation(about)
        for reader in self.stage.readers.pop(chat.id):
            reader.task.cancel()

    async def _enqueued(self, chat: Chat, name: str, count: int) -> str:
        """Enqueue an agent, as a visitor who asks again after an error; the stream's name."""
        for tries in itertools.count():
            stream = f"{name}.{tries}"
            with contextlib.suppress(RelayUnavailableError):
                await self._ask(lambda stream=stream: self._enqueue(chat, stream, count))
                return stream
            # It was withdrawn, or only the answer is lost.
            page = await self._patiently(lambda stream=stream: self._page(stream))
            if page is not None and not page.state.end and page.state.conversation:
                log = await self._patiently(lambda: self._events(chat.id))
                if any(each.get("stream_id") == stream for each in log):
                    return stream
        raise AssertionError

    def _enqueue(self, chat: Chat, name: str, count: int) -> None:
        agents.agent.apply_stream(
            (count, count % 3), conversation=chat.name, if_active="enqueue", stream_id=name,
            task_id=name,
        )  # fmt: skip

    def _send(self, chat: Chat, number: int, dies: bool) -> None:
        if not dies:
            chat.send(number, id=f"input-{number}")
            return
        event = event_bytes({"type": "input", "id": f"input-{number}"}, value_text(number))
        answer = Runtime.of(self.app).relay.call(
            Post(chat.name, f"input-{number}", event, wakes=True)
        )
        self.done["senders_died"] += answer.stop

    async def _ended(self, chat: Chat, tasks: list[str]) -> list[Any]:
        """The log, once all streams in it have ended."""

        deadline = time.monotonic() + BOUND
        while True:
            log = await self._patiently(lambda: self._events(chat.id))
            began = {each["stream_id"] for each in log if each["type"] == "stream"}
            left = began - {each["stream_id"] for each in log if each["type"] == "ended"}
            if set(tasks) <= began - left:
                if not left:
                    return log
                await self._patiently(lambda left=left: self._stop_unsent(left))
            assert time.monotonic() < deadline, f"{chat.name} is not over: {left}"
            await asyncio.sleep(0.3)

    def _stop_unsent(self, streams: set[str]) -> None:
        """Whoever announced a child may have died before it was enqueued: that waits for `ttl`."""
        for name in streams:
            page = self._page(name)
            if page and not page.state.attempt and page.state.now - page.state.created > 60_000:
                self.done["children_unsent"] += get_stream(name, app=self.app).stop()

    async def _about(
        self, chat: Chat, tasks: list[str], log: list[Any]
    ) -> conversation_oracle.Conversation:
        pages = {task: await self._patiently(lambda task=task: self._page(task)) for task in tasks}
        known = {name: page for name, page in pages.items() if page is not None}
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        notes = [json.loads(line) for line in lines]
        self.done["waits"] += sum(
            note["kind"] == "suspended" and note["stream"] in tasks for note in notes
        )
        return conversation_oracle.Conversation(
            inputs=[each["value"] for each in log if each["type"] == "input"],
            tasks=tasks,
            chunks={name: _chunks(page) for name, page in known.items()},
            ends={
                name: (page.state.end, page.state.ended / 1000) for name, page in known.items()
            },
            log=log, notes=[note for note in notes if note["stream"] in tasks],
            strikes=self.strikes,
        )  # fmt: skip

    async def _shown(self, tasks: list[str]) -> str:
        pages = [await self._patiently(lambda task=task: self._page(task)) for task in tasks]
        return str([(task, page and page.state) for task, page in zip(tasks, pages, strict=True)])

    def _page(self, stream_id: str) -> Page | None:
        return Runtime.of(self.app).relay.read(Read(stream_id, limit=1000))

    def _events(self, log: str) -> list[Any]:
        page = self._page(log)
        return [] if page is None else _chunks(page)

    async def _ask(self, ask: Callable[[], T]) -> T:
        return await asyncio.to_thread(ask)

    async def _patiently(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + BOUND
        while True:
            try:
                return await self._ask(ask)
            except RelayUnavailableError:
                assert time.monotonic() < deadline, "the store is away"
                await asyncio.sleep(0.1)

    def figures(self) -> str:
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(self.struck.items()))
        done = ", ".join(f"{count} {name}" for name, count in self.done.items())
        return (
            f"conversation soak seed={self.seed}: {done}, {self.struck.total()} faults ({kinds}), "
            f"{len(self.wrong)} violations"
        )


def _chunks(page: Page) -> list[Any]:
    return [json.loads(text) for entry in page.entries for text in entry.data.split(b"\n")]


async def soak(minutes: float, seed: int, directory: Path) -> ConversationSoak:
    """Set the stage, and run."""
    brokers = await asyncio.to_thread(RedisServer)
    stage = await asyncio.to_thread(Stage, directory, 0, lease=LEASE, reap_after=REAP_AFTER)
    try:
        conf = {**stage.conf, "relay_url": stage.url_for_producers}
        broker = brokers.new_database()
        app = make_app(conf, broker)
        app.set_default()
        os.environ[LEDGER_VARIABLE] = os.devnull
        end = time.monotonic() + minutes * 60
        run = ConversationSoak(stage, app, conf, broker, seed, end)
        try:
            await run.run()
        finally:
            Runtime.of(app).close()
        return run
    finally:
        stage.close()
        brokers.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--keep", type=Path, help="keep ledgers and logs in this directory")
    given = parser.parse_args()
    seed = given.seed or random.SystemRandom().randrange(1, 1_000_000)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        directory = given.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        run = asyncio.run(soak(given.minutes, seed, directory))
    for problem in run.wrong:
        print(problem)
    print(run.figures())
    sys.exit(1 if run.wrong else 0)


if __name__ == "__main__":
    main()
