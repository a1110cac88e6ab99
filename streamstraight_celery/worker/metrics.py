"""Prometheus metrics of a worker, on a port of its own: `stream_metrics_port`.

The pool processes of prefork write theirs to files in a directory that the parent process reads
(prometheus_client's multiprocess mode); in the other pools all is one process.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from celery.signals import worker_init, worker_ready, worker_shutdown

from ..errors import (
    ConfigurationError,
    MissingDependencyError,
    StreamClosedError,
    StreamError,
)
from ..settings import StreamSettings, read_settings
from ..signals import (
    stream_concluded,
    stream_ended,
    stream_first_chunk,
    stream_flushed,
    stream_started,
)

log = logging.getLogger(__name__)

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
FIRST_CHUNK_BUCKETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 13, 30, 60)
STREAM_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
FLUSH_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class WorkerMetrics:
    """What a process counts of the streams it produces, fed by signals.

    Args:
        registry: a `prometheus_client.CollectorRegistry`.

    Raises:
        MissingDependencyError: prometheus-client is not installed.
    """

    def __init__(self, registry: Any) -> None:
        prometheus = load_prometheus()
        counter, histogram, name = prometheus.Counter, prometheus.Histogram, "streamstraight_"
        self._started = counter(
            f"{name}streams_started", "Attempts begun", ["task"], registry=registry
        )
        self._ended = counter(
            f"{name}streams_ended", "Attempts ended, by end reason", ["task", "reason"],
            registry=registry,
        )  # fmt: skip
        self._active = prometheus.Gauge(
            f"{name}streams_active", "Streams that are being produced", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self._first_chunk = histogram(
            f"{name}first_chunk_seconds", "From a task's start to its first chunk", ["task"],
            registry=registry, buckets=FIRST_CHUNK_BUCKETS,
        )  # fmt: skip
        self._seconds = histogram(
            f"{name}stream_seconds", "How long attempts took", ["task"],
            registry=registry, buckets=STREAM_BUCKETS,
        )  # fmt: skip
        self._chunks = counter(
            f"{name}chunks_sent", "Chunks sent to the stream store", registry=registry
        )
        self._bytes = counter(f"{name}bytes_sent", "Bytes of these chunks", registry=registry)
        self._flush = histogram(
            f"{name}flush_seconds", "Time until the stream store acknowledged chunks",
            registry=registry, buckets=FLUSH_BUCKETS,
        )  # fmt: skip
        self._batch = histogram(
            f"{name}flush_chunks", "Chunks that one stream sent at once",
            registry=registry, buckets=BATCH_BUCKETS,
        )  # fmt: skip
        self._failures = counter(
            f"{name}flush_failures",
            "Flushes without an answer from the stream store",
            registry=registry,
        )

    def connect(self) -> None:
        """Begin to count."""
        for signal, receiver in self._receivers():
            signal.connect(receiver, weak=False)

    def disconnect(self) -> None:
        """Count no more."""
        for signal, receiver in self._receivers():
            signal.disconnect(receiver)

    def _receivers(self) -> Iterable[tuple[Any, Any]]:
        return (
            (stream_started, self._on_started),
            (stream_first_chunk, self._on_first_chunk),
            (stream_ended, self._on_ended),
            (stream_concluded, self._on_concluded),
            (stream_flushed, self._on_flushed),
        )

    def _on_started(self, task_name: str, **_: Any) -> None:
        self._started.labels(task_name).inc()
        self._active.inc()

    def _on_first_chunk(self, task_name: str, seconds: float, **_: Any) -> None:
        self._first_chunk.labels(task_name).observe(seconds)

    def _on_ended(
        self, task_name: str, reason: str, seconds: float, elsewhere: bool, **_: Any
    ) -> None:
        self._active.dec()
        # Each end of a stream once: whoever has written it counts it too.
        self._ended.labels(task_name, StreamClosedError.code if elsewhere else reason).inc()
        self._seconds.labels(task_name).observe(seconds)

    def _on_concluded(self, task_name: str, reason: str, **_: Any) -> None:
        # Not `_active`: that of a pool process which is no more goes with its files.
        self._ended.labels(task_name, reason).inc()

    def _on_flushed(
        self, seconds: float, batches: list[int], bytes: int, answered: bool, **_: Any
    ) -> None:
        if not answered:
            self._failures.inc()
            return
        self._flush.observe(seconds)
        self._chunks.inc(sum(batches))
        self._bytes.inc(bytes)
        for count in batches:
            self._batch.observe(count)


class PoolFiles:
    """Collects what the pool processes of a worker have written to a directory."""

    def __init__(self, directory: str) -> None:
        from prometheus_client import CollectorRegistry, multiprocess

        self._directory = Path(directory)
        self._multiprocess: Any = multiprocess
        self._collector = self._multiprocess.MultiProcessCollector(CollectorRegistry(), directory)

    def collect(self) -> Iterable[Any]:
        """All metrics; what a process that was killed had under way is no longer."""
        for file in self._directory.glob("gauge_live*_*.db"):
            pid = int(file.stem.rpartition("_")[2])
            if not _is_alive(pid):
                self._multiprocess.mark_process_dead(pid, str(self._directory))
        found: Iterable[Any] = self._collector.collect()
        return found


class MetricsServer:
    """A worker's metrics, and the port they are read from.

    Args:
        settings: `metrics_host` and `metrics_port`.
        forks: the worker runs its tasks in processes that it forks.

    Raises:
        MissingDependencyError: prometheus-client is not installed.
        ConfigurationError: it was loaded too early to share metrics among processes.
    """

    def __init__(self, settings: StreamSettings, *, forks: bool) -> None:
        self._address = settings.metrics_host, settings.metrics_port
        self._own_directory = ""
        self._server: Any = None
        if forks:
            self._share()
        prometheus = load_prometheus()
        self.registry = prometheus.CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)
        if forks:
            self.registry = prometheus.CollectorRegistry()
            self.registry.register(PoolFiles(os.environ[DIRECTORY]))
        self.metrics.connect()

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: the port cannot be used.
        """
        host, port = self._address
        try:
            self._server, _ = load_prometheus().start_http_server(port, host, self.registry)
        except OSError as error:
            raise ConfigurationError(
                f"the worker's metrics cannot be served on {host} port {port}: "
                f"{error.strerror or error}. Each worker of a machine needs a "
                "stream_metrics_port of its own"
            ) from error
        log.info("metrics on http://%s:%d/metrics", host, port)

    def close(self) -> None:
        """Give up the port and the files."""
        self.metrics.disconnect()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._own_directory:
            os.environ.pop(DIRECTORY, None)
            shutil.rmtree(self._own_directory, ignore_errors=True)

    def _share(self) -> None:
        if DIRECTORY in os.environ:
            return
        self._own_directory = os.environ[DIRECTORY] = tempfile.mkdtemp(prefix="stream-metrics-")
        # It chooses at its import where it keeps numbers, and may have been imported long ago:
        # where Flower is installed, each `celery` command does so.
        from prometheus_client import values

        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def load_prometheus() -> Any:
    """The module `prometheus_client`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import prometheus_client
    except ImportError as error:
        raise MissingDependencyError("prometheus-client", "metrics") from error
    return prometheus_client


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_server: MetricsServer | None = None


def _on_worker_init(sender: Any, **_: Any) -> None:
    """Before the pool's processes are forked, so that they inherit the metrics."""
    global _server
    try:
        settings = read_settings(sender.app)
    except ConfigurationError as error:
        # Said now, and not only by the first task.
        log.error("stream tasks will fail in this worker: %s", error)
        return
    try:
        if settings.metrics_port:
            from celery.concurrency import get_implementation

            pool = get_implementation(sender.pool_cls)
            forks = pool.__module__ == "celery.concurrency.prefork"
            _server = MetricsServer(settings, forks=forks)
    except StreamError as error:
        log.error("no metrics: %s", error)


def _on_worker_ready(**_: Any) -> None:
    # Not sooner: pool processes would inherit the socket.
    if _server is not None:
        try:
            _server.start()
        except ConfigurationError as error:
            log.error("no metrics: %s", error)


def _on_worker_shutdown(**_: Any) -> None:
    global _server
    if _server is not None:
        _server.close()
        _server = None


def install() -> None:
    """Serve metrics in workers that ask for it."""
    worker_init.connect(_on_worker_init, weak=False)
    worker_ready.connect(_on_worker_ready, weak=False)
    worker_shutdown.connect(_on_worker_shutdown, weak=False)
