"""The Durable Streams protocol's own conformance suite against a real relay server.

`make conformance` runs this file alone. The package and its version are pinned in `package.json`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.conftest import eventually, free_port, missing

from .serve import LONG_POLL_SECONDS

HERE = Path(__file__).parent
TESTS = 332
# Subscriptions (webhooks under the reserved path segment `__ds`) are an optional part.
NOT_OURS = "^(?!Reserved)"


@pytest.fixture(scope="session")
def suite() -> Path:
    """The suite, installed as the lock file says."""
    npm = shutil.which("npm")
    if npm is None:
        missing("npm (Node.js)")
    assert npm is not None
    subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--silent"], cwd=HERE, check=True, timeout=300
    )
    return HERE


@pytest.fixture(params=["redis", pytest.param("memory", marks=pytest.mark.slow)])
def relay(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a relay server over each kind of relay."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else "memory://suite"
    port = free_port()
    command = [sys.executable, "-m", "tests.conformance.serve", url, str(port)]
    server = subprocess.Popen(command, cwd=HERE.parents[1])
    try:
        base = f"http://127.0.0.1:{port}"
        eventually(lambda: server.poll() is not None or is_up(base), timeout=60)
        assert server.poll() is None, "the relay server did not start"
        yield base
    finally:
        server.terminate()
        server.wait(30)


def is_up(base: str) -> bool:
    try:
        with urlopen(f"{base}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


@pytest.mark.timeout(400)
def test_the_relay_conforms(suite: Path, relay: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = subprocess.run(
        [
            "npx", "vitest", "run", "-t", NOT_OURS, "--reporter=json", f"--outputFile={report}",
            # One of them makes 100,000 assertions: longer than vitest's own 5 s on a busy machine.
            "--testTimeout=60000",
        ],
        cwd=suite, timeout=360, capture_output=True, text=True,
        env={**os.environ, "RELAY_URL": relay, "RELAY_LONG_POLL_MS": str(LONG_POLL_SECONDS * 1000)},
    )  # fmt: skip
    assert report.exists(), run.stdout + run.stderr
    results = [
        r
        for file in json.loads(report.read_text())["testResults"]
        for r in file["assertionResults"]
    ]
    ours = [result for result in results if not result["fullName"].startswith("Reserved")]
    failed = [
        f"{result['fullName']}: {' '.join(result['failureMessages'])[:500]}"
        for result in ours
        if result["status"] != "passed"
    ]
    assert not failed, "\n".join(failed)
    assert Counter(result["status"] for result in ours) == {"passed": TESTS}
