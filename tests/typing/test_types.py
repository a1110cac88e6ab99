"""The public types, as mypy and pyright see them from a user's code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = sorted((Path(__file__).parent / "cases").glob("*.py"))
# Both start slowly, pyright the more so when it has to fetch itself first.
TIMEOUT = 170
Findings = dict[str, dict[int, str]]


def run(command: list[str], directory: Path) -> str:
    """The output of a checker, run where it finds no configuration but its own."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory, capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def found_by_mypy(directory: Path) -> Findings:
    output = run(
        [
            "mypy", "--strict", "--python-version", "3.10", "--no-error-summary",
            "--cache-dir", str(directory / "cache"), *map(str, CASES),
        ],
        directory,
    )  # fmt: skip
    findings: Findings = {}
    for line in output.splitlines():
        match = re.match(r"(.+?):(\d+): error: (.*)", line)
        if match:
            findings.setdefault(Path(match[1]).name, {})[int(match[2])] = match[3]
    return findings


def found_by_pyright(directory: Path) -> Findings:
    configuration = {"typeCheckingMode": "standard", "pythonVersion": "3.10", "include": []}
    (directory / "pyrightconfig.json").write_text(json.dumps(configuration))
    output = run(
        ["pyright", "--pythonpath", sys.executable, "--outputjson", *map(str, CASES)], directory
    )
    findings: Findings = {}
    for finding in json.loads(output)["generalDiagnostics"]:
        if finding["severity"] == "error":
            line = finding["range"]["start"]["line"] + 1
            findings.setdefault(Path(finding["file"]).name, {})[line] = finding["message"]
    return findings


@pytest.fixture(scope="module", params=[found_by_mypy, found_by_pyright], ids=["mypy", "pyright"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """What one checker finds, by file and line; each checks all files in one run."""
    found: Findings = request.param(tmp_path_factory.mktemp("checked"))
    return found


def expected(case: Path) -> set[int]:
    lines = case.read_text().splitlines()
    return {number for number, line in enumerate(lines, start=1) if line.endswith("  # error")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_exactly_the_wrong_lines_are_refused(findings: Findings, case: Path) -> None:
    found = findings.get(case.name, {})

    refused_rightly = {line: text for line, text in found.items() if line in expected(case)}
    refused_wrongly = {line: text for line, text in found.items() if line not in expected(case)}

    assert refused_wrongly == {}
    assert set(refused_rightly) == expected(case)


def test_a_wrong_type_is_named(findings: Findings) -> None:
    case = next(case for case in CASES if case.stem == "calls")
    (line,) = (
        number
        for number, text in enumerate(case.read_text().splitlines(), start=1)
        if text.startswith("answer.stream(1)")
    )

    message = findings[case.name][line]

    assert '"str"' in message
    assert "int" in message or "Literal[1]" in message
