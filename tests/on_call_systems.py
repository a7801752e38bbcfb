"""PagerDuty, Opsgenie and incident.io as their REST APIs describe a look at who is on call, on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "canary-on-call-token"


@dataclass
class OnCallSystem:
    """One system. `people`: names and addresses of those on call. `status`: of every answer, unless 0."""

    url: str = ""
    people: list[tuple[str, str]] = field(default_factory=list)
    status: int = 0
    asked: list[str] = field(default_factory=list)

    authorization = ""

    def source(self) -> str:
        """The URL for a rule."""
        raise NotImplementedError

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        """The content of the answer; None: there is nothing."""
        raise NotImplementedError


class PagerDuty(OnCallSystem):
    """GET /oncalls, in pages of `limit` from `offset`: users are references, which `include[]=users` replaces by users
    with an address.
    """

    authorization = f"Token token={TOKEN}"

    def source(self) -> str:
        return f"{self.url}/oncalls?schedule_ids[]=PI7DH85&include[]=users"

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        if path != "/oncalls" or query.get("schedule_ids[]") != ["PI7DH85"]:
            return None
        users: list[dict[str, Any]] = [
            {"id": f"PU{n}", "type": "user_reference", "summary": name} for n, (name, _) in enumerate(self.people)
        ]
        if "users" in query.get("include[]", []):
            users = [
                {**user, "type": "user", "name": name, "email": email}
                for user, (name, email) in zip(users, self.people, strict=True)
            ]
        offset, limit = (int(query.get(name, [default])[0]) for name, default in (("offset", "0"), ("limit", "25")))
        limit = min(limit, 100)
        shift = {"escalation_level": 1, "start": "2026-11-26T08:00:00Z", "end": "2026-11-27T08:00:00Z"}
        schedule = {"id": "PI7DH85", "type": "schedule_reference", "summary": "Orders"}
        oncalls = [{"user": user, "schedule": schedule, **shift} for user in users]
        more = len(oncalls) > offset + limit
        page = oncalls[offset : offset + limit]
        return {"oncalls": page, "limit": limit, "offset": offset, "more": more, "total": None}


class Opsgenie(OnCallSystem):
    """GET /v2/schedules/ID/on-calls."""

    authorization = f"GenieKey {TOKEN}"

    def source(self) -> str:
        return f"{self.url}/v2/schedules/d875e654-9b4e-4219-a803-0c26936d18de/on-calls"

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        del query
        if path != "/v2/schedules/d875e654-9b4e-4219-a803-0c26936d18de/on-calls":
            return None
        participants = [{"id": f"u{n}", "name": email, "type": "user"} for n, (_, email) in enumerate(self.people)]
        team = {"id": "t1", "name": "ann", "type": "team"}  # a team with the name of a person is no person
        parent = {"id": "d875e654", "name": "Orders", "enabled": True}
        return {"data": {"_parent": parent, "onCallParticipants": [*participants, team]}, "took": 0.1, "requestId": "r"}


class IncidentIo(OnCallSystem):
    """GET /v2/schedules/ID."""

    authorization = f"Bearer {TOKEN}"

    def source(self) -> str:
        return f"{self.url}/v2/schedules/01G0J1EXE7AXZ2C93K61WBPYEH"

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        del query
        if path != "/v2/schedules/01G0J1EXE7AXZ2C93K61WBPYEH":
            return None
        shifts = [
            {
                "entry_id": f"e{n}",
                "start_at": "2026-11-26T08:00:00Z",
                "end_at": "2026-11-27T08:00:00Z",
                "user": {"id": f"u{n}", "name": name, "email": email, "role": "responder", "slack_user_id": "U1"},
            }
            for n, (name, email) in enumerate(self.people)
        ]
        return {"schedule": {"id": "01G0J1EXE7AXZ2C93K61WBPYEH", "name": "Orders", "current_shifts": shifts}}


@contextmanager
def serving(system: OnCallSystem) -> Iterator[OnCallSystem]:
    """The system at an address of this machine. It answers those who have the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            system.asked.append(self.path)
            parts = urlsplit(self.path)
            found = system.answer(parts.path, parse_qs(parts.query))
            status = system.status or (200 if found is not None else 404)
            if self.headers["authorization"] != system.authorization:
                status = 401
            body = json.dumps(found if status == 200 else {"message": "no"}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    system.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield system
    finally:
        server.shutdown()
        server.server_close()
