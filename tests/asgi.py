"""An ASGI application, called without a socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

Headers = Sequence[tuple[bytes, bytes]]


class Sent(NamedTuple):
    """What an application has sent."""

    status: int
    headers: Headers
    body: bytes


def scope(
    method: str, path: bytes, query: bytes = b"", headers: Headers = (), client: str = "127.0.0.1"
) -> dict[str, Any]:
    """The scope of a request over HTTP."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("latin-1"), errors="replace"),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": list(headers),
        "client": (client, 4711),
        "server": ("127.0.0.1", 80),
    }


async def ask(application: Any, asked: dict[str, Any], body: bytes = b"", chunks: int = 1) -> Sent:
    """One request, whose body comes in so many parts, and its answer."""
    step = max(1, -(-len(body) // chunks))
    parts = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(asked, receive, send)
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    return Sent(sent[0]["status"], sent[0]["headers"], b"".join(message.get("body", b"") for message in sent[1:]))
