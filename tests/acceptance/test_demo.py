"""`python -m example_project.demo` as a user runs it: its proof, its errors, what it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import ROOT, eventually

CLAIMS = (
    "route answered",
    "first chunk",
    "chunks",
    "reconnects",
    "text",
    "replay",
    "end reason",
    "stop",
)
CHILDREN = ("redis", "model_server", " worker ", "streams relay", "flask --app")
# The proof need not take as long as a person reads.
FAST = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "MODEL_TOKENS_PER_SECOND": "150"}


class Demo:
    """The demo in a process group of its own, as a shell starts it."""

    def __init__(self, folder: Path, *arguments: str, env: Mapping[str, str]) -> None:
        self._out = folder / "output"
        self.folder = folder
        with self._out.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "example_project.demo", *arguments],
                cwd=ROOT,
                env={**os.environ, **FAST, "TMPDIR": str(folder), **env},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._out.read_text()

    def wait(self) -> int:
        return self.process.wait(120)

    def wait_output(self, pattern: str) -> re.Match[str]:
        """Return when the demo has written something that matches."""

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, self.output
            return re.search(pattern, self.output)

        eventually(found, timeout=90)
        match = found()
        assert match is not None
        return match

    def descendants(self) -> list[psutil.Process]:
        """All processes that are there because of the demo, its own left out."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does: SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left_files(self) -> list[str]:
        """What it has left in the folder for temporary files."""
        return [path.name for path in self.folder.iterdir() if path != self._out]


Start = Callable[..., Demo]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a demo with these arguments and environment variables."""
    demos: list[Demo] = []

    def start(*arguments: str, **env: str) -> Demo:
        demos.append(Demo(tmp_path, *arguments, env=env))
        return demos[-1]

    yield start
    for demo in demos:
        demo.process.kill()
        demo.process.wait()


def assert_gone(processes: list[psutil.Process], seconds: float = 10) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert alive == []


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        pytest.param(["--once"], {}, id="flask"),
        pytest.param(["--django"], {"ONCE": "1"}, id="django", marks=pytest.mark.slow),
    ],
)
def test_the_proof_holds(start: Start, arguments: list[str], env: dict[str, str]) -> None:
    demo = start(*arguments, **env)
    demo.wait_output("connection cut after chunk")
    processes = demo.descendants()

    assert demo.wait() == 0, demo.output

    for claim in CLAIMS:
        assert re.search(rf"✓ {claim} +\S", demo.output), claim
    assert "✗" not in demo.output
    assert re.search(r"text +[\d,]+ characters, equal to what the model sent", demo.output)
    assert re.search(r"replay +\d+ chunks from the start, equal to what was read live", demo.output)
    assert re.search(r"reconnects +1, forced", demo.output)
    assert re.search(r"end reason +completed", demo.output)
    assert re.search(r"another answer: stopped after \d+ ms", demo.output)
    assert "\x1b" not in demo.output
    assert_gone(processes)
    assert demo.left_files() == []


@pytest.mark.parametrize(
    "moment",
    [
        "connection cut after chunk",
        *[pytest.param(each, marks=pytest.mark.slow) for each in ("Open http", "✓ redis")],
    ],
)
def test_ctrl_c_ends_everything(start: Start, moment: str) -> None:
    demo = start()
    demo.wait_output(moment)
    processes = demo.descendants()

    demo.interrupt()
    demo.interrupt()  # by an impatient person

    assert demo.wait() == 0, demo.output
    assert "Stopped; no process is left." in demo.output
    assert "Traceback" not in demo.output
    # One that was being started at that very moment ends just after us.
    assert_gone(processes, seconds=5 if "redis" in moment else 0)
    assert demo.left_files() == []


@pytest.mark.slow
def test_the_page_is_served_until_sigterm(start: Start) -> None:
    demo = start()
    url = demo.wait_output(r"Open (http://\S+)")[1]
    assert httpx.get(url).status_code == 200
    page, key = demo.wait_output(r"All streams: (http://\S+/streams)#key=(\S+)").groups()
    data = page.replace("/streams", "/v1/overview")
    assert httpx.get(data, headers={"Authorization": f"Bearer {key}"}).json()["total"] > 0
    assert httpx.get(data).status_code == 401
    processes = demo.descendants()
    commands = "\n".join(" ".join(process.cmdline()) for process in processes)
    assert [child for child in CHILDREN if child not in commands] == []

    demo.process.terminate()

    assert demo.wait() == 0, demo.output
    assert_gone(processes, seconds=0)


def test_sigkill_leaves_no_process_either(start: Start) -> None:
    demo = start()
    demo.wait_output("connection cut after chunk")  # with a task running
    processes = demo.descendants()
    assert len(processes) > len(CHILDREN)

    demo.process.kill()

    assert_gone(processes)


@pytest.mark.slow
def test_an_interrupted_proof_is_no_success(start: Start) -> None:
    demo = start("--once")
    demo.wait_output("connection cut after chunk")
    demo.interrupt()
    assert demo.wait() == 130


def test_a_worker_that_cannot_start_is_named_with_its_last_words(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'worker' in sys.orig_argv:\n"
        "    print('no worker on a Sunday', flush=True)\n"
        "    os._exit(1)\n"
    )
    demo = start("--once", PYTHONPATH=str(site))

    assert demo.wait() == 1

    assert "The worker ended with status 1." in demo.output
    assert "no worker on a Sunday" in demo.output
    assert "Traceback" not in demo.output
    logs = re.search(r"Logs of all processes: (\S+)", demo.output)
    assert logs is not None
    assert "no worker on a Sunday" in (Path(logs[1]) / "worker.log").read_text()


@pytest.mark.slow
def test_a_child_that_dies_later_ends_the_demo(start: Start) -> None:
    demo = start()
    demo.wait_output("Open http")
    processes = demo.descendants()
    # The process that keeps it has the same arguments, and a child.
    relays = [each for each in processes if "relay" in each.cmdline() and not each.children()]
    relays[0].kill()

    assert demo.wait() == 1
    assert "The relay ended with status 137." in demo.output
    assert_gone(processes, seconds=0)


@pytest.mark.slow
def test_a_proof_that_does_not_hold_says_so(start: Start) -> None:
    demo = start("--once", OPENAI_MODEL="canned@no-pace")  # which the model server refuses

    assert demo.wait() == 1

    assert "✗ end reason" in demo.output
    assert "The model could not answer." in demo.output
    assert "The proof did not hold." in demo.output
    assert "Traceback" not in demo.output
