"""A PostgreSQL server that can hang: a relay in front of the real one that stops passing bytes on.

To a client it is what SIGSTOP makes of a server: connections stay open and are accepted, and nothing is answered.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit


class StallingServer:
    """Listens on a loopback port; `url` is that of a database behind it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        directory = parse_qs(parts.query).get("host")
        self._far: Any = f"{directory[0]}/.s.PGSQL.5432" if directory else (parts.hostname, parts.port or 5432)
        self._login = parts.netloc.rpartition("@")[0]
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{self._login}@127.0.0.1:{port}{parts.path}"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        self._flowing.clear()

    def go_on(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self._flowing.set()
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX if isinstance(self._far, str) else socket.AF_INET, socket.SOCK_STREAM)
            far.connect(self._far)
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                self._flowing.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@contextmanager
def stalling(url: str) -> Iterator[StallingServer]:
    server = StallingServer(url)
    try:
        yield server
    finally:
        server.close()
