"""The frameworks' real events in CopilotKit's own chat, in Chromium."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from streamstraight_celery import to_ag_ui
from tests.conftest import ROOT
from tests.frameworks.models import ANSWER, THOUGHT, Models
from tests.frameworks.sources import SOURCES
from tests.peers.conftest import install_packages
from tests.peers.processes import Dictation
from tests.peers.test_frameworks import RESULTS, THINKING
from tests.peers.web import Web

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FOLDER = Path(__file__).parent / "copilotkit"
STATIC = ROOT / "streamstraight_celery/static/streamstraight_celery"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's script with all that it imports."""
    modules, out = install_packages(FOLDER), tmp_path_factory.mktemp("copilotkit")
    command = [
        modules / ".bin/esbuild", "page.jsx", "--bundle", "--minify", "--format=esm",
        "--jsx=automatic", '--define:process.env.NODE_ENV="production"',
        f"--alias:streamstraight-celery={STATIC}/client.js",
        f"--alias:streamstraight-celery/ag-ui={STATIC}/ag-ui.js",
        *(f"--loader:.{kind}=empty" for kind in ("woff", "woff2", "ttf")),
        f"--outfile={out}/copilotkit.js", "--log-level=error",
    ]  # fmt: skip
    environment = {**os.environ, "NODE_PATH": str(modules)}
    done = subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted({*THINKING, *RESULTS, "litellm", "langchain"}))
def test_copilotkit_shows_an_answer(
    tab: Page, web: Web, bundle: Path, dictation: Dictation, name: str
) -> None:
    with Models() as models, ThreadPoolExecutor(1) as thread:
        # Playwright has an event loop in this one.
        events = thread.submit(SOURCES[name][1], models.url).result()
    chat = uuid4().hex
    web.bundles, web.ask = bundle, dictation.begin_run
    tab.goto(f"{web.origin}/?script=copilotkit&chat={chat}")
    tab.get_by_role("textbox").fill("hello")
    tab.keyboard.press("Enter")
    dictation.say(*to_ag_ui(events, thread_id=chat, run_id="run"))
    dictation.end()
    expect(tab.get_by_text(ANSWER)).to_be_visible()
    tool = tab.locator(".tool")
    expect(tool).to_have_count(1)
    shown = json.loads(tool.inner_text())
    assert (shown["name"], shown["args"]) == ("get_weather", {"city": "Paris"})
    if name in RESULTS:
        expect(tool).to_have_attribute("data-status", "complete")
        assert "sunny in Paris" in shown["result"]
    kept = tab.evaluate("agent.messages.map(({ role, content }) => ({ role, content }))")
    thoughts = [each["content"] for each in kept if each["role"] == "reasoning"]
    assert thoughts == ([THOUGHT] if name in THINKING else [])
    if thoughts:
        tab.get_by_role("button", name="Thought").click()
        expect(tab.get_by_text(THOUGHT)).to_be_visible()
