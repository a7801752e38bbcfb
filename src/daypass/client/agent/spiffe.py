"""The SPIFFE Workload API with JWT-SVIDs: the kernel says which user asks, and the configuration which roles it may have.

X.509-SVIDs are not issued. It needs the extra `spiffe`. It must never give an SVID of a role to a user who may not have it.
Sources: SPIFFE, "The SPIFFE Workload API" and "SPIFFE Workload Endpoint"; JWT-SVID.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from daypass.client.agent.answers import Users
from daypass.client.agent.keeper import Keeper
from daypass.client.agent.listener import uid_of_socket
from daypass.client.credentials import Credentials
from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError
from daypass.client.verifier.keys import AVAILABLE, Malformed, VerifierKeys, split
from daypass.protobuf import message, struct_of, texts

try:
    from daypass.grpc_server import GrpcCall, GrpcError, GrpcServer, Status
except ImportError:
    raise LocalStateError("The Workload API needs the extra spiffe (hpack).") from None

_SERVICE: Final = "/SpiffeWorkloadAPI/"
_HEADER: Final = b"workload.spiffe.io"  # a browser or a confused proxy does not send it
_AT_ONCE: Final = 16  # calls of the server
_CONNECTIONS: Final = 64  # of a user
_MOST: Final = 256  # SVIDs that are kept
_MAX_AUDIENCES: Final = 10
_BUNDLE_SECONDS: Final = 60.0
_CALL_SECONDS: Final = 10.0

Connect: TypeAlias = Callable[[Credentials], Connection]


class _Svid(NamedTuple):
    svid: str
    spiffe_id: str
    renewed_at: float


class Bundle(NamedTuple):
    trust_domain: str
    jwks: dict[str, Any]
    fetched_at: float


class WorkloadApi:
    """Serves the API. `connect` makes a connection that signs with a session."""

    def __init__(self, keepers: Mapping[str, Keeper], connect: Connect, clock: Callable[[], float] = time.time) -> None:
        self._keepers, self._connect, self._clock = keepers, connect, clock
        self._users = Users(keepers)
        self._svids: OrderedDict[tuple[str, ...], _Svid] = OrderedDict()
        self._bundle = Bundle("", {}, float("-inf"))
        self._calls = asyncio.Semaphore(_AT_ONCE)

    def server(self) -> GrpcServer:
        """A gRPC server of this API."""
        unary = {_SERVICE + "FetchJWTSVID": self._fetch, _SERVICE + "ValidateJWTSVID": self._validate}
        streaming = {_SERVICE + "FetchJWTBundles": self._follow}
        return GrpcServer(unary, streaming, peer_of=_uid_of, connections=_CONNECTIONS)

    async def _fetch(self, call: GrpcCall) -> bytes:
        roles, asked = self._asked(call)
        audiences, wanted = sorted(set(_texts(asked, 1))), "".join(_texts(asked, 2))
        if not 0 < len(audiences) <= _MAX_AUDIENCES or not all(audiences):
            raise GrpcError(Status.INVALID_ARGUMENT, f"1 to {_MAX_AUDIENCES} audiences are needed")
        chosen, why = [], GrpcError(Status.PERMISSION_DENIED, "no identity issued")
        for name in roles:  # a role that gets none does not withhold those of the others
            try:
                found = await self._svid(name, audiences)
            except GrpcError as error:
                why = error
            else:
                chosen += [found] if wanted in ("", found.spiffe_id) else []
        if not chosen:
            raise why
        return message(*((1, message((1, each.spiffe_id), (2, each.svid))) for each in chosen))

    async def _follow(self, call: GrpcCall) -> AsyncGenerator[bytes]:
        """Sends the bundle, and again when its keys have changed."""
        roles, _ = self._asked(call)
        sent = b""
        while True:
            bundle = await self._current_bundle(roles)
            keys = [{**key, "use": "jwt-svid"} for key in bundle.jwks["keys"]]
            entry = message((1, f"spiffe://{bundle.trust_domain}"), (2, json.dumps({"keys": keys})))
            if entry != sent:
                sent = entry
                yield message((1, entry))
            await asyncio.sleep(_BUNDLE_SECONDS)

    async def _validate(self, call: GrpcCall) -> bytes:
        roles, asked = self._asked(call)
        audience, svid = "".join(_texts(asked, 1)), "".join(_texts(asked, 2))
        if not AVAILABLE:
            raise GrpcError(Status.UNIMPLEMENTED, "the package cryptography is not installed")
        bundle = await self._current_bundle(roles)
        try:
            claims = verified(svid, bundle, audience, self._clock())
        except Malformed as error:
            raise GrpcError(Status.INVALID_ARGUMENT, f"the SVID is refused: {error}") from None
        return message((1, claims["sub"]), (2, struct_of(claims)))

    def _asked(self, call: GrpcCall) -> tuple[list[str], bytes]:
        """The roles that the caller may have, and its request. Raises GrpcError."""
        if call.only(_HEADER) != "true":
            raise GrpcError(Status.INVALID_ARGUMENT, "security header missing from request")
        roles = self._users.roles_of(_uid_of(call.transport))
        if not roles:
            raise GrpcError(Status.PERMISSION_DENIED, "no identity issued")
        return roles, call.message

    # --- What the server gives

    async def _svid(self, name: str, audiences: Sequence[str]) -> _Svid:
        held = self._held(name)
        key = (held.access_key_id, *audiences)
        found = self._svids.get(key)
        if found is None or found.renewed_at <= self._clock():
            made = await self._call(held, "POST", "/jwt-svids", {"audiences": list(audiences)})
            now = self._clock()
            left = made["expires_at"] / 1000 - held.offset - now
            found = self._svids[key] = _Svid(str(made["svid"]), str(made["spiffe_id"]), now + left / 2)
            while len(self._svids) > _MOST:
                self._svids.popitem(last=False)
        return found

    async def _current_bundle(self, roles: Sequence[str]) -> Bundle:
        if self._clock() - self._bundle.fetched_at >= _BUNDLE_SECONDS:
            try:
                made = await self._call(self._held(roles[0]), "GET", "/jwt-bundle")
                self._bundle = Bundle(made["trust_domain"], json.loads(made["jwks"]), self._clock())
            except GrpcError:
                if not self._bundle.trust_domain:
                    raise  # else the keys of before still verify
        return self._bundle

    def _held(self, name: str) -> Credentials:
        held = self._keepers[name].held
        if held is None:
            raise GrpcError(Status.UNAVAILABLE, f"the role has no session: {self._keepers[name].why}")
        return held

    async def _call(self, held: Credentials, method: str, path: str, body: Any = None) -> Any:
        try:
            async with asyncio.timeout(_CALL_SECONDS), self._calls:
                return await asyncio.to_thread(lambda: self._connect(held).api(method, path, body=body))
        except ClientError as error:
            denied = error.status in (400, 403)
            raise GrpcError(Status.PERMISSION_DENIED if denied else Status.UNAVAILABLE, str(error)[:500]) from None
        except TimeoutError:
            raise GrpcError(Status.UNAVAILABLE, "the server does not answer") from None


def _uid_of(transport: asyncio.Transport) -> int:
    return uid_of_socket(transport.get_extra_info("socket"))


def _texts(asked: bytes, number: int) -> list[str]:
    try:
        return texts(asked, number)
    except ValueError as error:
        raise GrpcError(Status.INVALID_ARGUMENT, f"the message cannot be read: {error}") from None


def verified(svid: str, bundle: Bundle, audience: str, now: float) -> Mapping[str, Any]:
    """The claims of an SVID of this trust domain for this audience. Raises Malformed."""
    token = split(svid, "jwt")
    data = json.dumps(bundle.jwks).encode()
    VerifierKeys(lambda: data, time.monotonic).verify(token)
    claims = token.claims
    subject, ends, audiences = claims.get("sub"), claims.get("exp"), claims.get("aud")
    if not isinstance(subject, str) or not subject.startswith(f"spiffe://{bundle.trust_domain}/"):
        raise Malformed("it is not of this trust domain")
    if not audience or audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise Malformed("it is for another audience")
    if not isinstance(ends, int | float) or ends <= now:
        raise Malformed("it has expired")
    return claims
