"""The page's Markdown: what a model may write, finished or in the making, and what it must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

import example_project.flask_chat

pytestmark = pytest.mark.browser

STATIC = Path(example_project.flask_chat.__file__).parent / "static"


@pytest.fixture
def page(tab: Page) -> Page:
    """An empty page beside the page's scripts."""

    def serve(route: Route) -> None:
        if route.request.url.endswith(".js"):
            route.fulfill(path=STATIC / Path(route.request.url).name)
        else:
            route.fulfill(body="<!doctype html><body>", content_type="text/html")

    tab.route("http://page.test/**", serve)
    tab.goto("http://page.test/")
    return tab


def run(page: Page, code: str, argument: str) -> Any:
    return page.evaluate(
        f"async (text) => {{ const m = await import('/markdown.js'); {code} }}", argument
    )


def html(page: Page, markdown: str) -> str:
    return str(
        run(page, "return m.blocks(text).map((b) => m.build(b).outerHTML).join('')", markdown)
    )


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("One\ntwo\n\nthree", "<p>One\ntwo</p><p>three</p>"),
        ("## Title", "<h3>Title</h3>"),
        ("## A\n### B\n###### C\n## D", "<h3>A</h3><h4>B</h4><h5>C</h5><h3>D</h3>"),
        ("**bold *both*** `a*b*`", "<p><strong>bold <em>both</em></strong> <code>a*b*</code></p>"),
        ("2 * 3 * 4 and a_b_c", "<p>2 * 3 * 4 and a_b_c</p>"),
        ("``a ` b``", "<p><code>a ` b</code></p>"),
        ("- one\n- two", "<ul><li>one</li><li>two</li></ul>"),
        ("3. three\n4. four", '<ol start="3"><li>three</li><li>four</li></ol>'),
        (
            "- a\n  - b\n    - c\n- d",
            "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>",
        ),
        ("1. a\n\n2. b\n   more", '<ol start="1"><li>a</li><li>b\nmore</li></ol>'),
        ("> a\n> b", "<blockquote>a\nb</blockquote>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        (
            "[a **b**](https://example.com/x)",
            '<p><a href="https://example.com/x" rel="noopener noreferrer nofollow" target="_blank">'
            "a <strong>b</strong></a></p>",
        ),
    ],
)  # fmt: skip
def test_markdown_becomes_layout(page: Page, markdown: str, expected: str) -> None:
    assert html(page, markdown) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "**<b onclick=alert(1)>x</b>**",
        "```\n</code></pre><script>alert(1)</script>\n```",
        '[x](https://e.com/"onmouseover="alert(1))',
    ],
)
def test_text_of_the_model_stays_text(page: Page, text: str) -> None:
    code = """
      document.body.replaceChildren(...m.blocks(text).map(m.build));
      const nodes = [...document.body.querySelectorAll("*")];
      return nodes.flatMap((node) => [node.localName, ...node.getAttributeNames()]);
    """
    names = set(run(page, code, text))
    assert names <= {
        "p", "strong", "em", "a", "href", "rel", "target",
        "div", "class", "button", "type", "pre", "tabindex", "code",
    }  # fmt: skip


def test_code_is_kept_to_the_letter(page: Page) -> None:
    markdown = (
        "1. Do:\n\n   ```python\n   if a < b:\n       c = `d`\n\n   # **no**\n   ```\n2. Done"
    )
    code = """
      const body = document.createElement("div");
      body.append(...m.blocks(text).map(m.build));
      const shown = (node) => node.querySelector("pre")?.textContent ?? node.localName;
      return [...body.children].map(shown);
    """
    assert run(page, code, markdown) == ["ol", "if a < b:\n    c = `d`\n\n# **no**", "ol"]


def test_a_text_in_the_making_shows_no_marks(page: Page) -> None:
    """Of all beginnings of a text, none shows a mark that its end turns into layout."""
    text = (
        "A **bold** word, *an italic one*, (`code`).\n\n- **Item**: `x`\n\n"
        "```py\nx\n```\n*b* c **d**\n"
    )
    code = """
      const marks = [];
      for (let end = 1; end <= text.length; end++) {
        const nodes = m.blocks(m.mend(text.slice(0, end))).map(m.build);
        if (nodes.some((node) => /[*`]/.test(node.textContent))) marks.push(text.slice(0, end));
      }
      return marks;
    """
    assert run(page, code, text) == []
