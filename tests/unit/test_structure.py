"""The layers of the package, and what it shows to its users."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import streamstraight_celery

PACKAGE = Path(streamstraight_celery.__file__).parent
NAME = "streamstraight_celery"

# A module may import from its own level and the levels above it in this list, but the two sides of
# L2 (what runs in workers and web routes, what runs in the relay server) not from each other.
LAYERS = {
    "errors": 0, "names": 0, "settings": 0, "codecs": 0, "offsets": 0, "tokens": 0, "ui": 0,
    "signals": 0,
    "relays": 1, "overview": 1,
    "outbox": 2, "writer": 2, "sender": 2, "greenlets": 2, "driver": 2, "outcome": 2, "runtime": 2,
    "handle": 2, "resuming": 2, "aftermath": 2, "control": 2, "parent": 2, "attempt": 2, "task": 2,
    "generators": 2, "publication": 2, "background": 2, "tees": 2, "conversations": 2,
    "enqueue": 2, "on_commit": 2, "times": 2, "loop_thread": 2, "replacing": 2, "threads": 2,
    "lifecycle": 2, "tracing": 2, "metrics": 2,
    "server": 3,
    "reader": 3,
    "cli": 4, "embedded": 4, "testing": 4, "integrations": 4,
}  # fmt: skip
WORKER, SERVER = 2, 3
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "lib", "tools", "base_utils"}


def modules() -> list[Path]:
    """All but the package's own `__init__`, which shows what every layer has."""
    return sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


def top(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The parts of the package that a module imports, wherever in the file."""
    package = list(path.relative_to(PACKAGE.parent).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [module] + [f"{module}.{alias.name}" for alias in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith(NAME + ".")}
    return {
        part for part in found if (PACKAGE / part).exists() or (PACKAGE / f"{part}.py").exists()
    }


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    here = LAYERS[top(path)]
    for name in imported(path):
        there = LAYERS[name]
        assert there <= here, f"{top(path)} imports {name}, which is above it"
        if here == SERVER:
            assert there != WORKER, f"the server side imports {name} of the worker side"
            assert there < SERVER or name == top(path), f"{top(path)} imports {name} beside it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_stay_in_their_module(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert not [each.name for each in node.names if each.name.startswith("_")]


def test_no_drawers() -> None:
    assert not [path for path in modules() if path.stem in DRAWERS]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


def test_configuration_is_read_in_one_place() -> None:
    readers = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "conf"
    }
    assert readers <= {"settings.py"}


def test_exports() -> None:
    for name in streamstraight_celery.__all__:
        assert hasattr(streamstraight_celery, name)
    assert len(set(streamstraight_celery.__all__)) == len(streamstraight_celery.__all__)


def test_importing_needs_no_extra() -> None:
    optional = [
        "starlette",
        "uvicorn",
        "hiredis",
        "httpx",
        "rich",
        "flask",
        "fastapi",
        "openai",
        "socketio",
    ]
    optional += ["pydantic", "msgspec", "prometheus_client", f"{NAME}.reader"]
    code = (
        f"import sys, {NAME}\n"
        f"loaded = [name for name in {optional!r} if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    # redis-py loads hiredis by itself when it is there.
    code = code.replace("'hiredis', ", "")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
