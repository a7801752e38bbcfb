"""Answers of the small HTTP servers of the client: the end of a login, the proxy, the webhook, the metrics of a probe."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any

TEXT = "text/plain; charset=utf-8"


class Handler(BaseHTTPRequestHandler):
    """Answers with a whole body. It logs nothing: a target may hold a secret."""

    def answer(self, status: int, body: bytes = b"", kind: str = TEXT, **headers: str) -> None:
        """`headers`: further ones, with an underscore for each hyphen."""
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
