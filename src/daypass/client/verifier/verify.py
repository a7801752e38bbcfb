"""The verifier: signature, claims, revocations, in this order. It refuses what it cannot decide."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from daypass.client.errors import ClientError
from daypass.client.http import signed_request
from daypass.client.profiles import LocalStateError
from daypass.client.transport import ClientRequest, NoAnswer, Transport, exchange
from daypass.client.verifier import keys
from daypass.client.verifier.holder import Holders, Sent, UnprovenHolder
from daypass.client.verifier.keys import Malformed, VerifierKeys, split
from daypass.client.verifier.revocations import Revocations
from daypass.client.verifier.settings import VerifierSettings, WhenBehind, elapsed
from daypass.client.verifier.status import MAX_TOKEN, StatusLists, StatusUnknown
from daypass.client.verifier.status import TYPE as LIST_TYPE
from daypass.client.verifier.stream import Follower

SESSION: Final = "urn:daypass:session"
_TYPE: Final = "at+jwt"
_JWKS: Final = "/.well-known/jwks.json"
_INTROSPECT: Final = "/oauth2/introspect"
_FETCH_SECONDS: Final = 2.0
BEARER: Final = Sent()
"""A token that came as a bearer token, without a proof."""
_REVALIDATED: Final = {"cache-control": "no-cache"}  # a cache on the way may have the keys from before an emergency


class InvalidToken(Exception):
    """The token is not valid here: answer 401 (RFC 6750, 3.1, invalid_token). The message is in the answer, so it never holds
    text of the token.

    `proof`: its DPoP proof is the reason (RFC 9449, 7.1, invalid_dpop_proof).
    """

    def __init__(self, reason: str, *, proof: bool = False) -> None:
        super().__init__(reason)
        self.proof = proof


class NotCurrent(Exception):
    """Whether the token is revoked is not known: the revocations are too old, and nobody can be asked. Answer 503."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A valid token. `claims` are those of RFC 9068; `session` is Daypass's own claim."""

    subject: str
    scope: tuple[str, ...]
    expires_at: int  # seconds since the epoch
    claims: Mapping[str, Any]
    token: str = field(default="", repr=False, compare=False)

    @property
    def session(self) -> Mapping[str, Any]:
        """The claim `urn:daypass:session`."""
        found: Mapping[str, Any] = self.claims[SESSION]
        return found


CURRENT: Final[ContextVar[Verified | None]] = ContextVar("daypass_verified", default=None)
"""The token of the request that is being served; the middleware sets it."""


class _Genuine(NamedTuple):
    """The claims of a token that the issuer has signed, and the id of its key; "" when the issuer was asked instead."""

    claims: Mapping[str, Any]
    kid: str


