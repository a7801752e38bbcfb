"""Spans by OpenTelemetry: the names that client and server use, and the client's span of each exchange with a server.

OpenTelemetry is the extra `tracing`. This module is imported only where it is in use. A span never has a secret, a body, a
query or an id of a session.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from opentelemetry import context, propagate, trace

from daypass import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import Sampler

# The semantic conventions change: every name is here. https://opentelemetry.io/docs/specs/semconv/ 1.37
METHOD: Final = "http.request.method"
STATUS: Final = "http.response.status_code"
SERVER: Final = "server.address"
PORT: Final = "server.port"
ERROR: Final = "error.type"
OPERATION: Final = "daypass.operation"
EVALUATION: Final = "daypass.evaluate"
COMMIT: Final = "daypass.commit"
KEYS: Final = "daypass.fetch_keys"
HEAVY: Final = "daypass.heavy"  # work in another process, and the wait for one


class _Answer(Protocol):
    @property
    def status(self) -> int: ...


A = TypeVar("A", bound=_Answer)
_EXPORT_SECONDS: Final = 2.0  # a collector that is down must not delay the end of a command


def provider_of(service: str, endpoint: str = "", sampler: Sampler | None = None) -> TracerProvider:
    """A provider that exports to `endpoint`; by default to that of the standard environment variables."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # a program may have its own
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    names = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", service), SERVICE_VERSION: __version__}
    made = TracerProvider(sampler, Resource.create(names))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint or None, timeout=_EXPORT_SECONDS)))
    return made


def start() -> None:
    """Begins to export spans of this process, as part of the trace of `TRACEPARENT`. Call it once."""
    logging.getLogger("opentelemetry").addHandler(
        logging.NullHandler()
    )  # a collector that is down does not fail the command
    trace.set_tracer_provider(provider_of("daypass-cli"))
    context.attach(propagate.extract({"traceparent": os.environ.get("TRACEPARENT", "")}))


def exchanged(transport: Callable[[Any, float], A], request: Any, seconds: float) -> A:
    """One exchange of `client.transport` as a span, whose context the request carries to the server."""
    parts = urlsplit(request.endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    attributes: dict[str, str | int] = {METHOD: request.method, SERVER: parts.hostname or "", PORT: port}
    tracer = trace.get_tracer("daypass", __version__)
    with tracer.start_as_current_span(
        request.method, kind=trace.SpanKind.CLIENT, attributes=attributes, record_exception=False
    ) as span:
        carried: dict[str, str] = {}
        propagate.inject(carried)
        own = {name: value for name, value in carried.items() if name in ("traceparent", "tracestate")}
        try:
            answer = transport(request.with_headers({**request.headers, **own}), seconds)
        except Exception as error:
            span.set_attribute(ERROR, type(error).__name__)
            raise
        status: int = answer.status
        span.set_attribute(STATUS, status)
        if status >= 400:
            span.set_attribute(ERROR, str(status))
            span.set_status(trace.StatusCode.ERROR)
        return answer
