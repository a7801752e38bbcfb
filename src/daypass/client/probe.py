"""Synthetic checks of a server, from outside: what must work works, and what must be refused is refused.

Each check is one short conversation. None changes anything but the record, and none prints or returns a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from daypass.client.errors import ClientError
from daypass.client.http import Connection, signed_request
from daypass.client.profiles import Profile
from daypass.client.transport import NoAnswer, Request, Transport, endpoint_of, exchange

SECONDS = 10.0
"""The longest that one check may take; a slower server fails it."""
_SESSION_NAME = "daypass-probe"
_UNKNOWN = ("AKIAPROBEUNKNOWNKEY0", "a-secret-that-belongs-to-no-key-of-the-server")
_STS = "Action=GetCallerIdentity&Version=2011-06-15"
_REFUSED = 403


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
class Probe:
    """What to check.

    Attributes:
        profile: endpoint, region and credentials; without an access key id, only what needs none is checked.
        role: the ARN of a role that these credentials can assume; "" for none.
        denied_role: the ARN of a role that they must not be able to assume; "" for none.
    """

    profile: Profile
    role: str = ""
    denied_role: str = ""
    transport: Transport = exchange
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def run(self) -> Iterator[CheckRun]:
        """Runs all checks, one after another."""
        checks: list[tuple[str, Callable[[], str]]] = [("ready", self._ready)]
        checks.append(("unknown key is refused", partial(self._refused, *_UNKNOWN)))
        if self.profile.access_key_id:
            wrong = self.profile.secret_access_key[::-1] + "x"
            checks.append(("credentials work", self._identity))
            checks.append(("wrong secret is refused", partial(self._refused, self.profile.access_key_id, wrong)))
        if self.role:
            checks.append(("role gives a session", self._session))
        if self.denied_role:
            checks.append(("other role is refused", self._denied))
        for name, check in checks:
            began = self.monotonic()
            try:
                why = check()
            except (ClientError, NoAnswer) as error:
                why = str(error)[:500]
            yield CheckRun(name, self.monotonic() - began, why)

    def _connection(self, profile: Profile) -> Connection:
        return Connection(
            profile, deadline=SECONDS, clock=self.clock, monotonic=self.monotonic, transport=self.transport
        )

    def _ready(self) -> str:
        profile = self.profile
        host = endpoint_of(profile.endpoint).netloc
        request = Request(profile.endpoint, "GET", "/readyz", {"host": host}, b"", profile.ca_bundle)
        status = self.transport(request, SECONDS).status
        return "" if status == 200 else f"/readyz answered with HTTP status {status}"

    def _identity(self) -> str:
        self._connection(self.profile).sts("GetCallerIdentity")
        return ""

    def _refused(self, key_id: str, secret: str) -> str:
        """A request signed with these must be refused. It is sent once."""
        wrong = replace(self.profile, access_key_id=key_id, secret_access_key=secret, session_token="")
        content = "application/x-www-form-urlencoded"
        body = _STS.encode()
        request = signed_request(wrong, "POST", "/", "", body, content_type=content, service="sts", now=self.clock())
        status = self.transport(request, SECONDS).status
        return "" if status == _REFUSED else f"it was answered with HTTP status {status}, not {_REFUSED}"

    def _session(self) -> str:
        """A session of the role works, and its token does not work when a character of it is changed."""
        answer = self._connection(self.profile).sts("AssumeRole", RoleArn=self.role, RoleSessionName=_SESSION_NAME)
        key_id, secret, token = (
            answer.findtext(f"Credentials/{name}", "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
        session = replace(self.profile, access_key_id=key_id, secret_access_key=secret, session_token=token)
        arn = self._connection(session).sts("GetCallerIdentity").findtext("Arn", "")
        if not arn.endswith(f"/{_SESSION_NAME}"):
            return "the session is not one of the role"
        middle = len(token) // 2
        other = "A" if token[middle] != "A" else "B"
        forged = replace(session, session_token=f"{token[:middle]}{other}{token[middle + 1 :]}")
        try:
            self._connection(forged).sts("GetCallerIdentity")
        except ClientError as error:
            return "" if error.status == _REFUSED else f"a changed token was answered with HTTP status {error.status}"
        return "a changed token was accepted"

    def _denied(self) -> str:
        connection = self._connection(self.profile)
        try:
            connection.sts("AssumeRole", RoleArn=self.denied_role, RoleSessionName=_SESSION_NAME)
        except ClientError as error:
            return "" if error.code == "AccessDenied" else f"it was refused with {error.code or error.status}"
        return "it gave a session"
