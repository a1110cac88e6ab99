"""Start a chat with all its processes, prove in the terminal that it streams, and serve the page.

Redis, a Celery worker, the relay and the page run on free ports of this machine. The worker asks
the API that OPENAI_API_KEY and OPENAI_BASE_URL name, or a small model server of our own.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NoReturn

import httpx

from streamstraight_celery import StreamError

from .children import ChildFailed
from .proof import prove
from .reader import ReadFailed
from .screen import Screen
from .stack import Stack

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 128 + signal.SIGINT
CHECK_SECONDS = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; its exit status tells whether the proof held."""
    options = parse(argv)
    screen = Screen()
    for number in SIGNALS:
        signal.signal(number, interrupt)
    stack = Stack(options.framework, page_port=options.port, on_ready=screen.ready)
    held = False
    try:
        with ExitStack() as started:
            with screen.busy("starting"):
                started.enter_context(stack)
            started.callback(screen.stopping)
            held = run(stack, screen, once=options.once)
    except KeyboardInterrupt:
        screen.say("Stopped; no process is left.")
        return INTERRUPTED if options.once else 0
    except (ChildFailed, ReadFailed, StreamError, httpx.HTTPError) as error:
        screen.fail(f"{error}\n\nLogs of all processes: {stack.logs}")
        return 1
    return 0 if held else 1


def run(stack: Stack, screen: Screen, *, once: bool) -> bool:
    """Show the proof, and serve until a signal comes unless `once`; False when it did not hold."""
    proof = prove(stack.page_url, screen)
    screen.table(proof.rows())
    if not proof.holds:
        stack.keep_logs = True
        screen.fail(f"The proof did not hold.\nLogs of all processes: {stack.logs}")
        return False
    if once:
        return True
    screen.invite(stack.page_url, stack.streams_page, stack.agent_page)
    while True:
        stack.check()
        time.sleep(CHECK_SECONDS)


def interrupt(*_: object) -> NoReturn:
    """End by the first signal; the others must not disturb that."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("example_project.demo", description=__doc__)
    parser.set_defaults(framework="flask")
    for name in ("flask", "django", "fastapi"):
        parser.add_argument(
            f"--{name}", dest="framework", action="store_const", const=name,
            help=f"the page and tasks of example_project/{name}_chat",
        )  # fmt: skip
    parser.add_argument("--port", type=int, default=0, help="of the page; default: a free one")
    parser.add_argument(
        "--once", action="store_true", default=bool(os.environ.get("ONCE")),
        help="end after the proof; also by ONCE=1",
    )  # fmt: skip
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
