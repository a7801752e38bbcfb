"""Shared parts of tests of event streams: a receiver on this machine, and signed calls of the endpoints."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from tests.attack.installation import ADMIN, Answer, Installation, Key

from daypass.domain.directory import EventStream
from daypass.operations.ssf.push import due_streams, push_stream, queue_revocations

PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
CREDENTIAL_CHANGE = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"
STREAM_UPDATED = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"


@dataclass
class Receiver:
    """A receiver of pushes; it answers with `status`."""

    url: str = ""
    status: int = 202
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)

    @property
    def sets(self) -> list[str]:
        return [text for _, text in self.got]


@contextmanager
def receiving() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.got.append(({name.lower(): value for name, value in self.headers.items()}, body.decode("ascii")))
            self.send_response(made.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/events"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def call(
    site: Installation, method: str, path: str, body: Any = None, *, key: Key = ADMIN, query: str = "", **headers: str
) -> Answer:
    """A signed call of an endpoint."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    extra = {"content-type": "application/json", **headers}
    signed = site.signed(key, data, "daypass", method=method, path=path, query=query, extra=extra)
    return site.send(method, signed, data, path=path.encode(), query=query.encode())


def members(answer: Answer, status: int = 200) -> Any:
    assert answer.status == status, answer.body
    return json.loads(answer.body)


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, str(json.loads(answer.body)["error"]["code"])


def create(site: Installation, method: str = POLL, key: Key = ADMIN, **more: Any) -> dict[str, Any]:
    """A new stream."""
    delivery = {"method": method, **more.pop("delivery", {})}
    return dict(members(call(site, "POST", "/ssf/streams", {"delivery": delivery, **more}, key=key), 201))


def polled(site: Installation, stream: Mapping[str, Any], key: Key = ADMIN, **more: Any) -> dict[str, str]:
    """The SETs of a poll that does not wait, by jti."""
    body = {"returnImmediately": True, **more}
    path = str(stream["delivery"]["endpoint_url"]).removeprefix("https://daypass.test")
    return dict(members(call(site, "POST", path, body, key=key))["sets"])


def claims(site: Installation, text: str) -> dict[str, Any]:
    """The claims of a SET, as another library verifies it by the keys that the configuration names."""
    configuration = json.loads(site.send("GET", path=b"/.well-known/ssf-configuration").body)
    path = configuration["jwks_uri"].removeprefix(configuration["issuer"]).encode()
    keys = {key["kid"]: key for key in json.loads(site.send("GET", path=path).body)["keys"]}
    header = jwt.get_unverified_header(text)
    assert header["typ"] == "secevent+jwt"
    key = jwt.PyJWK(keys[header["kid"]])
    options: Any = {"verify_aud": False, "verify_iat": False, "require": ["iss", "jti", "iat", "aud"]}
    found = jwt.decode(text, key, algorithms=["ES256"], issuer=configuration["issuer"], options=options)
    assert not {"sub", "exp"} & set(found)
    return dict(found)


def work(site: Installation, until: Callable[[], bool]) -> None:
    """Queues and pushes until a condition holds, at most for a minute."""

    async def once() -> None:
        env = site.runtime.env
        await queue_revocations(env)
        for stream in await due_streams(env):
            await push_stream(env, stream)

    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        site.run(once())


def queued(site: Installation) -> None:
    """Queues the revocations that are known."""
    site.run(queue_revocations(site.runtime.env))


def stored(site: Installation, stream: Mapping[str, Any]) -> EventStream:
    """A stream as it is stored."""
    read = site.runtime.env.directory.read
    found = site.run(read(lambda tx: tx.get(EventStream, id=stream["stream_id"]), account=""))
    assert found is not None
    return found


def revoke(site: Installation, value: str, key: Key = ADMIN, **more: Any) -> str:
    """A revocation of a source identity; its id."""
    body = {"subject": "source_identity", "value": value, "force": True, **more}
    return str(members(call(site, "POST", "/api/v1/revocations", body, key=key), 201)["id"])
