"""The layers of the package, and what it shows to its users."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import streamstraight_celery

PACKAGE = Path(streamstraight_celery.__file__).parent
NAME = "streamstraight_celery"

# From the top down. A part imports from the levels below its own, and not from its neighbours.
LEVELS = (
    ("cli", "integrations", "testing"),
    ("tasks", "publishing"),
    ("enqueue", "worker"),
    ("runtime",),
    ("producing", "server", "reader"),
    ("conversations",),
    ("ends",),
    ("relays", "tokens", "agent_codecs"),
    ("codecs", "offsets", "ids", "settings", "due_times"),
    ("errors", "signals", "backoff", "cancellation", "in_turn", "os_threads"),
)
LEVEL = {part: -number for number, level in enumerate(LEVELS) for part in level}
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "lib", "tools", "base_utils"}
MOST_LINES = 500
MOST_EXPORTS = 48


def modules() -> list[Path]:
    """All but the package's own `__init__`, which shows what every layer has."""
    return sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


def part(path: Path) -> str:
    """The folder or module at the package's top that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The modules of the package that a module imports, wherever in the file, and the names."""
    package = list(path.relative_to(PACKAGE.parent).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names if alias.name.startswith(NAME))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [alias.name for alias in node.names]
            if module == NAME:
                yield from ((f"{NAME}.{name}", [name]) for name in names)
            elif module.startswith(f"{NAME}."):
                yield module, names


def test_imports_point_down() -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in modules()
        for module, _ in imports(path)
        if (there := module.split(".")[1]) != part(path) and LEVEL[there] >= LEVEL[part(path)]
    ]
    assert not offenders, "\n".join(offenders)


def test_contributing_names_every_part_and_its_level() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)(?:/|\.py)` \|", text, re.MULTILINE)
    said = {part: int(level) for level, part in rows}
    assert said == {part: len(LEVELS) + level for part, level in LEVEL.items()}
    assert {part(path) for path in modules()} == set(LEVEL)
    # Files and folders that the text names exist.
    named = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", text)
    roots = (PACKAGE, PACKAGE.parent, *(each for each in PACKAGE.rglob("*") if each.is_dir()))
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_private_names_stay_in_their_module() -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)} imports {name} from {module}"
        for path in modules()
        for module, names in imports(path)
        for name in names
        if name.startswith("_")
    ]
    assert not offenders, "\n".join(offenders)


def test_modules_stay_small_and_have_names() -> None:
    offenders = [
        str(path.relative_to(PACKAGE))
        for path in modules()
        if path.stem in DRAWERS or len(path.read_text().splitlines()) > MOST_LINES
    ]
    assert not offenders, "\n".join(offenders)


def test_configuration_is_read_in_one_place() -> None:
    readers = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "conf"
    }
    assert readers <= {"settings/__init__.py"}


def test_exports() -> None:
    for name in streamstraight_celery.__all__:
        assert hasattr(streamstraight_celery, name)
    assert len(set(streamstraight_celery.__all__)) == len(streamstraight_celery.__all__)
    assert len(streamstraight_celery.__all__) <= MOST_EXPORTS


def test_each_export_stands_in_the_docs() -> None:
    root = PACKAGE.parent
    docs = "\n".join(path.read_text() for path in (root / "docs").rglob("*.md"))
    words = set(re.findall(r"\w+", docs))
    exported = set(streamstraight_celery.__all__) - {"__version__"}
    assert sorted(exported - words) == []
    # And in the reference, where its docstring is shown.
    reference = "\n".join(path.read_text() for path in (root / "docs/reference").glob("*.md"))
    shown = set(re.findall(rf"::: {NAME}\.(?:\w+\.)*(\w+)", reference))
    for module in (streamstraight_celery.errors, streamstraight_celery.signals):
        assert module.__name__.rpartition(".")[2] in shown
        exported -= set(vars(module))
    assert sorted(exported - shown) == []


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
    # Not extras, but dear: a web process that only enqueues needs none of them.
    optional += ["celery.worker", "celery.concurrency", "billiard.pool", "jwt"]
    code = (
        f"import sys, {NAME}\n"
        f"loaded = [name for name in {optional!r} if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    # redis-py loads hiredis by itself when it is there.
    code = code.replace("'hiredis', ", "")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