class Verifier:
    """Verifies access tokens. Safe for threads; `start` follows revocations in the background, `stop` ends that."""

    def __init__(
        self,
        settings: VerifierSettings,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = elapsed,
        transport: Transport = exchange,
    ) -> None:
        self.settings = settings
        self.issuer = settings.issuer.rstrip("/")
        self._clock = clock
        self.monotonic = monotonic
        self._transport = transport
        self.revocations = Revocations()
        self._follower = Follower(settings, self.revocations, clock=clock, monotonic=monotonic)
        self.keys = VerifierKeys(lambda: self._get(_JWKS), monotonic, lambda: self.revocations.keys)
        self._lists = StatusLists(self._list, self._now, monotonic)
        self._holders = Holders(settings.origin or settings.audience)
        self._known: OrderedDict[bytes, _Genuine] = OrderedDict()
        self._lock = threading.Lock()

    def start(self) -> Verifier:
        """Starts to follow revocations, and returns the verifier."""
        self._follower.start()
        return self

    def stop(self) -> None:
        """Stops following."""
        self._follower.stop()

    def age(self) -> float:
        """How old the known revocations are, in seconds."""
        return self.revocations.age(self.monotonic())

    def verify(self, unverified_token: str, sent: Sent = BEARER) -> Verified:
        """The token, if it is valid and not revoked, and `sent` proves its key if it is bound to one.

        Raises InvalidToken, NotCurrent.
        """
        digest = hashlib.sha256(unverified_token.encode("utf-8", "surrogatepass")).digest()
        genuine = self._genuine(unverified_token, digest)
        claims = genuine.claims
        self._check(claims)
        self._refuse_other_accounts(claims[SESSION])
        self._remember(digest, genuine)
        self._refuse_revoked(unverified_token, claims)
        try:
            self._holders.check(claims, unverified_token, sent, self._clock())
        except UnprovenHolder as error:
            raise InvalidToken(str(error), proof=error.proof) from None
        scope = str(claims.get("scope", "")).split()
        return Verified(str(claims["sub"]), tuple(scope), int(claims["exp"]), claims, unverified_token)

    def _remember(self, digest: bytes, genuine: _Genuine) -> None:
        with self._lock:
            self._known[digest] = genuine
            self._known.move_to_end(digest)
            while len(self._known) > self.settings.tokens:
                self._known.popitem(last=False)

    # --- Signature and claims

    def _genuine(self, unverified_token: str, digest: bytes) -> _Genuine:
        """A token that the issuer has signed, by a key that it still has."""
        with self._lock:
            known = self._known.get(digest)
        try:
            if known is not None and (not known.kid or self.keys.is_published(known.kid)):
                return known
            token = split(unverified_token, _TYPE)
            if not keys.AVAILABLE:
                return _Genuine(self._introspected(unverified_token), "")
            return _Genuine(token.claims, self.keys.verify(token))
        except Malformed as error:
            raise InvalidToken(str(error)) from None
        except (OSError, ValueError) as error:
            why = f"the issuer's keys cannot be fetched: {error}"
            return _Genuine(self._ask(unverified_token, why), "")

    def _check(self, claims: Mapping[str, Any]) -> None:
        now, leeway = self._now(), self.settings.leeway_seconds
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self.issuer:
            raise InvalidToken(f"it is of another issuer than {self.issuer}")
        if self.settings.audience not in audiences:
            raise InvalidToken("it is for another audience")
        if not _is_number(claims.get("exp")) or claims["exp"] <= now:
            raise InvalidToken("it has expired")
        if any(_is_number(claims.get(name)) and claims[name] > now + leeway for name in ("iat", "nbf")):
            raise InvalidToken("it is not valid yet")
        if not isinstance(claims.get("sub"), str) or not isinstance(claims.get(SESSION), Mapping):
            raise InvalidToken("it is not an access token of Daypass")

    def _refuse_other_accounts(self, session: Mapping[str, Any]) -> None:
        """Another account has its own scopes, and gives its principals what it likes."""
        served = self.settings.accounts or self.revocations.accounts
        if not served:
            raise NotCurrent("which account the credentials are of is not known yet")
        if "*" not in served and session.get("account") not in served:
            raise InvalidToken("it is of an account that is not served here")

    def _now(self) -> float:
        """The later of this machine's clock and the issuer's, so that a clock that is behind extends no token."""
        return max(self._clock(), self.revocations.issuer_time(self.monotonic()) or 0.0)

    # --- Revocations

    def _refuse_revoked(self, unverified_token: str, claims: Mapping[str, Any]) -> None:
        hops = claims[SESSION].get("hops")
        if self.age() > self.settings.limit_seconds:
            self._ask(unverified_token, "the known revocations are too old")
            return
        try:
            ended, covered = self.revocations.end(hops), self.revocations.cover(hops)
        except (ValueError, TypeError):
            raise InvalidToken("its hops are malformed") from None
        try:
            if ended or (not covered and self._is_listed_revoked(claims)):
                raise InvalidToken("it is revoked")
        except StatusUnknown as error:
            self._ask(unverified_token, str(error))

    def _is_listed_revoked(self, claims: Mapping[str, Any]) -> bool:
        try:
            reference = claims["status"]["status_list"]
            uri, index = str(reference["uri"]), int(reference["idx"])
        except (KeyError, TypeError, ValueError):
            raise StatusUnknown("the token has no status list") from None
        if not uri.startswith(f"{self.issuer}/statuslists/"):
            raise StatusUnknown("the status list is not the issuer's")
        return self._lists.is_revoked(uri, index, self.settings.list_seconds)

    def _ask(self, unverified_token: str, why: str) -> Mapping[str, Any]:
        """Introspects the token, or refuses it, as configured."""
        if self.settings.when_behind is WhenBehind.REFUSE:
            raise NotCurrent(why)
        return self._introspected(unverified_token)

    # --- The server

    def _introspected(self, unverified_token: str) -> Mapping[str, Any]:
        """The claims of a token according to the server. Raises InvalidToken, NotCurrent."""
        body = urlencode({"token": unverified_token}).encode()
        form = "application/x-www-form-urlencoded"
        try:
            profile = self.settings.current_profile()
            request = signed_request(
                profile, "POST", _INTROSPECT, "", body, content_type=form, service="daypass", now=self._clock()
            )
            answer = self._transport(request, _FETCH_SECONDS)
            found = json.loads(answer.body) if answer.status == 200 else None
        except (NoAnswer, ClientError, LocalStateError, ValueError) as error:
            raise NotCurrent(f"the token cannot be introspected: {error}") from None
        if not isinstance(found, dict):
            raise NotCurrent("the token cannot be introspected")
        if found.get("active") is not True:
            raise InvalidToken("it is not active")
        return found

    def _get(self, path: str) -> bytes:
        """A public document of the issuer. Raises OSError."""
        try:
            profile = self.settings.current_profile()
            request = ClientRequest(profile.endpoint, "GET", path, _REVALIDATED, b"", profile.ca_bundle)
            answer = self._transport(request, _FETCH_SECONDS)
        except (NoAnswer, LocalStateError) as error:
            raise OSError(str(error)) from None
        if answer.status != 200:
            raise OSError(f"HTTP status {answer.status}")
        return answer.body

    def _list(self, uri: str) -> Mapping[str, Any]:
        token = split(self._get(uri.removeprefix(self.issuer)).decode("ascii"), LIST_TYPE, MAX_TOKEN)
        if not keys.AVAILABLE:
            raise OSError("signatures cannot be verified here")
        self.keys.verify(token)
        return token.claims


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
