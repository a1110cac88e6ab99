"""The path of one lone chunk through the package, from the generator to the stream store.

    python -m benchmarks.chunk_path           counts
    python -m benchmarks.chunk_path --calls   each call, in order

Counts function calls, how often the path crosses into another module, and how often it returns to
a module that it has left before. The store is in memory, so all that is counted is the package's.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from celery import Celery

import streamstraight_celery
from streamstraight_celery.codecs import get_codec, wire_encoder
from streamstraight_celery.producing.driver import Driver
from streamstraight_celery.runtime import Runtime

PACKAGE = str(Path(streamstraight_celery.__file__).parent)
PRODUCING = {f"producing/{name}.py" for name in ("sender", "writer", "outbox")}
QUIET = 0.2  # seconds after which a chunk's path is over


@dataclass
class Recorder:
    """Records the package's function calls of all threads while `on`."""

    on: bool = False
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if self.on and event == "call" and name.startswith(PACKAGE):
            thread = threading.current_thread().name
            module = name[len(PACKAGE) + 1 :]
            self.calls.append((thread, module, frame.f_code.co_name))


def record() -> Recorder:
    """Drive a generator of two chunks, and record the path of the second, which is alone."""
    app = Celery("path", broker="memory://", set_as_current=False)
    app.conf.update(stream_relay_url="memory://path", stream_secret="the secret of this benchmark")
    runtime, recorder = Runtime.of(app), Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    writer = runtime.sender.open("path")

    def chunks() -> Iterator[dict[str, str]]:
        yield {"delta": "first"}
        time.sleep(QUIET)
        recorder.on = True
        yield {"delta": "alone"}
        time.sleep(QUIET)
        recorder.on = False

    driver = Driver(wire_encoder(get_codec("json")), runtime.sender.check_stops)
    driver.run(chunks(), writer)
    sys.setprofile(None)
    threading.setprofile(None)  # type: ignore[arg-type]
    writer.finish("completed")
    runtime.close()
    return recorder


def crossings(modules: list[str]) -> tuple[int, int]:
    """How often the module changes, and how often to one that was left before."""
    changes = returns = 0
    seen: set[str] = set()
    for before, module in itertools.pairwise(modules):
        seen.add(before)
        if module != before:
            changes += 1
            returns += module in seen
    return changes, returns


def main() -> None:
    calls = record().calls
    if "--calls" in sys.argv:
        for thread, module, function in calls:
            print(f"{thread:16} {module:28} {function}")
    modules = [module for _, module, _ in calls]
    changes, returns = crossings(modules)
    _, between = crossings([module for module in modules if module in PRODUCING])
    print(f"{len(calls)} calls, {changes} changes of module, {returns} returns to a module,")
    print(f"{between} of them between sender, writer and outbox")


if __name__ == "__main__":
    main()
