"""The front end shared by all wires: the facts of a request, its proof, and its refusal, which is recorded before it is
answered.

A wire parses its protocol, calls an operation and renders the result. The rest is implemented here, once. This module
writes no protocol's bytes; an `ErrorFormat` does.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from daypass import sigv4
from daypass.domain.claims import Caller, RequestFacts, nobody
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.events import Event, EventType
from daypass.operations import rates
from daypass.operations.authenticate import authenticate, names_credentials
from daypass.operations.outcome import refused
from daypass.ports import Call, Env
from daypass.wire.http import Header, Request, Response

Authenticate: TypeAlias = Callable[[Env, sigv4.UnverifiedSignature, Collection[str]], Awaitable[Caller]]
Record: TypeAlias = Callable[[Env, RequestFacts, Caller | None, DaypassError, Mapping[str, Any]], Awaitable[str]]
NamesCredentials: TypeAlias = Callable[[Env, sigv4.UnverifiedSignature], Awaitable[bool]]

_TRACE_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")  # W3C
_MAX_PATH: Final = 256  # bytes of a path on the record
_UNAVAILABLE: Final = DaypassError(ErrorKind.UNAVAILABLE, "The request could not be recorded. Try again later.")
_RETRY_AFTER: Final[Header] = (b"retry-after", b"%d" % rates.RETRY_SECONDS)
_RETRIED: Final = frozenset({Family.THROTTLED, Family.UNAVAILABLE})


class RequestProgress(msgspec.Struct):
    """The progress of one request, for use in its refusal."""

    request: Request
    operation: str = ""  # "sts:AssumeRole"; "" while unknown
    region: str = ""  # of the signature's credential scope, unverified; "" for none
    caller: Caller | None = None  # None until it is proven
    detail: Mapping[str, Any] | None = None  # for the record, redacted; None means the method and the path
    replays: tuple[ReplayEntry, ...] = ()  # one-time proofs that the request brought: its refusal consumes them
    dpop: bool = False  # the request has a DPoP proof, so its response has a nonce
    client_proven: bool = False  # an OAuth client has authenticated

    def facts(self) -> RequestFacts:
        """How the request arrived."""
        request = self.request
        headers = dict(request.headers)
        parent = headers.get(b"traceparent")
        trace = _TRACE_PARENT.fullmatch(parent) if parent else None
        return RequestFacts(
            request.request_id,
            request.received_at,
            self.operation,
            request.source_ip,
            headers.get(b"user-agent", b"").decode("latin-1"),
            trace[1].decode("ascii") if trace else "",
            self.region,
            headers.get(b"referer", b"").decode("latin-1"),
            request.secure,
        )


class RecordedRefusal(NamedTuple):
    """A refusal that is on the record. `encoded` is the encoded authorization message, "" for none."""

    error: DaypassError
    operation: str = ""
    encoded: str = ""


class ErrorFormat(Protocol):
    """How a wire writes its refusals. Neither method waits, and both show only `public` of an error."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        """The response to a refused request."""
        ...

    def broken(self, request: Request) -> Response:
        """The constant response to an unexpected failure."""
        ...


class Front:
    """The front end of all wires.

    Args:
        env: the ports; handlers pass it to operations.
        authenticate: see `operations.authenticate`.
        record: records a refusal; see `operations.outcome.refused`.
        credentials: see `operations.authenticate.names_credentials`.
        unrecorded: called with the operation of a refusal that cannot be recorded; for metrics.
    """

    def __init__(
        self,
        env: Env,
        *,
        authenticate: Authenticate = authenticate,
        record: Record = refused,
        credentials: NamesCredentials = names_credentials,
        unrecorded: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.env = env
        self._authenticate = authenticate
        self._record = record
        self._credentials = credentials
        self._unrecorded = unrecorded

    async def authenticated(
        self,
        progress: RequestProgress,
        services: Collection[str],
        tokens: float,
        read: Callable[[Request], sigv4.UnverifiedSignature] | None = None,
    ) -> Call:
        """The call of a signed request. It charges the caller `tokens`, relative to an STS request. `read`: reads the signature;
        `read_signature` by default.

        Raises DaypassError: the signature is missing, malformed or wrong, or the caller is over a rate (THROTTLED).
        """
        env = self.env
        signature = (read or read_signature)(progress.request)
        progress.region = signature.region if sigv4.is_region(signature.region) else ""
        facts = progress.facts()
        progress.caller = caller = await self._authenticate(env, signature, services)
        rates.charge(env, caller, tokens)
        return Call(caller, facts, env.clock.now())

    def proven(self, progress: RequestProgress, caller: Caller, tokens: float) -> Call:
        """The call of a caller that was authenticated in another way than by a signature. Raises
        DaypassError(THROTTLED).
        """
        progress.caller = caller
        rates.charge(self.env, caller, tokens)
        return Call(caller, progress.facts(), self.env.clock.now())

    def anonymous(self, progress: RequestProgress) -> Call:
        """The call of a request that needs no signature. Raises DaypassError(THROTTLED): its source is over its
        rate.
        """
        env, facts = self.env, progress.facts()
        rates.check_source(env, facts)
        return Call(nobody(env.directory.seen()), facts, env.clock.now())

    async def record(self, progress: RequestProgress, error: DaypassError) -> str:
        """Records a refusal, durably, and returns the encoded authorization message ("" for none).

        Raises DaypassError(UNAVAILABLE) when it cannot be recorded. That error is then the response.
        """
        detail = target_of(progress.request) if progress.detail is None else progress.detail
        if progress.replays:
            return await refused(self.env, progress.facts(), progress.caller, error, detail, progress.replays)
        return await self._record(self.env, progress.facts(), progress.caller, error, detail)

    async def refuse(
        self, progress: RequestProgress, error: DaypassError, errors: ErrorFormat, *, status: int = 0
    ) -> Response:
        """Records a refusal, durably, then renders it. If it cannot be recorded, the answer is that the service is
        unavailable.

        `status`: replaces the status that `errors` has for this error.
        """
        stores = bool(progress.replays) and not progress.client_proven
        answered = rates.refusal_of(self.env, progress.facts(), progress.caller, error, stores=stores)
        try:
            encoded = await self.record(progress, answered)
        except DaypassError:
            self._unrecorded(progress.operation)
            answered, encoded = _UNAVAILABLE, ""
        response = _rendered(errors, progress.request, RecordedRefusal(answered, progress.operation, encoded))
        return replace(response, status=status) if status and answered is error else response

    def overloaded(self, request: Request, error: DaypassError, errors: ErrorFormat) -> Response:
        """Counts an overload refusal by source and reason, and renders it. It never waits and costs little. The connection
        is held for the seconds of `Retry-After`, because reading and refusing more would cost others their time.
        """
        event = Event(
            EventType.REQUEST_FAILED,
            request.received_at,
            source={"ip": request.source_ip},
            error=error.kind.value,
            detail=error.private,
        )
        self.env.refusals.count(event)
        return replace(_rendered(errors, request, RecordedRefusal(error)), hold=rates.RETRY_SECONDS)

    async def names_credentials(self, request: Request) -> bool:
        """Whether the head of a request names credentials of this installation. This proves nothing."""
        try:
            signature = read_signature(request)
        except DaypassError:
            return False
        return await self._credentials(self.env, signature)


def read_signature(request: Request, *, bodiless: bool = False) -> sigv4.UnverifiedSignature:
    """The signature over a request. `bodiless`: its body is elsewhere. Raises DaypassError: MISSING_CREDENTIALS,
    INCOMPLETE_SIGNATURE, SIGNATURE_MISMATCH.
    """
    body = None if bodiless else request.body
    try:
        return sigv4.parse_request(request.method, request.raw_path, request.raw_query, request.headers, body)
    except sigv4.SigV4Error as error:
        raise signature_error(error) from None


def signature_error(error: sigv4.SigV4Error) -> DaypassError:
    """The refusal for a signature that cannot be parsed."""
    return DaypassError(ErrorKind(error.kind), error.message)


def target_of(request: Request) -> dict[str, Any]:
    """The method and the path, for the record. The query is left out: it may hold a signature and a session token
    (attack A100).
    """
    return {"method": request.method[:16], "path": request.raw_path[:_MAX_PATH].decode("latin-1")}


def _rendered(errors: ErrorFormat, request: Request, refusal: RecordedRefusal) -> Response:
    response = errors.refused(request, refusal)
    if refusal.error.kind.family in _RETRIED:
        hold = rates.RETRY_SECONDS if rates.is_of_source(refusal.error) else 0
        return replace(response, headers=(*response.headers, _RETRY_AFTER), hold=hold)
    return response
