"""A login with a browser of this computer: the browser returns to a port on the loopback address (RFC 8252, RFC 7636).

It receives a code, never credentials; the code is redeemed only with the verifier, which stays in this process. The listener
accepts only loopback connections and serves only its own login.
"""

from __future__ import annotations

import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import HTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from daypass.client.profiles import LocalStateError
from daypass.client.serving import TEXT, Handler
from daypass.client.transport import Server, base64url

_MAX_TARGET = 65_536
_STYLE = "font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:40rem;padding:0 1rem"
_DONE = (
    "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    f"<meta name='color-scheme' content='light dark'><title>Daypass</title><body style='{_STYLE}'>"
    "<h1>Done</h1><p>The command line goes on. You can close this window.</p>"
)


@dataclass(slots=True)
class LoopbackLogin(ABC):
    """One login. Use it as a context manager; it holds a port until its end."""

    server: Server
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32), init=False, repr=False)
    _listener: HTTPServer = field(init=False, repr=False)
    _answers: list[dict[str, str]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._listener = HTTPServer(("127.0.0.1", 0), _handler_of(self._accepts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.server_close()

    @property
    def port(self) -> int:
        return int(self._listener.server_address[1])

    @property
    def challenge(self) -> str:
        return base64url(hashlib.sha256(self.verifier.encode("ascii")).digest())

    @abstractmethod
    def _is_end(self, path: str, answer: Mapping[str, str]) -> bool:
        """Whether a request with this path and query is the end of this login."""

    def _wait_for_answer(self, seconds: float, monotonic: Callable[[], float]) -> dict[str, str]:
        """The query of the request that ends the login. Raises LocalStateError when it does not come in time."""
        ends = monotonic() + seconds
        while not self._answers:
            left = ends - monotonic()
            if left <= 0:
                raise LocalStateError("The login was not completed in time. Try again.")
            self._listener.timeout = left
            self._listener.handle_request()
        return self._answers[0]

    def _accepts(self, host: str, target: str) -> bool:
        """Whether a request of a browser is the end of this login; its query is then kept."""
        try:
            parts = urlsplit(target[:_MAX_TARGET])
            given = parse_qs(parts.query, max_num_fields=5)
        except ValueError:
            return False
        answer = {name: values[0] for name, values in given.items() if len(values) == 1}
        if host != f"127.0.0.1:{self.port}" or len(answer) != len(given) or not self._is_end(parts.path, answer):
            return False
        self._answers.append(answer)
        return True


def check_issuer(server: Server, issuer: str) -> None:
    """Refuses a server other than the one that signs the person in: it would get the code of that one (RFC 8414, 3.3).

    Raises LocalStateError.
    """
    if issuer != server.endpoint.rstrip("/"):
        raise LocalStateError(
            f"{server.endpoint} gives its address as {issuer!r}, and a login there must not be sent to another address. "
            "If you trust that address, log in at it: --endpoint"
        )


def _handler_of(accepts: Callable[[str, str], bool]) -> type[Handler]:
    """The handler of the listener. `accepts`: takes host and target; whether they are the end of its login."""

    class Login(Handler):
        timeout = 10  # seconds for one request, so that a silent connection cannot block the login

        def do_GET(self) -> None:  # the library calls it so
            done = accepts(self.headers.get("host", ""), self.path)
            body = _DONE.encode() if done else b"This is not the end of the login that was begun here.\n"
            kind = "text/html; charset=utf-8" if done else TEXT
            self.answer(200 if done else 400, body, kind, cache_control="no-store", connection="close")

    return Login
