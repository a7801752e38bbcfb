"""A login with a browser of this computer: the browser returns to a port on the loopback address (RFC 8252, RFC 7636).

It receives a code, never credentials; the code is redeemed only with the verifier, which stays in this process. The listener
accepts only loopback connections and serves only its own login.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import HTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from daypass import __version__
from daypass.client.credentials import Credentials, read_credentials, seconds_of_time
from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError
from daypass.client.serving import TEXT, Handler
from daypass.client.transport import ClientRequest, LoginServer, NoAnswer, base64url, endpoint_of
from daypass.sigv4.canonical import SigningKey, presign

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

    server: LoginServer
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


def check_issuer(server: LoginServer, issuer: str) -> None:
    """Refuses a server other than the one that signs the person in: it would get the code of that one (RFC 8414, 3.3).

    A server of this computer may have the name `localhost`, which passkeys need. Raises LocalStateError.
    """
    at = server.endpoint.rstrip("/")
    if issuer not in (at, at.replace("http://127.0.0.1:", "http://localhost:", 1)):
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


# --- Browser login


CLIENT_ID = "DPCL0000000000DAYPASS"
"""The client of the command line, which every installation has."""

_AWS = "urn:daypass:token-type:aws-credentials"
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_TOKEN = "/oauth2/token"
_KEY_SECONDS = 3600  # of a token for a long-term key: a token is printed and copied
_METADATA = "/.well-known/oauth-authorization-server"
_CALLBACK = "/callback"
_PROOF_SECONDS = 60
_SECONDS = 20.0
_LONGEST = 86_400.0  # seconds that a login by device, or a pause in it, may take


class Session(NamedTuple):
    """A session of the person, and the token that renews it."""

    credentials: Credentials
    refresh_token: str

    def __repr__(self) -> str:
        return f"Session({self.credentials!r})"


def renew(server: LoginServer, refresh_token: str) -> Session:
    """A new session for a refresh token, which is replaced by the returned one. Raises ClientError."""
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, "requested_token_type": _AWS}
    return _session(_post(server, "/oauth2/token", fields))


def revoke(server: LoginServer, refresh_token: str) -> None:
    """Ends everything that a refresh token has given. Raises ClientError."""
    _post(server, "/oauth2/revoke", {"token": refresh_token})


def access_token(
    connection: Connection, wanted: Mapping[str, str], prove: Callable[[str, str], str] | None = None
) -> Mapping[str, Any]:
    """The answer with an access token of a profile's identity. It is proved by a presigned GetCallerIdentity, which only the
    issuer accepts. `wanted`: audience, scope, role. `prove`: makes a DPoP proof for an address with a nonce, to whose key the
    token is then bound. Raises ClientError.
    """
    profile = connection.profile
    server = LoginServer(profile.endpoint, profile.ca_bundle, connection.transport)
    key_id, secret, session = profile.access_key_id, profile.secret_access_key, profile.session_token
    if not session and not wanted.get("role"):  # a token is of a session, and a long-term key has none
        answer = connection.sts("GetSessionToken", DurationSeconds=_KEY_SECONDS)
        made = read_credentials(answer, connection.clock(), connection.offset)
        key_id, secret, session = made.access_key_id, made.secret_access_key, made.session_token
    issuer = _text(_sent(server, "GET", _METADATA, {}, b""), "issuer")
    check_issuer(server, issuer)
    key = SigningKey(key_id, secret, profile.region, "sts", session)
    query = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15"), ("X-Daypass-Audience", issuer)]
    now = int((connection.clock() + connection.offset) * 1000)
    signed = presign(key, "GET", urlsplit(issuer).netloc, "/", query, _PROOF_SECONDS, now)
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": f"{issuer}/?{signed}",
        "subject_token_type": "urn:daypass:token-type:presigned-get-caller-identity",
        **wanted,
    }
    body = urlencode(fields).encode("ascii")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if prove is None:
        return _sent(server, "POST", _TOKEN, headers, body)
    try:
        return _sent(server, "POST", _TOKEN, {**headers, "dpop": prove(issuer + _TOKEN, "")}, body)
    except ClientError as error:
        if not error.nonce:
            raise
        return _sent(server, "POST", _TOKEN, {**headers, "dpop": prove(issuer + _TOKEN, error.nonce)}, body)


# --- On this computer


@dataclass(slots=True)
class AuthorizationLogin(LoopbackLogin):
    """One login: open `url` in a browser of this computer, then `wait`. Raises ClientError, LocalStateError."""

    state: str = field(default_factory=lambda: secrets.token_urlsafe(24), init=False, repr=False)
    url: str = field(init=False)
    _issuer: str = field(init=False)

    def __post_init__(self) -> None:
        metadata = _sent(self.server, "GET", _METADATA, {}, b"")
        self._issuer, authorize = _text(metadata, "issuer"), _text(metadata, "authorization_endpoint")
        check_issuer(self.server, self._issuer)
        if not authorize.startswith(f"{self._issuer}/"):  # a browser would open it, even as an option of its own
            raise _not_daypass()
        LoopbackLogin.__post_init__(self)  # a class with slots has no `super()` without arguments
        parameters = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": self.redirect_uri,
            "scope": "openid",
            "state": self.state,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
        }
        self.url = f"{authorize}?{urlencode(parameters)}"

    @property
    def redirect_uri(self) -> str:
        return f"http://127.0.0.1:{self.port}{_CALLBACK}"

    def wait(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> Session:
        """The person's session. Raises ClientError, LocalStateError when the login was not completed in time."""
        answer = self._wait_for_answer(seconds, monotonic)
        if "code" not in answer:
            raise ClientError(answer.get("error", ""), answer.get("error_description", "the login was refused"), 400)
        fields = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return renew(self.server, _text(_post(self.server, "/oauth2/token", fields), "refresh_token"))

    def _is_end(self, path: str, answer: Mapping[str, str]) -> bool:
        """Also: from this server (RFC 9207)."""
        right = secrets.compare_digest(answer.get("state", "").encode(), self.state.encode())
        return right and path == _CALLBACK and answer.get("iss") == self._issuer


