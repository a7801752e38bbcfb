"""A small HTTP server on the loopback that does what a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Behave = Callable[[BaseHTTPRequestHandler, bytes], None]


class Loopback:
    """`url` is where it is; `bodies` what came; `behave` writes the answer."""

    def __init__(self, behave: Behave) -> None:
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.bodies.append(body)
                behave(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def loopback() -> Iterator[Callable[[Behave], Loopback]]:
    started: list[Loopback] = []

    def start(behave: Behave) -> Loopback:
        started.append(Loopback(behave))
        return started[-1]

    yield start
    for server in started:
        server.close()
