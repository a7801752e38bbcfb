"""Peers of key sources: Vault's transit engine on a loopback port, OpenBao where it is installed, and SoftHSM's tokens."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.processes import free_port

TOKEN = "the-token-of-the-server"
SOFTHSM = next(
    (p for p in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")) if p.is_file()), None
)
_MAKE_KEY = """
import sys, pkcs11
from pkcs11 import Attribute, KeyType
library, token, label, pin, extractable = sys.argv[1:]
with pkcs11.lib(library).get_token(token_label=token).open(user_pin=pin, rw=True) as session:
    template = {Attribute.EXTRACTABLE: extractable == "yes", Attribute.SENSITIVE: extractable != "yes"}
    session.generate_key(KeyType.AES, 256, label=label, store=True, template=template)
"""


@dataclass
class Transit:
    """A Vault with a transit engine. Its answers are those of Vault 1.x, as its API documentation gives them."""

    port: int = 0
    sealed: bool = False
    keys: dict[str, AESGCM] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    namespaces: set[str] = field(default_factory=set)

    def uri(self, token_file: Path, key: str = "daypass", more: str = "") -> str:
        return f"hcvault://127.0.0.1:{self.port}/transit/keys/{key}?token-file={token_file}&tls=off{more}"

    def answer(self, path: str, token: str, body: dict[str, str]) -> tuple[int, dict[str, object]]:
        self.calls.append(path)
        parts = path.removeprefix("/v1/").split("/")
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if parts[0] != "transit" or len(parts) != 3:
            return 404, {"errors": ["no handler for route"]}
        _, action, name = parts
        cipher = self.keys.get(name)
        if action == "encrypt":
            cipher = cipher or self.keys.setdefault(name, AESGCM(secrets.token_bytes(32)))  # Vault makes it too
            nonce = secrets.token_bytes(12)
            sealed = nonce + cipher.encrypt(nonce, base64.b64decode(body["plaintext"]), None)
            return 200, {"data": {"ciphertext": "vault:v1:" + base64.b64encode(sealed).decode(), "key_version": 1}}
        if cipher is None:
            return 400, {"errors": ["encryption key not found"]}
        try:
            raw = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"))
            plain = cipher.decrypt(raw[:12], raw[12:], None)
        except (InvalidTag, ValueError):
            return 400, {"errors": ["invalid ciphertext: unable to decrypt"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}


@contextmanager
def transit() -> Iterator[Transit]:
    """Serves a Transit on a free loopback port."""
    vault = Transit()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            vault.namespaces.add(self.headers.get("x-vault-namespace", ""))
            status, answer = vault.answer(self.path, self.headers.get("x-vault-token", ""), body)
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vault.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield vault
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def open_bao() -> Iterator[int]:
    """The port of a real OpenBao in development mode with a transit engine and the key `daypass`. Skips without it."""
    program = shutil.which("bao")
    if program is None:
        pytest.skip("OpenBao (bao) is not installed")
    port = free_port()
    command = [program, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={TOKEN}"]
    process = subprocess.Popen(
        [*command, f"-dev-listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _until_up(f"http://127.0.0.1:{port}/v1/sys/health", process)
        for path, body in (("sys/mounts/transit", {"type": "transit"}), ("transit/keys/daypass", {})):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/{path}", json.dumps(body).encode(), {"X-Vault-Token": TOKEN}
            )
            urllib.request.urlopen(request, timeout=30).close()
        yield port
    finally:
        process.terminate()
        process.wait(120)


def _until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):  # only a failure waits so long
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("OpenBao did not start")


@dataclass(frozen=True)
class SoftToken:
    """A token of SoftHSM, of this test alone."""

    library: Path
    pin_file: Path
    environment: dict[str, str]

    def uri(self, key: str = "kek", token: str = "daypass", pin_file: Path | None = None) -> str:
        pin = pin_file or self.pin_file
        return f"pkcs11:token={token};object={key}?module-path={self.library}&pin-source=file:{pin}"

    def make_key(self, label: str, *, extractable: bool = False) -> None:
        """Makes an AES key in the token, in a separate process, as the server's calls are."""
        arguments = (str(self.library), "daypass", label, self.pin_file.read_text(), "yes" if extractable else "no")
        environment = {"PATH": "/usr/bin:/bin", **self.environment}
        subprocess.run([sys.executable, "-c", _MAKE_KEY, *arguments], env=environment, check=True, timeout=120)


def soft_token(directory: Path) -> SoftToken:
    """A new token in `directory`, with the key `kek`. Skips where SoftHSM or python-pkcs11 is missing."""
    pytest.importorskip("pkcs11")
    program = shutil.which("softhsm2-util")
    if SOFTHSM is None or program is None:
        pytest.skip("SoftHSM (softhsm2) is not installed")
    tokens = directory / "tokens"
    tokens.mkdir()
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    pin = directory / "pin"
    pin.write_text("87654321")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    command = [
        program,
        "--init-token",
        "--free",
        "--label",
        "daypass",
        "--so-pin",
        "12345678",
        "--pin",
        pin.read_text(),
    ]
    subprocess.run(command, env={"PATH": "/usr/bin:/bin", **environment}, check=True, capture_output=True, timeout=120)
    token = SoftToken(SOFTHSM, pin, environment)
    token.make_key("kek")
    return token
