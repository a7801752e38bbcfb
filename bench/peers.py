"""Issuers on loopback for benches: an https server that counts what it is asked, and that can be slow, endless or mute.

It runs on threads of the load's process, and is asked so seldom that it does not disturb what is measured.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.pki import Pki

MEGABYTE = 1 << 20
Send = Callable[[bytes], Any]


class Peer:
    """One https server. `documents` are what it answers, by path; `asked` counts by path.

    Below /mute/ it never answers, below /drip/ it sends a byte each tenth of a second, below /huge/ ten megabytes.
    """

    def __init__(self, folder: Path) -> None:
        self._pki = Pki(folder)
        self.ca_pem = self._pki.ca.read_text()
        self.documents: dict[str, Any] = {}
        self.asked: Counter[str] = Counter()
        self._over = threading.Event()
        self.url = ""

    def answer(self, path: str, send: Send) -> None:
        self.asked[path] += 1
        manner = {"/mute": self._mute, "/drip": self._drip, "/huge": self._huge}.get(path[:5])
        if manner is not None:
            manner(send)
            return
        found = self.documents.get(path)
        data = json.dumps(found).encode()
        send(_head("200 OK" if found is not None else "404 Not Found", len(data)) + data)

    def _mute(self, _send: Send) -> None:
        self._over.wait(60)

    def _drip(self, send: Send) -> None:
        send(_head("200 OK", 100_000))
        while not self._over.wait(0.1):
            send(b" ")

    def _huge(self, send: Send) -> None:
        send(_head("200 OK", 10 * MEGABYTE))
        for _ in range(160):
            send(b" " * 65_536)

    @contextmanager
    def serving(self) -> Iterator[None]:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(OSError):  # whoever asked has hung up: that is the point of some paths
                    peer.answer(self.path, self.wfile.write)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._pki.server_cert, self._pki.server_key)
        server = Server(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield
        finally:
            self._over.set()
            server.shutdown()
            server.server_close()


def _head(status: str, length: int) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n".encode()
