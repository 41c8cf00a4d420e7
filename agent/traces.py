"""Spans for OpenTelemetry: a push, a run, and within it each call to Okta. Off the way of all of them unless ``start`` is called.

``serve`` calls it where OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra is installed (opshelm-okta-agent[otel]). As OpenTelemetry's
own instrumentations do, it wraps three functions and nothing within them. Attributes are ids, outcomes and numbers; never a
name, an address, a body or an error's text.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import structlog

_SERVICE = "opshelm-okta-agent"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_log = structlog.get_logger("agent.traces")


def start(provider: Any = None) -> Callable[[], None]:
    """Trace from now on, to ``provider``, else to where the environment says. Answers what ends it and sends the rest."""
    provider = provider or _from_environment()
    if provider is None:
        return lambda: None
    from agent.okta_org.caller import OktaCaller
    from agent.receiver.app import Receiver
    from agent.runs.frame import Frame

    tracer = provider.get_tracer(_SERVICE)
    wrapped: list[tuple[type, str, Callable[..., Any]]] = [
        (Receiver, "__call__", _push(tracer, Receiver.__call__)),
        (Frame, "run", _run(tracer, Frame.run)),
        (OktaCaller, "fetch", _call(tracer, OktaCaller.fetch)),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in wrapped]
    for owner, name, function in wrapped:
        setattr(owner, name, function)

    def stop() -> None:
        for owner, name, function in before:
            setattr(owner, name, function)
        provider.shutdown()

    return stop


def _push(tracer: Any, inner: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(inner)
    async def traced(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await inner(self, scope, receive, send)
            return
        with _span(tracer, "push", **{"http.request.method": scope["method"]}) as span:

            async def told(message: Any) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await inner(self, scope, receive, told)

    return traced


def _run(tracer: Any, inner: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(inner)
    def traced(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        with _span(tracer, "run", kind=request.kind, trigger=request.trigger, dry=request.dry) as span:
            report = inner(self, request, *args, **kwargs)
            span.set_attribute("run_id", report.run_id)
            span.set_attribute("outcome", str(report.outcome))
            return report

    return traced


def _call(tracer: Any, inner: Callable[..., Any]) -> Callable[..., Any]:
    """With its waits and tries."""

    @wraps(inner)
    async def traced(self: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        with _span(tracer, "okta", bucket=call.bucket, reads=call.reads):
            return await inner(self, call, *args, **kwargs)

    return traced


@contextmanager
def _span(tracer: Any, name: str, **attributes: str | int | bool) -> Iterator[Any]:
    # An error's text may name a person.
    quiet = {"record_exception": False, "set_status_on_exception": False}
    with tracer.start_as_current_span(name, attributes=attributes, **quiet) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            raise


def _from_environment() -> Any:
    if not os.environ.get(_ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("no traces: the extra opshelm-okta-agent[otel] is not installed", variable=_ENDPOINT)
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": _SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
