"""`python -m benchmarks`: every case in one run, one table at the end."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import growth, machine, table
from benchmarks.cases import (
    cpu,
    fanout,
    first_chunk,
    latency,
    mounted,
    page,
    replay,
    route,
    storage,
    streamstraight,
    throughput,
)
from benchmarks.processes import BenchmarkError, raise_file_limit
from benchmarks.results import Group
from benchmarks.session import Session

CASES: dict[str, Callable[[Session], list[Group]]] = {
    each.CASE: each.run
    for each in (
        throughput,
        latency,
        first_chunk,
        mounted,
        fanout,
        page,
        replay,
        cpu,
        storage,
        route,
        streamstraight,
    )
}
ROUNDS = 3
QUICK_ROUNDS = 2


def cases(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CASES]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"no case {', '.join(unknown) or 'given'}; there are {', '.join(CASES)}"
        )
    return names


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("report", nargs="?", choices=["growth"], help="curves instead of the table")
    parser.add_argument("--only", type=cases, default=list(CASES), metavar="CASE,CASE")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter runs")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    return parser.parse_args()


def measure(session: Session, names: list[str]) -> tuple[list[Group], list[str]]:
    """Run the cases; one that fails is left out, and said at the end."""
    groups: list[Group] = []
    failures = []
    for name in names:
        started = time.monotonic()
        try:
            groups += CASES[name](session)
        except BenchmarkError as error:
            failures.append(f"{name} failed: {error}")
            session.say(failures[-1])
            session.stop_all()
        session.say(f"{name}: {time.monotonic() - started:.0f} s")
    return groups, failures


def main() -> int:
    options = arguments()
    raise_file_limit()
    # As Ctrl-C does: unwind, so that no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    heading = machine.describe()
    heading.append(f"medians of {rounds} interleaved rounds")
    others = machine.OtherLoad()
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        Session(Path(folder), rounds=rounds, quick=options.quick) as session,
    ):
        if options.report:
            found = growth.measure(session)
            heading[-1] = others.describe()
            print(*heading, *growth.text(found), sep="\n")
            if options.json is not None:
                growth.save(found, heading, options.json)
            return 0
        groups, failures = measure(session, options.only)
    heading.append(others.describe())
    table.show(groups, heading, sys.stdout)
    for failure in failures:
        print(failure)
    if options.json is not None:
        report = {
            "machine": heading,
            "groups": [group.as_json() for group in groups],
            "failures": failures,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
