"""Spans: a run, and within it its calls to Okta; a push; no names in any of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent import traces
from agent.okta_org.caller import OktaCaller
from support.databases import sqlite_in
from support.receiver import okta_user, served
from support.world import World

Make = Callable[..., World]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    stop = traces.start(provider)
    yield exporter
    stop()
    provider.shutdown()


def test_a_runs_calls_to_okta_lie_within_it(make_world: Make, spans: InMemorySpanExporter) -> None:
    w = make_world(users=3)
    spans.clear()
    report = w.reconcile(apply=False)
    found = spans.get_finished_spans()
    (run,) = [one for one in found if one.name == "run"]
    assert run.attributes is not None
    assert (run.attributes["run_id"], run.attributes["outcome"]) == (report.run_id, report.outcome)
    calls = [one for one in found if one.name == "okta"]
    assert len(calls) > 2
    assert {one.parent.span_id for one in calls if one.parent} == {run.context.span_id}
    assert not any("@" in str(one.attributes) for one in found)


def test_a_push_is_a_span_with_its_status(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    with served(sqlite_in(tmp_path)) as receiver:
        receiver.send("POST", "/Users", okta_user("ann@example.com", externalId="00u1"))
        receiver.send("POST", "/Users", {"schemas": []})
    found = [one.attributes for one in spans.get_finished_spans() if one.name == "push"]
    told = [(one["http.request.method"], one["http.response.status_code"]) for one in found if one]
    assert told == [("POST", 201), ("POST", 400)]
    assert not any("@" in str(one) for one in found)


def test_without_an_endpoint_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    before = OktaCaller.fetch
    traces.start()
    assert OktaCaller.fetch is before
