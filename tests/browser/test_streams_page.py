"""The page on which developers look at streams, in Chromium: by a real relay, and a producer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from streamstraight_celery.conversations.events import stream_began, stream_id_of_event
from streamstraight_celery.offsets import new_nonce
from streamstraight_celery.relays.about import About, Workplace
from streamstraight_celery.relays.requests import Claim, Create, Post
from tests.conftest import eventually
from tests.server.background import KEY, BackgroundRelay
from tests.server.producer import Producer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def oversight() -> Iterator[BackgroundRelay]:
    with closing(BackgroundRelay()) as oversight:
        yield oversight


@pytest.fixture
def producer(oversight: BackgroundRelay) -> Producer:
    return oversight.producer()


def row(tab: Page, producer: Producer):  # type: ignore[no-untyped-def]
    return tab.get_by_role("row").filter(has_text=producer.stream_id)


def show(tab: Page, oversight: BackgroundRelay, stream_id: str) -> None:
    """Open the page by its link, and then the address of that stream."""
    tab.goto(oversight.url)
    tab.goto(f"{oversight.bare_url}#{stream_id}")


def test_a_stream_appears_and_is_watched_live(
    tab: Page, oversight: BackgroundRelay, producer: Producer
) -> None:
    producer.append("before", "too")
    tab.goto(oversight.url)
    expect(row(tab, producer)).to_contain_text("streaming")
    row(tab, producer).click()

    lines = tab.locator("#chunks li")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("before")
    producer.append({"type": "delta", "text": "<b>hello</b>"})
    expect(lines).to_have_count(3)
    expect(lines.nth(2).locator(".text")).to_have_text('{"type":"delta","text":"<b>hello</b>"}')
    assert float(lines.nth(2).locator(".at").inner_text().removesuffix(" s")) > 0
    expect(lines.nth(1).locator(".at")).to_have_text("before")

    producer.end()
    expect(lines.last).to_have_text("End: completed")
    expect(tab.locator("#badge")).to_have_text("completed")
    expect(row(tab, producer)).to_contain_text("completed")
    expect(tab.locator("#stop")).to_be_hidden()
    expect(tab.locator("#growth-plot svg .line")).to_have_count(1)
    expect(tab.locator("#first-plot svg .dot.chosen")).to_have_count(1)


def test_stop_asks_the_producer(tab: Page, oversight: BackgroundRelay, producer: Producer) -> None:
    producer.append("a")
    show(tab, oversight, producer.stream_id)
    tab.get_by_role("button", name="Stop").click()
    eventually(lambda: oversight.relay.state(producer.stream_id).stop_asked)
    expect(tab.locator("#stop")).to_have_text("Stopping…")
    producer.end("stopped")
    expect(tab.locator("#badge")).to_have_text("stopped")


def test_a_new_attempt_begins_the_list_anew(
    tab: Page, oversight: BackgroundRelay, producer: Producer
) -> None:
    producer.append("a", "b", "c")
    show(tab, oversight, producer.stream_id)
    expect(tab.locator("#chunks li")).to_have_count(3)
    producer.release().claim().append("again")
    expect(tab.locator("#chunks .note")).to_contain_text("Attempt 2 began")
    expect(tab.locator("#chunks .text")).to_have_text(["again"])
    expect(tab.locator("#growth-plot .mark")).to_have_count(1)
    producer.end()


def test_why_a_stream_failed_is_shown(
    tab: Page, oversight: BackgroundRelay, producer: Producer
) -> None:
    producer.append("a")
    producer.end("producer-error", '{"code":"quota","message":"Quota used up"}')
    show(tab, oversight, producer.stream_id)
    expect(tab.locator("#error")).to_have_text("Quota used up")
    expect(tab.locator("#badge")).to_have_text("producer-error")
    expect(tab.locator("#growth-plot .end")).to_have_count(1)


def test_a_key_is_asked_for_and_kept_in_the_tab(tab: Page, producer: Producer) -> None:
    with closing(BackgroundRelay(keyed=True)) as oversight:
        secret = oversight.producer()
        secret.append("a")
        tab.goto(oversight.url)
        tab.get_by_label("Key", exact=True).fill("a wrong key, but a long one")
        tab.get_by_role("button", name="Show streams").click()
        expect(tab.get_by_text("The relay server does not know this key.")).to_be_visible()
        expect(tab.locator("#main")).to_be_hidden()
        tab.get_by_label("Key", exact=True).fill(KEY)
        tab.get_by_role("button", name="Show streams").click()
        row(tab, secret).click()
        expect(tab.locator("#chunks .text")).to_have_text(["a"])
        tab.reload()
        expect(tab.locator("#chunks .text")).to_have_text(["a"])
        assert KEY not in tab.url
        assert tab.evaluate("localStorage.length") == 0


def test_in_development_the_link_opens_it_and_keeps_the_key_out_of_the_address(
    tab: Page, oversight: BackgroundRelay, producer: Producer
) -> None:
    tab.goto(oversight.bare_url)
    expect(tab.locator("#key-needed")).to_contain_text("the link that the relay server has printed")
    expect(tab.locator("#main")).to_be_hidden()
    tab.goto(oversight.url)
    expect(row(tab, producer)).to_contain_text("streaming")
    assert tab.url == oversight.bare_url
    tab.reload()
    expect(row(tab, producer)).to_contain_text("streaming")


def test_streams_are_found_by_what_is_typed(
    tab: Page, oversight: BackgroundRelay, producer: Producer
) -> None:
    other = oversight.producer()
    other.append("a", end="completed")
    tab.goto(oversight.url)
    tab.get_by_label("Find streams").fill(producer.stream_id)
    expect(row(tab, other)).to_have_count(0)
    expect(row(tab, producer)).to_have_count(1)
    tab.get_by_label("Find streams").fill("")
    tab.get_by_label("State").select_option("Running")
    expect(row(tab, other)).to_have_count(0)
    expect(row(tab, producer)).to_have_count(1)
    tab.get_by_label("State").select_option("Failed")
    expect(tab.locator("#empty")).to_have_text("No matching streams.")


def test_a_running_stream_is_found_behind_many_that_ended(tab: Page) -> None:
    with closing(BackgroundRelay()) as oversight:
        oldest = oversight.producer("oldest")
        oldest.append("a")
        for number in range(200):
            oversight.producer(f"later-{number}").append("a", end="completed")
        tab.goto(oversight.url)
        expect(tab.locator("#counts")).to_have_text("201 streams, 1 running")
        expect(tab.locator("#more")).to_have_text("The newest 200 of 201.")
        tab.get_by_label("State").select_option("Running")
        expect(row(tab, oldest)).to_have_count(1)
        expect(tab.locator("#more")).to_be_hidden()


def test_an_address_that_was_cut_off(tab: Page, oversight: BackgroundRelay) -> None:
    show(tab, oversight, "%E4%B")
    expect(tab.locator("#title")).to_have_text("No such stream")
    expect(tab.locator("#stream-id")).to_have_text("%E4%B")
    expect(tab.locator("#unknown")).to_contain_text("does not exist, has expired or was deleted")
    expect(tab.locator("#known")).to_be_hidden()
    expect(tab.locator("#badge")).to_be_hidden()


def begin(oversight: BackgroundRelay, name: str, about: About, **options: str) -> Producer:
    """A stream with all that a worker says of it."""
    producer = Producer(oversight.relay, name)
    relay, nonce = oversight.relay, new_nonce()
    relay.call(Create(name, "task", about=about, **options))
    relay.call(Claim(name, nonce, "task", about=about, at=Workplace("celery@web-1", "slow")))
    producer.attempt, producer.nonce = 1, nonce
    return producer


def test_list_and_detail_say_what_runs_and_where(tab: Page, oversight: BackgroundRelay) -> None:
    about = About.of("proj.tasks.answer", {"user": "42"})
    producer = begin(oversight, "named", about)
    producer.append("a", end="completed")
    tab.goto(oversight.url)
    for words in ("proj.tasks.answer", "named", "user=42", "slow", "celery@web-1"):
        expect(row(tab, producer)).to_contain_text(words)
    shown = row(tab, producer).locator("[data-name=requested]").inner_text()
    assert re.fullmatch(r"\d\d:\d\d:\d\d", shown)
    expect(tab.locator("#summary")).to_have_text(
        re.compile(r"Time to first chunk p50.*p95.*Duration p50.*p95.*of ")
    )
    tab.get_by_label("Task").select_option("proj.tasks.answer")
    expect(tab.locator("#rows tr")).to_have_count(1)
    row(tab, producer).click()
    expect(tab.locator("#title")).to_have_text("proj.tasks.answer")
    expect(tab.locator("#stream-id")).to_have_text("named")
    facts = tab.locator("#facts")
    for words in ("slow", "celery@web-1", "user=42", shown):
        expect(facts).to_contain_text(words)


def test_the_streams_of_a_conversation_are_a_tree(tab: Page, oversight: BackgroundRelay) -> None:
    about = About.of("proj.tasks.agent")
    for name, parent in (("planner", None), ("searcher", "planner")):
        event = stream_began(name, task=about.task, title=name.title(), parent=parent)
        oversight.relay.call(Post("chat-42", stream_id_of_event(name), event))
        begin(oversight, name, about, conversation="chat-42").append("a", end="completed")
    show(tab, oversight, "planner")
    items = tab.get_by_role("navigation").locator("li")
    expect(items).to_have_text([re.compile("Planner.*completed"), re.compile("Searcher.*")])
    left, right = (items.nth(i).locator("a").bounding_box() for i in (0, 1))
    assert left
    assert right
    assert left["x"] < right["x"]
    items.nth(1).locator("a").click()
    expect(tab.locator("#stream-id")).to_have_text("searcher")
    expect(items.nth(1).locator("a")).to_have_attribute("aria-current", "true")


def test_the_text_alone(tab: Page, oversight: BackgroundRelay, producer: Producer) -> None:
    producer.append({"type": "response.created"}, {"type": "text-delta", "delta": "Hel"})
    show(tab, oversight, producer.stream_id)
    tab.get_by_role("button", name="Text", exact=True).click()
    expect(tab.locator("#text")).to_have_text("Hel")
    expect(tab.locator("#chunks")).to_be_hidden()
    producer.append("lo")
    expect(tab.locator("#text")).to_have_text("Hello")
    producer.release().claim().append("Again")
    expect(tab.locator("#text")).to_have_text("Again")
    producer.end()
    tab.get_by_role("button", name="Events", exact=True).click()
    expect(tab.locator("#chunks .text")).to_have_text(["Again"])


def test_the_keyboard_alone_does_everything(
    tab: Page, oversight: BackgroundRelay, producer: Producer
) -> None:
    producer.append({"a": 1}, {"b": 2})
    tab.goto(oversight.url)
    row(tab, producer).get_by_role("link").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#chunks .text")).to_have_count(2)
    tab.locator("#chunks").focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    expect(tab.locator("#chunks .text").nth(1)).to_have_text(re.compile(r'\{\s+"b": 2'))
    tab.get_by_role("button", name="Stop").focus()
    tab.keyboard.press("Enter")
    eventually(lambda: oversight.relay.state(producer.stream_id).stop_asked)


@pytest.mark.parametrize(
    "size",
    [
        (320, 568),
        *[pytest.param(size, marks=pytest.mark.slow) for size in ((390, 844), (1180, 780))],
    ],
)
def test_nothing_is_wider_than_the_screen(
    tab: Page, oversight: BackgroundRelay, producer: Producer, size: tuple[int, int]
) -> None:
    producer.append({"text": "x" * 400})
    tab.set_viewport_size({"width": size[0], "height": size[1]})
    for stream_id in ("", producer.stream_id):
        show(tab, oversight, stream_id)
        expect(tab.locator("#counts")).not_to_be_empty()
        assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_growth_goes_on_to_now_while_a_stream_is_silent(
    tab: Page, oversight: BackgroundRelay, producer: Producer
) -> None:
    show(tab, oversight, producer.stream_id)
    expect(tab.locator("#reading")).to_have_text("live")
    producer.append("a", "b")
    tab.locator("#growth-plot svg .line").wait_for()
    last = "document.querySelector('#growth-plot text:last-of-type').textContent"

    def reaches_now() -> bool:
        """The axis goes on, and the line with it: the place of the last chunk moves to the left."""
        numbers = tab.evaluate(
            "document.querySelector('#growth-plot .line').getAttribute('d').split(/[ML ]/)"
            ".filter(Boolean).map(Number)"
        )
        right = tab.evaluate(
            "Number(document.querySelector('#growth-plot .grid').getAttribute('x2'))"
        )
        level = numbers[-1] == numbers[-3] and numbers[-2] > numbers[-4]
        return level and abs(numbers[-2] - right) < 2

    eventually(reaches_now)
    before = tab.evaluate(last)
    eventually(lambda: tab.evaluate(last) != before)
    producer.end()
    expect(tab.locator("#growth-plot .end")).to_have_count(1)
    eventually(reaches_now)


@pytest.mark.parametrize("highest", [0.0002, 0.0014, 0.0025, 0.013, 0.65, 1.35, 75, 5000])
def test_a_plot_s_ticks_tell_times_apart(
    tab: Page, oversight: BackgroundRelay, highest: float
) -> None:
    tab.goto(oversight.url)
    labels, heights = tab.evaluate(
        """async (highest) => {
          const { firstChunkPlot } = await import("./streams-plots.js");
          const svg = firstChunkPlot(300, [{ first_chunk_after: highest }], "", () => {});
          const all = (selector, see) => [...svg.querySelectorAll(selector)].map(see);
          const labels = all("text", (text) => text.textContent);
          return [labels.slice(0, 3), all(".grid", (line) => Number(line.getAttribute("y1")))];
        }""",
        highest,
    )
    assert len(set(labels)) == 3
    assert heights == sorted(heights, reverse=True)


def test_a_plot_s_ticks_count_whole_chunks(
    tab: Page, oversight: BackgroundRelay, producer: Producer
) -> None:
    producer.append("a")
    show(tab, oversight, producer.stream_id)
    ticks = tab.locator("#growth-plot text")
    expect(ticks).to_have_count(5)
    assert ticks.all_text_contents()[:3] == ["0", "1", "2"]
    producer.append("b", "c")
    eventually(lambda: ticks.all_text_contents()[:3] == ["0", "2", "4"])
