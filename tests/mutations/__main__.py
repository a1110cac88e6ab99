"""Takes away what keeps the promises, piece by piece, and shows that the tests notice.

    python -m tests.mutations               all
    python -m tests.mutations fencing gap   those whose name contains one of these words

Each change is made in a temporary copy. The exit status is 1 when the tests stay green with one of
them, or fail without any, or when a change cannot be made because the text to replace is not there
exactly once.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.catalogue import MUTATIONS
from tests.mutations.mutation import Mutation

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("streamstraight_celery", "tests", "example_project", "pyproject.toml", "README.md")
PACKAGE = "streamstraight_celery"
# pytest's exit statuses; all others mean that tests could not be run, which proves nothing.
GREEN, RED = 0, 1
# Seconds that tests wait for what a mutation has taken away.
PATIENCE = "20"


def occurrences(mutation: Mutation) -> int:
    """How often the text to replace occurs."""
    return (ROOT / PACKAGE / mutation.file).read_text().count(mutation.old)


def copy_tree(directory: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, directory / name, ignore=ignored)
        else:
            shutil.copy2(source, directory / name)


def run_tests(directory: Path, tests: str) -> tuple[int, str]:
    """Run some tests of a copy: pytest's status, and the last lines of what it said."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=90",
               "-m", "not faults"]  # fmt: skip
    done = subprocess.run(
        [*command, *shlex.split(tests)], cwd=directory, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1",
             "TESTS_PATIENCE": PATIENCE},
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr)[-2000:]


def survives(mutation: Mutation) -> str:
    """Why a mutation is not caught, or nothing."""
    if occurrences(mutation) != 1:
        return f"its text occurs {occurrences(mutation)} times in {mutation.file}"
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        copy_tree(Path(temporary))
        changed = Path(temporary) / PACKAGE / mutation.file
        changed.write_text(changed.read_text().replace(mutation.old, mutation.new))
        for tests in mutation.tests:
            status, said = run_tests(Path(temporary), tests)
            if status == RED:
                return ""
            if status != GREEN:
                return f"{tests} could not be run:\n{said}"
    return f"green without it: {', '.join(mutation.tests)}"


def main(words: list[str]) -> int:
    chosen = [each for each in MUTATIONS if not words or any(word in each.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        copy_tree(Path(temporary))
        for tests in sorted({tests for mutation in chosen for tests in mutation.tests}):
            status, said = run_tests(Path(temporary), tests)
            if status != GREEN:
                print(f"not green without any change: {tests}\n{said}")
                return 1
    survivors = 0
    for mutation in chosen:
        started = time.monotonic()
        why = survives(mutation)
        survivors += bool(why)
        took = time.monotonic() - started
        print(f"{'SURVIVES' if why else 'caught':8} {took:5.1f} s  {mutation.name}", flush=True)
        if why:
            print(f"         {why}")
    print(f"{len(chosen)} mutations, {survivors} not caught")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
