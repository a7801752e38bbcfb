"""Log lines in the Elastic Common Schema."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def test_log_of_ecs_names_level_message_request_and_trace(capfd: pytest.CaptureFixture[str]) -> None:
    program = (
        "import logging, structlog; from daypass.observability import logs; logs.configure('info', 'ecs')\n"
        "with structlog.contextvars.bound_contextvars(trace_id='ab'):\n"
        "    try: 1 / 0\n"
        "    except ZeroDivisionError: logs.get().warning('it failed\\n', request_id='r1', seconds=2, exc_info=True)\n"
        "logging.getLogger('x').error('of a library')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    first, second = map(json.loads, capfd.readouterr().err.splitlines())
    assert (first["log.level"], first["message"], first["http.request.id"]) == ("warning", "it failed\n", "r1")
    assert (first["trace.id"], first["daypass.seconds"], first["ecs.version"]) == ("ab", 2, "8.11.0")
    assert first["@timestamp"].endswith("Z")
    assert "ZeroDivisionError" in first["error.stack_trace"]
    assert (second["message"], second["service.name"]) == ("of a library", "daypass")
