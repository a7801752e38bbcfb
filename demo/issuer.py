"""A token issuer on this machine that signs as the real ones do: RS256, discovery and keys over https, rotation.

It stands in for an issuer on the internet: tokens name the real issuer, and Daypass is told to fetch its keys here.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

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
        file = Path(scratch) / "server.pem"
        authority = _certificate(file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        listener = ThreadingHTTPServer(("127.0.0.1", 0), _requests(handler))
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        try:
            yield f"https://127.0.0.1:{listener.server_port}", authority
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

        do_GET = do_POST = _answer  # noqa: N815  # the names that the library looks for

        def log_message(self, *_: Any) -> None:
            pass

    return Requests


def _certificate(file: Path) -> str:
    """Writes a server's key and certificate; the PEM of the authority that signed it."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "throwaway authority")])
    uses = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    ca = (
        _builder(name, name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **uses), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        _builder(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")]), name, key)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem))
    return ca.public_bytes(pem).decode()


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
