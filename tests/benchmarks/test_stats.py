from __future__ import annotations

import io

import pytest

from benchmarks.results import Group
from benchmarks.stats import at_least, at_most, interleaved, median, percentile, ratio
from benchmarks.table import number, show


def test_rounds_are_interleaved() -> None:
    order = list(interleaved(2, ["a", "b", "c"]))

    assert order == [(0, "a"), (0, "b"), (0, "c"), (1, "a"), (1, "b"), (1, "c")]


@pytest.mark.parametrize(
    ("values", "middle"), [([3.0], 3.0), ([9.0, 1.0, 5.0], 5.0), ([4.0, 1.0, 3.0, 2.0], 2.5)]
)
def test_median(values: list[float], middle: float) -> None:
    assert median(values) == middle


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (99.9, 100), (100, 100)]
)
def test_percentile_is_nearest_rank(percent: float, value: float) -> None:
    assert percentile(range(1, 101), percent) == value


def test_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], percent) for percent in (0, 50, 99, 100)] == [7.0] * 4


@pytest.mark.parametrize("percent", [-1, 100.1])
def test_percentile_out_of_range(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile([1.0], percent)


def test_nothing_to_take_statistics_of() -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile([], 50)
    with pytest.raises(ValueError, match="median"):
        median([])


def test_ratio_to_zero_is_unknown() -> None:
    assert ratio(3, 2) == 1.5
    assert ratio(3, 0) is None


def test_targets_include_their_bound() -> None:
    assert at_least(10).reached(10)
    assert not at_least(10).reached(9.9)
    assert at_most(10).reached(10)
    assert not at_most(10).reached(10.1)


def test_a_relative_target_follows_the_other_subject() -> None:
    target = at_most(0.6, of="recipe")

    assert target.reached(59, 100)
    assert not target.reached(61, 100)
    assert target.reached(1, None) is None


def group() -> Group:
    made = Group("case", "title", "us", "ours", {"ours": at_most(0.6, of="peer")})
    for ours, peer in ((10.0, 20.0), (12.0, 21.0), (50.0, 19.0)):
        made.add("ours", ours)
        made.add("peer", peer)
    return made


def test_a_group_compares_medians() -> None:
    made = group()

    assert (made.value("ours"), made.value("peer")) == (12.0, 20.0)
    assert made.spread("ours") == (10.0, 50.0)
    assert made.to_reference("peer") == pytest.approx(20 / 12)
    assert made.reached("ours") is True
    assert made.reached("peer") is None


def test_a_group_without_values_knows_no_verdict() -> None:
    made = Group("case", "title", "us", "ours", {"ours": at_most(1)})
    made.row("ours")

    assert made.value("ours") is None
    assert made.to_reference("ours") is None
    assert made.reached("ours") is None


def test_json_keeps_every_round() -> None:
    rows = group().as_json()["rows"]

    assert [row["subject"] for row in rows] == ["ours", "peer"]
    assert rows[0]["rounds"] == [10.0, 12.0, 50.0]
    assert rows[0]["target"] == {"bound": 0.6, "at_most": True, "of": "peer"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(231234.4, "231,234"), (12.34, "12.3"), (1.234, "1.23"), (0.0123, "0.012"), (0, "0.00")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_what_is_not_reached_is_said_so() -> None:
    missed = Group("case", "title", "chunks/s", "ours", {"ours": at_least(200_000)})
    missed.add("ours", 150_000.0)
    out = io.StringIO()

    show([group(), missed], ["a machine"], out)

    text = out.getvalue()
    assert "\x1b" not in text
    assert "a machine" in text
    assert "not reached" in text
    assert "case: title, ours: 150,000 chunks/s (target ≥ 200,000)" in text


def test_unmeasured_rows_are_not_called_reached() -> None:
    made = Group("case", "title", "us", "ours", {"ours": at_most(1)})
    made.row("ours")
    made.note("ours", "not measured: no module x")
    out = io.StringIO()

    show([made], [], out)

    assert "Every target" not in out.getvalue()
    assert "not measured: no module x" in out.getvalue()
