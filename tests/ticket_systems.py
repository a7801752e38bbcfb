"""Jira and ServiceNow as their REST APIs describe them, on this machine, as far as tickets need them."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, TOKEN = "daypass@example.com", "canary-api-token"


@dataclass
class TicketSystem:
    """The tickets by key, and what a request with the wrong method, path, field or credentials was."""

    url: str = ""
    tickets: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    lose_answers: int = 0  # the next so many answers to creations are lost after the ticket was made

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        raise NotImplementedError


class Jira(TicketSystem):
    """REST API 2 of Jira: issues with a workflow of three statuses."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if (method, path) == ("GET", "/rest/api/2/myself"):
            return 200, {"name": "daypass"}
        if (method, path) == ("GET", "/rest/api/2/search"):
            asked = re.fullmatch(r'project = "(\w+)" AND labels = "([\w-]+)"', query["jql"])
            if asked is None:
                return 400, {"errorMessages": ["Error in the JQL Query"]}
            found = [
                {"key": key}
                for key, each in self.tickets.items()
                if each["project"]["key"] == asked[1] and asked[2] in each["labels"]
            ]
            return 200, {"startAt": 0, "maxResults": 1, "total": len(found), "issues": found[:1]}
        if (method, path) == ("POST", "/rest/api/2/issue"):
            fields = body["fields"]
            if not {"project", "issuetype", "summary"} <= set(fields) or "\n" in fields["summary"]:
                return 400, {"errors": {"summary": "The summary is invalid."}}
            key = f"{fields['project']['key']}-{len(self.tickets) + 1}"
            self.tickets[key] = {**fields, "status": "new"}
            return 201, {"id": "1", "key": key, "self": f"{self.url}/rest/api/2/issue/1"}
        named = re.fullmatch(r"/rest/api/2/issue/([A-Z]+-\d+)/transitions", path)
        if named and named[1] in self.tickets:
            ticket = self.tickets[named[1]]
            ways = {"new": [("11", "indeterminate"), ("31", "done")], "done": []}[ticket["status"]]
            if method == "GET":
                listed = [{"id": each, "to": {"statusCategory": {"key": category}}} for each, category in ways]
                return 200, {"transitions": listed}
            if body["transition"]["id"] in dict(ways):
                ticket["status"] = dict(ways)[body["transition"]["id"]]
                ticket["comment"] = body["update"]["comment"][0]["add"]["body"]
                return 204, None
        return 404, {"errorMessages": ["Issue Does Not Exist"]}


class ServiceNow(TicketSystem):
    """The Table API of ServiceNow."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path == "/api/now/table/incident" and method == "GET":
            wanted = query.get("sysparm_query", "").removeprefix("correlation_id=")
            found = [each for each in self.tickets.values() if not wanted or each["correlation_id"] == wanted]
            return 200, {"result": [{"sys_id": each["sys_id"]} for each in found][:1]}
        if path == "/api/now/table/incident" and method == "POST":
            sys_id = f"{len(self.tickets) + 1:032x}"
            self.tickets[sys_id] = {"state": "1", **body, "sys_id": sys_id}
            return 201, {"result": self.tickets[sys_id]}
        named = re.fullmatch(r"/api/now/table/incident/([0-9a-f]{32})", path)
        if named and named[1] in self.tickets and method == "PATCH":
            if body.get("state") == "7" and not body.get("close_notes"):
                return 403, {"error": {"message": "Data Policy Exception: close_notes is mandatory"}}
            self.tickets[named[1]] |= body
            return 200, {"result": self.tickets[named[1]]}
        return 404, {"error": {"message": "No Record found"}}


@contextmanager
def serving(system: TicketSystem) -> Iterator[TicketSystem]:
    """The system on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            basic = f"Basic {base64.b64encode(f'{USER}:{TOKEN}'.encode()).decode()}"
            if self.headers.get("authorization") != basic:
                status, content = 401, {"error": "credentials"}
            else:
                status, content = system.answer(self.command, parts.path, query, body)
            if status >= 400:
                system.faults.append(f"{self.command} {self.path}: {status}")
            if status == 201 and system.lose_answers:
                system.lose_answers -= 1
                self.close_connection = True
                return
            data = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json;charset=UTF-8")
            if status != 204:
                self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PATCH(self) -> None:
            self._serve()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    system.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield system
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
