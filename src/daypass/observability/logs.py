"""Structured logs: one JSON object a line, also in the Elastic Common Schema, or text for people, on standard error.

The audit record holds the requests; the log describes the state of the server. It never holds secrets or bodies.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: Literal["debug", "info", "warning", "error"], form: Literal["json", "ecs", "text"]) -> None:
    """Sets up the process's logging, the standard library's included. Call it once, at start."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    # ConsoleRenderer escapes control characters of values (repr); JSON escapes them all.
    render: Any = structlog.dev.ConsoleRenderer(colors=False) if form == "text" else structlog.processors.JSONRenderer()
    if is_journal(sys.stderr, os.environ):
        render = with_priority(render)
    if form == "ecs":
        shared.append(_in_ecs)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[level], logging.WARNING), force=True)


_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}
"""Of syslog, by the method of the logger."""


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the stream leads to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # a stream without a file
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def with_priority(render: Callable[[Any, str, Any], Any]) -> Callable[[Any, str, Any], str]:
    """Lines as the journal reads them: it removes the prefix <3>, so that `journalctl -p err` finds errors (sd-daemon(3))."""

    def prefixed(logger: Any, method: str, line: Any) -> str:
        prefix = f"<{_PRIORITIES.get(method, 6)}>"
        return prefix + str(render(logger, method, line)).replace("\n", f"\n{prefix}")

    return prefixed


_ECS = {
    "timestamp": "@timestamp",
    "level": "log.level",
    "event": "message",
    "request_id": "http.request.id",
    "trace_id": "trace.id",
    "exception": "error.stack_trace",
    "error": "error.message",
}


def _in_ecs(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The line with the field names of ECS 8.11; other fields are custom ones below `daypass`."""
    named = {_ECS.get(name, f"daypass.{name}"): value for name, value in line.items() if not name.startswith("_")}
    kept = {name: value for name, value in line.items() if name.startswith("_")}  # of structlog's own
    return {**named, "ecs.version": "8.11.0", "service.name": "daypass", **kept}


def get() -> Any:
    """The server's logger."""
    return structlog.get_logger("daypass")
