"""The reasons of a risk in prose, by an OpenAI-compatible API on this machine, through the fetcher of all outbound requests."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.heavy import IN_PROCESS
from tests.integration.api.access import Place
from tests.integration.api.conftest import BOOTSTRAP, Server
from tests.patience import PATIENT_JOURNAL
from tests.prepared import prepare_sqlite

from daypass.config import Settings
from daypass.operations.accounts.bootstrap import bootstrap, parse
from daypass.server.application import build
from daypass.server.runtime import Runtime

KEY, SAID = "canary-api-key", "Ann is new <b>here</b>."


@dataclass
class Completions:
    """POST /v1/chat/completions as its reference describes it: a choice with the message of the assistant."""

    status: int = 200
    content: Any = SAID
    asked: list[tuple[str, Any]] = field(default_factory=list)  # Authorization and body


def handler(api: Completions) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            api.asked.append((self.headers["authorization"], sent))
            message = {"role": "assistant", "content": api.content}
            answer = {"id": "c1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
            body = json.dumps(answer if self.path == "/v1/chat/completions" else {}).encode()
            self.send_response(api.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture(params=[True])
async def there(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Place, Completions]]:
    """An installation whose operator has named the API; with the parameter False, one that has not."""
    api = Completions()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(api))
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    url = f"http://127.0.0.1:{http.server_address[1]}/v1/chat/completions"
    on = {"prose_url": url, "prose_model": "small", "prose_key": KEY} if request.param else {}
    access = {"private_hosts": ["127.0.0.1"], **on}
    settings = {"server": {"data": str(tmp_path)}, "access": access, "journal": PATIENT_JOURNAL, "heavy": IN_PROCESS}
    prepare_sqlite(tmp_path / "daypass.db")
    runtime = Runtime(Settings.model_validate(settings))
    await runtime.start()
    await bootstrap(runtime.env, parse(BOOTSTRAP))
    place = Place(Server(runtime, build(runtime)))
    await place.fill()
    yield place, api
    await runtime.stop()
    http.shutdown()
    http.server_close()


async def examined(place: Place, person: str, request: dict[str, Any]) -> dict[str, Any]:
    answer = await place.server.api(place.keys[person], "GET", f"/access-requests/{request['id']}/examination")
    assert answer.status == 200
    return dict(answer.json)


async def test_prose_is_for_approvers_and_is_asked_once_with_the_reasons_alone(
    there: tuple[Place, Completions],
) -> None:
    place, api = there
    request = await place.request("ann")
    for _ in range(2):
        assert (await examined(place, "lee", request))["prose"] == SAID
    [(authorization, sent)] = api.asked
    assert (authorization, sent["model"]) == (f"Bearer {KEY}", "small")
    reasons = [reason["text"] for reason in request["risk_reasons"]]
    assert sent["messages"][1]["content"] == "\n".join([f"Risk score: {request['risk']} of 100.", *reasons])
    shown = json.dumps(sent)
    for private in (request["reason"], request["id"], request["account"], "ann", "arn:", KEY):
        assert private not in shown
    assert KEY not in json.dumps(await place.server.events())


@pytest.mark.parametrize(("status", "content"), [(500, SAID), (200, None), (200, {"a": 1}), (200, " ")])
async def test_prose_that_does_not_come_leaves_the_examination_without_it(
    there: tuple[Place, Completions], status: int, content: Any
) -> None:
    place, api = there
    api.status, api.content = status, content
    request = await place.request("ann")
    for _ in range(2):
        assert (await examined(place, "lee", request))["prose"] == ""
    assert len(api.asked) == 1  # not asked again within a minute


async def test_prose_that_is_long_is_cut(there: tuple[Place, Completions]) -> None:
    place, api = there
    api.content = "x" * 100_000
    assert len((await examined(place, "lee", await place.request("ann")))["prose"]) == 1_000


@pytest.mark.parametrize("there", [False], indirect=True)
async def test_prose_is_off_by_default(there: tuple[Place, Completions]) -> None:
    place, api = there
    assert (await examined(place, "lee", await place.request("ann")))["prose"] == ""
    assert api.asked == []
