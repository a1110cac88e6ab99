"""Redis Clusters and groups with sentinels, of real processes on free ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from streamstraight_celery.testing.embedded import EmbeddedRedis
from tests.support.ports import free_port
from tests.support.waiting import eventually


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value; a server that does not answer yet has none."""
    return eventually(condition, what, ignoring=(redis.RedisError, OSError))


class Server:
    """One redis-server."""

    def __init__(self, *args: str) -> None:
        self.directory = tempfile.mkdtemp(prefix="streamstraight-node-")
        self._server = EmbeddedRedis(
            args=("--dir", self.directory, "--repl-diskless-sync-delay", "0", *args),
            prefer="redis-server",
            password="",
        ).start()
        self.port = self._server.port
        self.client = redis.Redis(port=self.port, socket_timeout=5)

    @property
    def pid(self) -> int:
        return self._server.pid

    def kill(self) -> None:
        if self._server.running:
            os.kill(self._server.pid, signal.SIGKILL)
            self._server.wait()

    def start(self) -> None:
        self._server.start()

    def close(self) -> None:
        self.client.close()
        self._server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Cluster:
    """Three primaries, and as many replicas of each as asked for.

    Args:
        replicas: of each primary.
    """

    def __init__(self, replicas: int = 0) -> None:
        self.nodes = [self._node() for _ in range(3 * (1 + replicas))]
        self.primaries = self.nodes[:3]
        first = self.primaries[0]
        for number, node in enumerate(self.primaries):
            start, end = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", start, end)
        for node in self.nodes[1:]:
            node.client.execute_command(
                "CLUSTER", "MEET", "127.0.0.1", first.port, self._bus[first]
            )
        wait_for(lambda: all(self._knows_all(node) for node in self.nodes), "all nodes meet")
        for number, node in enumerate(self.nodes[3:]):
            self._replicate(node, self.primaries[number % 3])
        wait_for(lambda: all(self._is_ok(node) for node in self.nodes), "the cluster is up")

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        return f"redis+cluster://{hosts}/"

    def node_of(self, stream_id: str) -> Server:
        """The primary that serves a stream now."""
        for node in self.nodes:
            try:
                # Only the primary of its slot does not send us elsewhere.
                node.client.exists(f"{{{stream_id}}}")
                return node
            except redis.RedisError:
                continue
        raise AssertionError("no node of the cluster serves it")

    @contextlib.contextmanager
    def moving(self, stream_id: str) -> Iterator[Moving]:
        """Begin to move the slot of a stream to another primary; it comes back in the end."""
        source = self.node_of(stream_id)
        target = next(node for node in self.primaries if node is not source)
        moving = Moving(self, stream_id, source, target)
        try:
            yield moving
        finally:
            if not moving.done:
                moving.move()
                moving.finish()
            back = Moving(self, stream_id, target, source)
            back.move()
            back.finish()

    def flush(self) -> None:
        for node in self.primaries:
            node.client.flushall()

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def _node(self) -> Server:
        bus = free_port()
        node = Server("--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
                      "--cluster-port", str(bus),
                      "--cluster-replica-validity-factor", "0")  # fmt: skip
        if not hasattr(self, "_bus"):
            self._bus: dict[Server, int] = {}
        self._bus[node] = bus
        return node

    def _knows_all(self, node: Server) -> bool:
        info = node.client.execute_command("CLUSTER INFO")
        text = info if isinstance(info, dict) else {}
        return int(text.get("cluster_known_nodes", 0)) == len(self.nodes)

    def _is_ok(self, node: Server) -> bool:
        info = node.client.execute_command("CLUSTER INFO")
        return bool(info["cluster_state"] == "ok")

    def _replicate(self, node: Server, primary: Server) -> None:
        name = primary.client.execute_command("CLUSTER", "MYID").decode()
        wait_for(
            lambda: node.client.execute_command("CLUSTER", "REPLICATE", name) in (True, b"OK"),
            "a replica takes its primary",
        )
        wait_for(lambda: node.client.info("replication")["master_link_status"] == "up", "replica")


class Moving:
    """A slot on its way from one node to another: nothing has moved yet.

    Args:
        cluster: whose slot it is.
        stream_id: of that slot.
        source, target: its node, and that to which it goes.
    """

    def __init__(self, cluster: Cluster, stream_id: str, source: Server, target: Server) -> None:
        self.source = source
        self.target = target
        self.done = False
        self._primaries = cluster.primaries
        self._slot = key_slot(stream_id.encode())
        self._set(self.target, "IMPORTING", self._name(self.source))
        self._set(self.source, "MIGRATING", self._name(self.target))

    def left(self) -> Sequence[bytes]:
        """Those that are still with the first node."""
        found: Sequence[bytes] = self.source.client.execute_command(
            "CLUSTER", "GETKEYSINSLOT", self._slot, 1000
        )
        return found

    def move(self, *keys: bytes) -> None:
        """Move some keys, or all."""
        if some := keys or self.left():
            self.source.client.execute_command(
                "MIGRATE", "127.0.0.1", self.target.port, "", 0, 5000, "KEYS", *some
            )

    def finish(self) -> None:
        """Give the slot to the other node, once its keys are there."""
        name = self._name(self.target)
        for node in (self.target, self.source, *self._primaries):
            self._set(node, "NODE", name)
        self.done = True

    def _set(self, node: Server, *words: str) -> None:
        node.client.execute_command("CLUSTER", "SETSLOT", self._slot, *words)

    def _name(self, node: Server) -> str:
        return str(node.client.execute_command("CLUSTER", "MYID").decode())


class SentinelGroup:
    """A primary, a replica, and a sentinel that promotes it."""

    service = "streams"

    def __init__(self) -> None:
        self.primary = Server()
        self.replica = Server("--replicaof", f"127.0.0.1 {self.primary.port}")
        wait_for(
            lambda: self.replica.client.info("replication")["master_link_status"] == "up",
            "the replica follows",
        )
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="streamstraight-sentinel-"))
        conf = self._directory / "sentinel.conf"
        conf.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self._directory}\n"
            f"sentinel monitor {self.service} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {self.service} 500\n"
            f"sentinel failover-timeout {self.service} 3000\n"
        )
        with (self._directory / "log").open("wb") as log:
            self._sentinel = subprocess.Popen(
                ["redis-server", str(conf), "--sentinel"], stdout=log, stderr=log
            )
        self.client = redis.Redis(port=self.port, socket_timeout=5)
        wait_for(
            # redis-py before 5.3 leaves the answer a list.
            lambda: (
                [
                    b"slave" in getattr(each, "values", lambda each=each: each)()
                    for each in self._replicas()
                ]
                == [True]
            ),
            "the sentinel knows the replica",
        )

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/1?service={self.service}"

    def current(self) -> int:
        """The port of the primary, as the sentinel knows it."""
        found = self.client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", self.service)
        return int(found[1])

    def close(self) -> None:
        self.client.close()
        self._sentinel.kill()
        self._sentinel.wait()
        for server in (self.primary, self.replica):
            server.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _replicas(self) -> list[Any]:
        found: list[Any] = self.client.execute_command("SENTINEL REPLICAS", self.service)
        return found
