"""`daypass stream` over a scripted server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.servers import as_json

pytestmark = pytest.mark.usefixtures("key")

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
STREAM = {
    "stream_id": "ab12",
    "aud": "arn:aws:daypass::1:event-stream/ab12",
    "delivery": {"endpoint_url": "https://s/p"},
}


def test_stream_create_sends_the_address_the_header_of_a_file_and_the_events(
    cli: Any, serve: Any, tmp_path: Path
) -> None:
    (tmp_path / "header").write_text("Bearer s3cret\n")
    server = serve(as_json(STREAM))
    options = ("--push", "https://siem.example", "--header-file", f"{tmp_path}/header", "--event", "session-revoked")
    ran = cli("stream", "create", *options)
    assert ran.status == 0, ran.err
    assert "ab12" in ran.out
    assert "s3cret" not in ran.out
    (sent,) = server.sent
    assert (sent.method, sent.target) == ("POST", "/ssf/streams")
    delivery = {
        "method": "urn:ietf:rfc:8935",
        "endpoint_url": "https://siem.example",
        "authorization_header": "Bearer s3cret",
    }
    assert json.loads(sent.body) == {"delivery": delivery, "events_requested": [f"{CAEP}session-revoked"]}


def test_stream_create_without_an_address_is_polled(cli: Any, serve: Any) -> None:
    server = serve(as_json(STREAM))
    assert cli("stream", "create").status == 0
    assert json.loads(server.sent[0].body) == {"delivery": {"method": "urn:ietf:rfc:8936"}}


def test_stream_create_with_a_header_and_no_address_is_a_usage_error(cli: Any, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "header").write_text("x")
    server = serve(as_json(STREAM))
    assert cli("stream", "create", "--header-file", f"{tmp_path}/header").status == 2
    assert server.sent == []
