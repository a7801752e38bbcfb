"""Issuers on loopback for benches: an https server that writes down what it is asked, and that can be slow, endless or mute.

It is a process of its own, so that the load generator's clock does not stand still while it works. Run as a program it
serves a folder: `documents/NAME` is the JSON at /NAME. Below /mute/ it never answers, below /drip/ it sends a byte each
tenth of a second, below /huge/ ten megabytes.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.pki import Pki

Send = Callable[[bytes], Any]


class Peer:
    """The server, as benches see it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "documents").mkdir()
        self.ca_pem = Pki(folder).ca.read_text()
        self.url = ""

    def publish(self, name: str, document: Any) -> str:
        """The URL of a document."""
        (self._folder / "documents" / name).write_text(json.dumps(document))
        return f"{self.url}/{name}"

    def asked(self) -> list[str]:
        """The paths that were asked for."""
        log = self._folder / "asked"
        return log.read_text().splitlines() if log.exists() else []

    @contextmanager
    def serving(self) -> Iterator[None]:
        """It has the cores of this process."""
        command = [sys.executable, __file__, str(self._folder)]
        search = {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, env=os.environ | search, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            self.url = process.stdout.readline().strip()
            yield
        finally:
            process.kill()
            process.communicate()


# --- The process -----------------------------------------------------------------------------------------------------


def _head(length: int, status: str = "200 OK") -> bytes:
    lines = (f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {length}", "connection: close")
    return "\r\n".join((*lines, "", "")).encode()


def _mute(_send: Send) -> None:
    time.sleep(60)


def _drip(send: Send) -> None:
    send(_head(100_000))
    for _ in range(600):
        send(b" ")
        time.sleep(0.1)


def _huge(send: Send) -> None:
    send(_head(10 << 20))
    for _ in range(160):
        send(b" " * 65_536)


_MANNERS: Mapping[str, Callable[[Send], None]] = {"mute": _mute, "drip": _drip, "huge": _huge}


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock, (folder / "asked").open("a") as log:
                log.write(f"{self.path}\n")
            with suppress(OSError):  # whoever asked has hung up: that is the point of some paths
                self._answer(self.path[1:])

        def _answer(self, name: str) -> None:
            manner = _MANNERS.get(name.partition("/")[0])
            if manner is not None:
                manner(self.wfile.write)
                return
            document = folder / "documents" / name
            found = document.parent == folder / "documents" and document.is_file()
            data = document.read_bytes() if found else b"{}"
            self.wfile.write(_head(len(data), "200 OK" if found else "404 Not Found") + data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        pass


def main() -> None:
    folder = Path(sys.argv[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server = _Server(("127.0.0.1", 0), _handler(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(f"https://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
