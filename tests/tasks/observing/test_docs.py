"""docs/observability.md and the dashboard name the metrics that there are, and no others."""

from __future__ import annotations

import json
import re
from typing import Any

import promql_parser
import pytest
from prometheus_client import CollectorRegistry

from streamstraight_celery.server.counters import Tally
from streamstraight_celery.server.metrics import Shown
from streamstraight_celery.signals import stream_ended
from streamstraight_celery.testing import StreamTester
from streamstraight_celery.worker.metrics import WorkerMetrics
from tests.conftest import ROOT

from .tasks import app, speak

NAMES = re.compile(r"streamstraight_[a-z_]+")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}

DOCS = (ROOT / "docs/observability.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs/grafana/streams.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def families() -> dict[str, str]:
    """The name of each metric, and what it is."""
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    found = [*registry.collect(), *Shown(Tally(), []).collect()]
    return {family.name: family.type for family in found}


def sample_names() -> set[str]:
    """Every name that a query may use."""
    return {name + suffix for name, kind in families().items() for suffix in SUFFIXES[kind]}


def queries() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]] + [
        variable["query"]["query"]
        for variable in DASHBOARD["templating"]["list"]
        if variable["type"] == "query"
    ]


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    asked = {name for query in queries() for name in NAMES.findall(query)}
    assert asked - sample_names() == set()
    # ... and for each of them.
    shown = {name for name in families() if any(each.startswith(name) for each in asked)}
    assert shown == set(families())


def test_the_dashboard_is_well_formed() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    taken = [
        (column, line)
        for place in places
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken), "panels lie on each other"
    assert max(column for column, _ in taken) < 24
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = {name for query in queries() for name in re.findall(r"\$([a-z]\w*)", query)}
    assert used <= known
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)


def test_queries_are_prometheus_own() -> None:
    panels = [target["expr"] for panel in PANELS for target in panel["targets"]]
    (documented,) = re.findall(r"^```promql\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
    assert set(NAMES.findall(documented)) <= sample_names()
    for query in [*panels, documented]:
        # Grafana puts a duration in this place, and names into the strings.
        promql_parser.parse(query.replace("$__rate_interval", "1m"))
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse("sum(rate(streamstraight_chunks_sent_total))(")


def test_the_documentation_lists_every_metric() -> None:
    listed = re.findall(r"^\| `(streamstraight_\w+)`", DOCS, re.MULTILINE)
    kinds = {"counter": "_total", "gauge": "", "histogram": ""}
    assert sorted(listed) == sorted(name + kinds[kind] for name, kind in families().items())


def test_the_example_of_a_receiver(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(example, names)
    try:
        with StreamTester(app) as tester:
            tester.run(speak, "one two")
    finally:
        stream_ended.disconnect(names["note"])
    assert capsys.readouterr().out == f"{speak.name} completed: 2 chunks, attempt 1\n"
