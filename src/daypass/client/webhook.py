"""The admission webhook as a server: HTTPS for the API server of a cluster, whose service accounts it reads.

It keeps nothing. Its certificate is read again when the file has changed, so a rotation needs no restart. It must never
log a review: a pod may hold secrets.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any, Final, cast

from daypass.client.http import segment
from daypass.client.pod_identity import Annotations, PodSettings, reviewed
from daypass.client.serving import Handler
from daypass.client.transport import ClientRequest, NoAnswer, exchange

REQUIRED: Final = "/mutate/required"
OPTIONAL: Final = "/mutate"
_MAX_BODY: Final = 4 << 20
_SECONDS: Final = 10.0
_LOOK_UP: Final = 3.0  # the API server waits 10 seconds for the webhook


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The API server, as a service account. `folder` has its `token`, which the kubelet renews, and `ca.crt`."""

    url: str
    folder: str

    def annotations(self, namespace: str, account: str) -> Annotations:
        """The annotations of a service account; none if it does not exist. Raises OSError."""
        with open(f"{self.folder}/token", encoding="utf-8") as file:
            headers = {"authorization": f"Bearer {file.read().strip()}", "accept": "application/json"}
        target = f"/api/v1/namespaces/{segment(namespace)}/serviceaccounts/{segment(account)}"
        request = ClientRequest(self.url, "GET", target, headers, b"", f"{self.folder}/ca.crt")
        try:
            answer = exchange(request, _LOOK_UP)
            if answer.status == 404:
                return {}
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
            found = json.loads(answer.body)["metadata"].get("annotations") or {}
        except (NoAnswer, ValueError, LookupError, TypeError, AttributeError) as error:
            raise OSError(str(error)) from None
        if not isinstance(found, dict):
            raise OSError("it is not a service account")
        return found


class ReloadedCertificate:
    """A TLS context whose certificate is that of the files as they are now. `client_ca`: who signed the client's."""

    def __init__(self, certificate: str, key: str, client_ca: str = "") -> None:
        self._files = (certificate, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        if client_ca:
            self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self._seen = self._state()

    def _state(self) -> list[tuple[int, int]]:
        return [(status.st_mtime_ns, status.st_ino) for status in map(os.stat, self._files)]

    def current(self) -> ssl.SSLContext:
        """The context. While the files are being replaced, and do not fit together, it has the certificate of before."""
        try:
            state = self._state()
            if state != self._seen:
                trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                trial.load_cert_chain(*self._files)
                self.context.load_cert_chain(*self._files)
                self._seen = state
        except (OSError, ssl.SSLError):
            pass
        return self.context


class Webhook(ThreadingHTTPServer):
    """Serves `listen` (host and port)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        listen: tuple[str, int],
        cluster: PodSettings,
        accounts: Callable[[str, str], Annotations],
        tls: ReloadedCertificate,
    ) -> None:
        self.tls = tls
        self.review = partial(reviewed, cluster, accounts)
        super().__init__(listen, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The handshake is done by the thread of the connection, not by the one that accepts."""
        connection, address = super().get_request()
        connection.settimeout(_SECONDS)
        return self.tls.current().wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off, or has no certificate, is nobody's concern."""


class _Handler(Handler):
    protocol_version = "HTTP/1.1"
    server: Webhook
    timeout = _SECONDS

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(200, {"status": "ok"})
        else:
            self._answer(404, {"message": "There is no such path."})

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if self.path.partition("?")[0] not in (REQUIRED, OPTIONAL):
            self._answer(404, {"message": "There is no such path."})
        elif not (length.isascii() and length.isdigit() and len(length) <= 10 and int(length) <= _MAX_BODY):
            self._answer(413, {"message": f"A body has a Content-Length of at most {_MAX_BODY} bytes."})
        else:
            try:
                review = json.loads(self.rfile.read(int(length)))
                answer = self.server.review(review, required=self.path.startswith(REQUIRED))
            except (ValueError, RecursionError) as error:
                self._answer(400, {"message": str(error)[:512]})
            else:
                self._answer(200, answer)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        self.close_connection |= status == 413
        self.answer(status, json.dumps(content).encode(), "application/json")

    def setup(self) -> None:
        cast("ssl.SSLSocket", self.request).do_handshake()
        super().setup()
