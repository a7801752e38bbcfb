"""Synthetic checks of a server, from outside: what must work works, and what must be refused is refused.

Each check is one short conversation. None changes anything but the record and a session of its own, and none prints or
returns a secret.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

from daypass.client.errors import ClientError
from daypass.client.http import Connection, post_form, result_of, signed_request
from daypass.client.profiles import Profile
from daypass.client.serving import Handler
from daypass.client.transport import ClientRequest, NoAnswer, Transport, base64url, endpoint_of, exchange

SECONDS = 10.0
"""The longest that one check may take; a slower server fails it."""
_REVOKED_SECONDS = 5.0  # a revocation is everywhere by then
_LIFETIME = 900
_SESSION_NAME = "daypass-probe"
_UNKNOWN = ("AKIAPROBEUNKNOWNKEY0", "a-secret-that-belongs-to-no-key-of-the-server")
_STS = "Action=GetCallerIdentity&Version=2011-06-15"
_REFUSED = 403


CAUSES = {
    "unknown key is refused": "credentials",
    "wrong secret is refused": "credentials",
    "changed token is refused": "credentials",
    "revoked session is refused": "revoked",
    "expired session is refused": "expired",
    "other role is refused": "trust_policy",
    "wrong external id is refused": "trust_policy",
    "expired token is refused": "expired",
    "foreign key is refused": "proof",
}
"""The cause class by which the server counts the refusal that a check expects, so that rules can subtract it."""


class Accepted(Exception):
    """Something that must be refused was served."""


@dataclass(frozen=True, slots=True)
class CheckRun:
    """One run of a check. `why`: what was wrong; "" when it passed. `forbidden`: it must be refused. `accepted`: it was
    served all the same.
    """

    name: str
    seconds: float
    why: str
    forbidden: bool = False
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class OwnIssuer:
    """An identity provider of the probe: its URL, its client id, and its private key (EC P-256, PEM). Needs `cryptography`."""

    url: str
    client_id: str
    key: bytes

    def token(self, now: int, ends_in: int, *, foreign: bool = False) -> str:
        """A signed token for this issuer (RFC 7519). `foreign`: signed with another key, under the same key id."""
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = ec.generate_private_key(ec.SECP256R1()) if foreign else load_pem_private_key(self.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ClientError("", "the key of the issuer is not an EC key")
        claims = {"iss": self.url, "aud": self.client_id, "sub": _SESSION_NAME, "iat": now - 5, "exp": now + ends_in}
        claims["jti"] = f"{_SESSION_NAME}-{time.time_ns()}"
        signed = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "ES256", "kid": "probe"}, claims))
        r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@dataclass(slots=True)
class Probe:
    """The checks to make. A probe that runs again also checks that an old session has expired."""

    profile: Profile  # endpoint, region and credentials; without an access key id, only what needs none is checked
    role: str = ""  # the ARN of a role that these credentials can assume; "" for none
    denied_role: str = ""  # the ARN of a role that they must not be able to assume; "" for none
    transport: Transport = exchange
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    revoke: bool = False  # they may also revoke sessions (daypass:RevokeSession)
    external_role: str = ""  # the ARN of a role that needs `external_id`
    external_id: str = ""
    issuer: OwnIssuer | None = None  # whose tokens can assume `issuer_role`
    issuer_role: str = ""
    _old: tuple[Profile, float] | None = field(default=None, init=False, repr=False)  # a session, and when it ends

    def run(self) -> Iterator[CheckRun]:
        """Runs all checks, one after another."""
        for name, check, forbidden in self._checks():
            began, accepted = self.monotonic(), False
            try:
                why = check()
            except Accepted:
                why, accepted = "it was served, but must be refused", True
            except (ClientError, NoAnswer) as error:
                why = str(error)[:500]
            yield CheckRun(name, self.monotonic() - began, why, forbidden, accepted)

    def _checks(self) -> Iterator[tuple[str, Callable[[], str], bool]]:
        """The name of each check, what it does, and whether it must be refused."""
        yield "ready", self._ready, False
        yield "unknown key is refused", partial(self._signed_wrong, *_UNKNOWN), True
        if self.profile.access_key_id:
            wrong = self.profile.secret_access_key[::-1] + "x"
            yield "credentials work", self._identity, False
            yield "wrong secret is refused", partial(self._signed_wrong, self.profile.access_key_id, wrong), True
        if self.role:
            yield "role gives a session", self._session, False
            yield "session is renewed", self._renewed, False
            yield "changed token is refused", self._changed, True
            if self.revoke:
                yield "revoked session is refused", self._revoked, True
            if self._old is not None and self._old[1] + 1 < self.clock():
                yield "expired session is refused", self._expired, True
        if self.denied_role:
            yield "other role is refused", partial(self._denied, RoleArn=self.denied_role), True
        if self.external_role:
            given = {"RoleArn": self.external_role}
            right = partial(self._assumed, **given, ExternalId=self.external_id)
            yield "external id gives a session", partial(self._works, right), False
            other = partial(self._denied, **given, ExternalId=self.external_id + "x")
            yield "wrong external id is refused", other, True
        if self.issuer is not None:
            yield "web identity gives a session", partial(self._works, self._web_identity), False
            yield "expired token is refused", partial(self._token_refused, ends_in=-3_600), True
            yield "foreign key is refused", partial(self._token_refused, foreign=True), True

    def _connection(self, profile: Profile) -> Connection:
        return Connection(
            profile, deadline=SECONDS, clock=self.clock, monotonic=self.monotonic, transport=self.transport
        )

    # --- what must work

    def _ready(self) -> str:
        profile = self.profile
        host = endpoint_of(profile.endpoint).netloc
        request = ClientRequest(profile.endpoint, "GET", "/readyz", {"host": host}, b"", profile.ca_bundle)
        status = self.transport(request, SECONDS).status
        return "" if status == 200 else f"/readyz answered with HTTP status {status}"

    def _identity(self) -> str:
        self._connection(self.profile).sts("GetCallerIdentity")
        return ""

    def _session(self) -> str:
        return self._works(partial(self._assumed, RoleArn=self.role))

    def _renewed(self) -> str:
        """A second session has other credentials, and both work."""
        first, second = (self._assumed(RoleArn=self.role) for _ in range(2))
        if first.access_key_id == second.access_key_id:
            return "two sessions have the same access key id"
        return self._works(lambda: first) or self._works(lambda: second)

    def _works(self, session: Callable[[], Profile]) -> str:
        arn = self._connection(session()).sts("GetCallerIdentity").findtext("Arn", "")
        return "" if arn.endswith(f"/{_SESSION_NAME}") else "the session is not one of the role"

    def _assumed(self, **parameters: Any) -> Profile:
        """A session. The first one is kept until it has expired."""
        given = {"RoleSessionName": _SESSION_NAME, "DurationSeconds": str(_LIFETIME), **parameters}
        session = self._profile_of(self._connection(self.profile).sts("AssumeRole", **given))
        if self._old is None:
            self._old = session, self.clock() + _LIFETIME
        return session

    def _profile_of(self, answer: Any) -> Profile:
        key_id, secret, token = (
            answer.findtext(f"Credentials/{name}", "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
        return replace(self.profile, access_key_id=key_id, secret_access_key=secret, session_token=token)

    def _web_identity(self, ends_in: int = 300, *, foreign: bool = False) -> Profile:
        assert self.issuer is not None
        token = self.issuer.token(int(self.clock()), ends_in, foreign=foreign)
        fields = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self.issuer_role,
            "RoleSessionName": _SESSION_NAME,
            "WebIdentityToken": token,
        }
        profile = self.profile
        answer = post_form(
            profile.endpoint, "/", fields, ca_bundle=profile.ca_bundle, seconds=SECONDS, transport=self.transport
        )
        return self._profile_of(result_of(answer, "AssumeRoleWithWebIdentity"))

    # --- what must be refused

    def _signed_wrong(self, key_id: str, secret: str) -> str:
        """A request signed with these must be refused. It is sent once."""
        wrong = replace(self.profile, access_key_id=key_id, secret_access_key=secret, session_token="")
        content = "application/x-www-form-urlencoded"
        body = _STS.encode()
        request = signed_request(wrong, "POST", "/", "", body, content_type=content, service="sts", now=self.clock())
        status = self.transport(request, SECONDS).status
        if 200 <= status < 300:
            raise Accepted
        return "" if status == _REFUSED else f"it was answered with HTTP status {status}, not {_REFUSED}"

    def _changed(self) -> str:
        """A token of which one character was changed."""
        session = self._assumed(RoleArn=self.role)
        token = session.session_token
        middle = len(token) // 2
        other = "A" if token[middle] != "A" else "B"
        return self._unusable(replace(session, session_token=f"{token[:middle]}{other}{token[middle + 1 :]}"))

    def _revoked(self) -> str:
        session = self._assumed(RoleArn=self.role)
        body = {"subject": "access_key", "value": session.access_key_id, "reason": _SESSION_NAME, "force": True}
        self._connection(self.profile).api("POST", "/revocations", body=body)
        ends = self.monotonic() + _REVOKED_SECONDS
        while True:
            try:
                return self._unusable(session)
            except Accepted:
                if self.monotonic() > ends:
                    raise
                self.sleep(0.2)

    def _expired(self) -> str:
        assert self._old is not None
        session, self._old = self._old[0], None
        return self._unusable(session)

    def _unusable(self, session: Profile) -> str:
        return _refused(lambda: self._connection(session).sts("GetCallerIdentity"))

    def _denied(self, **parameters: Any) -> str:
        given = {"RoleSessionName": _SESSION_NAME, **parameters}
        return _refused(lambda: self._connection(self.profile).sts("AssumeRole", **given), "AccessDenied")

    def _token_refused(self, ends_in: int = 300, *, foreign: bool = False) -> str:
        wanted = "InvalidIdentityToken" if foreign else "ExpiredTokenException"
        return _refused(lambda: self._web_identity(ends_in, foreign=foreign), wanted)


def _refused(call: Callable[[], object], code: str = "") -> str:
    """Why a call was not refused as it must be, with this code or, without one, with HTTP status 403. Raises Accepted."""
    try:
        call()
    except ClientError as error:
        right = error.code == code if code else error.status == _REFUSED
        return "" if right else f"it was refused with {error.code or error.status or error}"
    raise Accepted


# --- Probe metrics


_TYPES = """\
# HELP daypass_checks_total Synthetic checks from outside (M5).
# TYPE daypass_checks_total counter
"""
_SECONDS = """\
# HELP daypass_check_seconds How long a check took when it last ran.
# TYPE daypass_check_seconds gauge
"""


class ProbeMetrics:
    """The results of one probe's checks so far.

    Args:
        region: a label of every series; "": none, as where Prometheus's configuration has it.
    """

    def __init__(self, region: str = "") -> None:
        self._region = f'region="{_escaped(region)}",' if region else ""
        self._counts = Counter[str]()
        self._seconds: dict[str, float] = {}

    def note(self, runs: Iterable[CheckRun]) -> None:
        """The runs of one round."""
        for run in runs:
            outcome = "accepted" if run.accepted else "failed" if run.why else "passed"
            expects = "refusal" if run.forbidden else "success"
            labels = (
                f'{self._region}check="{_escaped(run.name)}",cause="{CAUSES.get(run.name, "none")}",expects="{expects}"'
            )
            for each in ("passed", "failed", *(("accepted",) if run.forbidden else ())):
                self._counts[f'{{{labels},outcome="{each}"}}'] += each == outcome  # a series begins at zero
            self._seconds[f"{{{labels}}}"] = run.seconds

    def text(self) -> str:
        """The metrics."""
        counts = "".join(f"daypass_checks_total{labels} {count}\n" for labels, count in sorted(self._counts.items()))
        times = "".join(f"daypass_check_seconds{labels} {time:.6f}\n" for labels, time in sorted(self._seconds.items()))
        return _TYPES + counts + _SECONDS + times


def metrics_server(metrics: ProbeMetrics, host: str, port: int) -> ThreadingHTTPServer:
    """A server of `GET /metrics`. Call `serve_forever` on a thread."""

    class Scraped(Handler):
        def do_GET(self) -> None:
            found = self.path == "/metrics"
            body = metrics.text().encode() if found else b""
            self.answer(200 if found else 404, body, "text/plain; version=0.0.4; charset=utf-8")

    return ThreadingHTTPServer((host, port), Scraped)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
