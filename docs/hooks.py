"""What the documentation's build does beyond mkdocs: `make docs`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_built: Any = None
_EMPTY_HEADER = re.compile(r"<th[^>]*></th>")
# [text](target), not an image's.
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Leave pages that are not there out of the navigation, and add those that it does not name."""
    docs = Path(config.docs_dir)
    config.nav = _existing(config.nav, docs)
    named = set(_pages(config.nav))
    others = [path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md"))]
    if more := [page for page in others if page not in named]:
        config.nav.append({"More": more})
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links to files that are no pages become their names."""
    depth = page.file.src_uri.count("/")
    up = "../" * (depth + 1)

    def replaced(match: re.Match[str]) -> str:
        text, target = match.groups()
        path = target.partition("#")[0]
        if target.startswith(f"{up}README.md"):
            return f"[{text}]({'../' * depth}index.md{target[len(up + 'README.md') :]})"
        if target.startswith(up):
            return _named(text, path[len(up) :])
        return match[0]

    return _LINK.sub(replaced, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """A table's empty corner is no header."""
    return _EMPTY_HEADER.sub("<td></td>", html)


def on_post_page(output: str, **_: Any) -> str:
    """The theme's search is a dialog without a name."""
    return output.replace('role="dialog">', 'role="dialog" aria-label="Search">')


def on_env(env: Any, files: Any, **_: Any) -> Any:
    """Keep the pages of this build, for `llms.txt`."""
    global _built
    _built = files
    return env


def on_post_build(config: Any) -> None:
    """Write `llms.txt`: all pages in the navigation's order, each with its first sentence."""
    pages = {file.src_uri: file for file in _built.documentation_pages()}
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for item in config.nav:
        lines += [f"## {next(iter(item))}", ""]
        for name in _pages([item]):
            page = pages[name].page
            about = _first_sentence(page.markdown)
            lines.append(f"- [{page.title}]({pages[name].url}): {about}")
        lines.append("")
    (Path(config.site_dir) / "llms.txt").write_text("\n".join(lines), encoding="utf-8")


def _first_sentence(markdown: str) -> str:
    """Of the first paragraph that is text; links become their words."""
    for paragraph in re.split(r"\n\s*\n", markdown):
        if re.match(r"(?!```)[A-Z\[`]", paragraph):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
            return re.split(r"(?<=[.:])\s", text)[0]
    return ""


def _named(text: str, path: str) -> str:
    return text if path in text else f"{text} (`{path}`)"


def _existing(nav: list[Any], docs: Path) -> list[Any]:
    found: list[Any] = []
    for item in nav:
        ((title, target),) = item.items()
        if isinstance(target, list):
            if below := _existing(target, docs):
                found.append({title: below})
        elif target == "index.md" or (docs / target).exists():
            found.append(item)
    return found


def _pages(nav: list[Any]) -> Iterator[str]:
    for item in nav:
        for target in item.values():
            if isinstance(target, list):
                yield from _pages(target)
            else:
                yield target