# --- On another device


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """One login: the person opens `address` on any device and compares `user_code`; then `wait`."""

    server: LoginServer
    user_code: str
    address: str
    device_code: str = field(repr=False)
    interval: float
    seconds: float

    @classmethod
    def begin(cls, server: LoginServer) -> DeviceLogin:
        """Raises ClientError."""
        answer = _post(server, "/oauth2/device_authorization", {"scope": "openid"})
        try:
            interval, seconds = float(answer["interval"]), float(answer["expires_in"])
        except (KeyError, TypeError, ValueError):
            raise _not_daypass() from None
        if not (0 < interval <= _LONGEST and 0 < seconds <= _LONGEST):  # JSON's NaN and Infinity included
            raise _not_daypass()
        address = _text(answer, "verification_uri_complete")
        return cls(server, _text(answer, "user_code"), address, _text(answer, "device_code"), interval, seconds)

    def wait(
        self, sleep: Callable[[float], None] = time.sleep, monotonic: Callable[[], float] = time.monotonic
    ) -> Session:
        """The person's session. Raises ClientError, also when the person refuses; LocalStateError when nobody answers."""
        ends, interval = monotonic() + self.seconds, self.interval
        fields = {"grant_type": _DEVICE, "device_code": self.device_code}
        while monotonic() < ends:
            sleep(interval)
            try:
                answer = _post(self.server, "/oauth2/token", fields)
            except ClientError as error:
                if error.code == "slow_down":
                    interval += 5
                elif error.code != "authorization_pending" and not error.unavailable:
                    raise
                continue
            return renew(self.server, _text(answer, "refresh_token"))
        raise LocalStateError("The login was not completed in time. Try again.")


# --- Calls


def _post(server: LoginServer, path: str, fields: Mapping[str, str]) -> Mapping[str, Any]:
    body = urlencode({"client_id": CLIENT_ID, **fields}).encode("ascii")
    return _sent(server, "POST", path, {"content-type": "application/x-www-form-urlencoded"}, body)


def _sent(server: LoginServer, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    sent = {"host": endpoint_of(server.endpoint).netloc, **headers, "user-agent": f"daypass/{__version__}"}
    try:
        answer = server.transport(ClientRequest(server.endpoint, method, path, sent, body, server.ca_bundle), _SECONDS)
    except NoAnswer as error:
        raise ClientError("", f"the server at {server.endpoint} does not answer: {error}") from None
    try:
        content = json.loads(answer.body or b"{}")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ClientError("", f"{server.endpoint} is not a Daypass server with OAuth", answer.status)
    if answer.status >= 300:
        code, text = str(content.get("error", "")), str(content.get("error_description", ""))
        encoded = str(content.get("encoded_authorization_message", ""))
        if encoded and code == "invalid_request":  # RFC 8693, 2.2.2 has no code of its own for a denial
            code = "AccessDenied"
        refusal = ClientError(code, text or code, answer.status, str(content.get("request_id", "")), encoded)
        refusal.nonce = answer.headers.get("dpop-nonce", "") if code == "use_dpop_nonce" else ""
        raise refusal
    return content


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise _not_daypass()
    return value


def _session(found: Mapping[str, Any]) -> Session:
    texts = [_text(found, name) for name in ("access_key_id", "secret_access_key", "access_token", "expiration")]
    credentials = Credentials(texts[0], texts[1], texts[2], seconds_of_time(texts[3]), time.time())
    return Session(credentials, _text(found, "refresh_token"))


def _not_daypass() -> ClientError:
    return ClientError("", "the server's answer lacks a member; is it a Daypass of another version?")
