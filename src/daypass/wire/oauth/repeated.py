"""Token requests that repeat, byte for byte, one that was served. Clients without a person behind them send nothing else.

What follows from the bytes and from the client's view alone is kept: that the secret is one of the client's, and the
parameters. It is dropped when the client changes. All else is decided for each request: rates, audiences, trust and
identity policies, revocations. A refused request is not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from msgspec import Struct

from daypass.domain.directory import OAuthClient
from daypass.domain.proof import Proof
from daypass.domain.source import Source
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.request import TokenRequest
from daypass.operations.rates import charge_client
from daypass.wire.client_certificate import NAMES
from daypass.wire.oauth.details import Details
from daypass.wire.oauth.endpoint import EndpointContext

_MAX_ENTRIES: Final = 2_048
_LONGEST: Final = 1_024  # bytes of a body
_LARGEST: Final = (
    4_096  # characters of a client: it is kept after it has been changed, until others take its place (attack A320)
)
_OTHER_PROOFS: Final = NAMES | {b"dpop"}


class Repeatable(Struct, frozen=True):
    """What is kept of a request for client credentials. `detail`: for the record of a refusal."""

    client: AuthenticatedClient
    request: TokenRequest
    details: Details
    proof: Proof
    detail: Mapping[str, Any]


def digest_of(ctx: EndpointContext) -> bytes:
    """What recognizes a request. b"" for one that cannot be recognized by its credentials and body alone."""
    request, headers = ctx.request, dict(ctx.request.headers)
    own = headers.get(b"authorization")
    if own is None or len(headers) != len(request.headers) or request.raw_query or len(request.body) > _LONGEST:
        return b""
    if request.peer_certificate or not _OTHER_PROOFS.isdisjoint(headers) or ctx.certificate_header.encode() in headers:
        return b""
    # The header has a secret of 320 random bits, which the digest does not reveal.
    return sha256(b"\0".join((own, headers.get(b"content-type", b""), request.body))).digest()


class RepeatedRequests:
    """The requests of this process. At most `most` are kept; the least recently used is dropped first."""

    def __init__(self, most: int = _MAX_ENTRIES) -> None:
        self._kept: OrderedDict[bytes, Repeatable] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, ctx: EndpointContext) -> Repeatable | None:
        """The request that this one repeats, charged to its client; None if it must be read. Raises DaypassError(THROTTLED,
        UNAVAILABLE).
        """
        digest = digest_of(ctx)
        repeatable = self._kept.get(digest)
        if repeatable is None:
            return None
        client = repeatable.client.client
        if await ctx.env.directory.entity(OAuthClient, client.id) is not client:  # it was changed, disabled or deleted
            self._kept.pop(digest, None)
            return None
        self._kept.move_to_end(digest)
        ctx.client, ctx.detail = repeatable.client, dict(repeatable.detail)
        charge_client(ctx.env, Source(account=client.account, principal=client.id), client.id)
        return repeatable

    def keep(self, ctx: EndpointContext, request: TokenRequest, details: Details, proof: Proof) -> None:
        """Keeps a served request, if the secret of its client is all that it proves."""
        client, digest = request.sender.known_client, digest_of(ctx)
        only_secret = client.method == "client_secret_basic" and request.sender.binding is None
        if not digest or not only_secret:
            return
        if len(client.client.settings) + sum(map(len, chain.from_iterable(client.client.tags))) > _LARGEST:
            return
        self._kept[digest] = Repeatable(client, request, details, proof, dict(ctx.detail))
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


REPEATED: Final = RepeatedRequests()
