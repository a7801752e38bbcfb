"""Traces of requests: a span for the request, and below it for the evaluation, the commit and the fetch of issuer keys.

It is imported only with `tracing.endpoint`. It then replaces the functions of `SPANS`, so that without it no request pays
for it. It must never change what a request does, and a span never has a secret, an id or a name that a caller chose.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from daypass import __version__
from daypass.client.tracing import COMMIT, ERROR, EVALUATION, HEAVY, KEYS, METHOD, OPERATION, provider_of
from daypass.config import TracingSettings
from daypass.domain.errors import DaypassError
from daypass.observability.metrics import Metrics

Scope = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]
Observe = Callable[[str, str, float], None]

SPANS: Final = (
    ("daypass.operations.assume.applicant", "", "admitted", EVALUATION),
    ("daypass.operations.authorize", "", "_decided", EVALUATION),
    ("daypass.audit.journal", "Journal", "commit", COMMIT),
    ("daypass.audit.journal", "Journal", "write", COMMIT),
    ("daypass.federation.sources", "Getter", "get", KEYS),
    ("daypass.server.heavy", "HeavyProcesses", "read", HEAVY),
    ("daypass.server.heavy", "HeavyProcesses", "compute", HEAVY),
)
"""Module, class, coroutine function, and the name of its span."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_UNTRACED: Final = ("/healthz", "/readyz", "/metrics")
_PARENT: Final = b"traceparent"
_W3C: Final = TraceContextTextMapPropagator()


class Tracing:
    """The traces of one process."""

    def __init__(self, settings: TracingSettings) -> None:
        share = TraceIdRatioBased(settings.share)  # a caller who asks to be sampled gets no more than others
        sampler = ParentBased(share, remote_parent_sampled=share, remote_parent_not_sampled=ALWAYS_OFF)
        self._provider = provider_of("daypass", settings.endpoint, sampler)
        self._tracer = self._provider.get_tracer("daypass", __version__)
        for module, owner, name, span in SPANS:
            found = import_module(module)
            _replace(found, owner, name, self._traced(getattr(found, owner) if owner else found, name, span))

    def around(self, application: App) -> App:
        """The application with a span for each request. One without a trace of its own gets the new one, so that the record
        has its id.
        """

        async def serve(scope: Scope, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["path"].startswith(_UNTRACED):
                await application(scope, receive, send)
                return
            carried = {"traceparent": parent.decode("latin-1")} if (parent := _parent_of(scope)) else {}
            method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
            begun = (_W3C.extract(carried), trace.SpanKind.SERVER, {METHOD: method})
            with self._tracer.start_as_current_span(method, *begun, record_exception=False):
                if not carried:  # one that is there may be signed
                    own: dict[str, str] = {}
                    _W3C.inject(own)
                    scope["headers"] = [*scope["headers"], (_PARENT, own["traceparent"].encode("ascii"))]
                with bound_contextvars(trace_id=_id_of_trace()):  # in log lines
                    await application(scope, receive, send)

        return serve

    @staticmethod
    def observing(metrics: Metrics) -> Observe:
        """`Metrics.observe`, which also names the span of the request, and gives figures the trace as an exemplar if it is
        exported. Operations and codes are closed sets.
        """

        def observed(name: str, code: str, seconds: float) -> None:
            span = trace.get_current_span()
            if name:
                span.update_name(name)
                span.set_attribute(OPERATION, name)
            if code:
                span.set_attribute(ERROR, code)
            metrics.observe(name, code, seconds)
            if (context := span.get_span_context()).trace_flags.sampled:
                metrics.observe_trace(name, code, seconds, trace.format_trace_id(context.trace_id))

        return observed

    def stop(self) -> None:
        """Exports what remains. Blocks for some seconds when the collector does not answer."""
        self._provider.shutdown()

    def _traced(self, owner: Any, name: str, span_name: str) -> Any:
        function = getattr(owner, name)

        @functools.wraps(function)
        async def traced(*arguments: Any, **given: Any) -> Any:
            with self._tracer.start_as_current_span(
                span_name, record_exception=False, set_status_on_exception=False
            ) as span:
                try:
                    return await function(*arguments, **given)
                except DaypassError as error:
                    span.set_attribute(ERROR, error.kind.value)
                    raise

        return traced


def _id_of_trace() -> str:
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


def _parent_of(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == _PARENT), b"")


def _replace(module: Any, owner: str, name: str, traced: Any) -> None:
    """Puts `traced` in the place of a function, also in the modules that have imported it."""
    if owner:
        setattr(getattr(module, owner), name, traced)
        return
    original = getattr(module, name)
    for each in [found for key, found in sys.modules.items() if key.startswith("daypass.")]:
        if vars(each).get(name) is original:
            setattr(each, name, traced)
