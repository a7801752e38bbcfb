"""A token issuer on this machine that signs as the real ones do: RS256, discovery and keys over https, rotation.

It stands in for an issuer on the internet: tokens name the real issuer, and Daypass is told to fetch its keys here.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from authority import Authority
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Answer = tuple[int, Any]
Handler = Callable[[str, Mapping[str, str], bytes], Answer]
"""Answers (path, headers, body) with a status and JSON."""


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Signs tokens of `name` (a URL) with its current key; keys that were current stay published."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._keys: list[tuple[str, rsa.RSAPrivateKey]] = []
        self.rotate()

    def rotate(self) -> str:
        kid = uuid.uuid4().hex[:16].upper()
        self._keys.append((kid, rsa.generate_private_key(65_537, 2048)))
        return kid

    def jwks(self) -> dict[str, Any]:
        shown = []
        for kid, key in self._keys:
            public = key.public_key().public_numbers()
            n, e = (_b64(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (public.n, public.e))
            shown.append({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": n, "e": e})
        return {"keys": shown}

    def token(self, **claims: Any) -> str:
        """A token of five minutes; a claim that is None is left out."""
        kid, key = self._keys[-1]
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 300, "jti": str(uuid.uuid4())}
        whole = {name: value for name, value in {"iss": self.name, **times, **claims}.items() if value is not None}
        parts = ({"typ": "JWT", "alg": "RS256", "kid": kid}, whole)
        signed = ".".join(_b64(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{_b64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@contextmanager
def https(handler: Handler) -> Iterator[tuple[str, str]]:
    """Serves JSON over https on loopback with a throwaway certificate: its URL, and its authority as PEM."""
    with tempfile.TemporaryDirectory() as scratch:
        authority = Authority("throwaway authority")
        held = authority.issue(Path(scratch), {"CN": "127.0.0.1"}, "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(held.certificate, held.key)
        listener = ThreadingHTTPServer(("127.0.0.1", 0), _requests(handler))
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        try:
            yield f"https://127.0.0.1:{listener.server_port}", authority.pem
        finally:
            listener.shutdown()
            listener.server_close()


def _requests(handler: Handler) -> type[BaseHTTPRequestHandler]:
    class Requests(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, content = handler(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # the names that the library looks for

        def log_message(self, *_: Any) -> None:
            pass

    return Requests
