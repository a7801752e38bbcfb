"""The request for a new session, independent of the protocol, and the checks that need no directory."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from daypass.domain.arn import is_account_id, read_arn
from daypass.domain.directory import ReplayEntry, Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.session import SessionClaims
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.assume.session_policies import check_policies
from daypass.ports import Env, ProofUsed, Tx


class RequestedRole(Struct, frozen=True):
    """A role by its ARN. Path and spelling are checked when the role is looked up."""

    arn: str
    account: str
    name: str


class SessionRequest(Struct, frozen=True):
    """The requested session. `duration` in seconds; None: the default. `policy` is the text of a session policy, or "".

    `scope_policy`: the session policy of the granted scopes, which limits the session in addition. `max_seconds`: of its
    lifetime, which is shortened to it; 0: no limit. Both come from resource servers, not from the caller.
    """

    name: str
    duration: int | None = None
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    source_identity: str = ""
    scope_policy: str = ""
    max_seconds: int = 0


class AssumeRequest(Struct, frozen=True):
    """A role and the requested session. `action`: what the trust policy must allow."""

    role_arn: str
    session: SessionRequest
    external_id: str = ""
    action: str = ASSUME_ROLE


async def check(env: Env, account: str, request: AssumeRequest) -> RequestedRole:
    """The requested role, if the request itself is valid. `account` is the applicant's.

    Raises DaypassError: VALIDATION, MALFORMED_POLICY.
    """
    role = requested_role(request.role_arn)
    session = request.session
    if session.policy or session.policy_arns:
        await check_policies(env, account, session.policy, session.policy_arns)
    return role


@lru_cache(maxsize=4096)  # only well-formed ARNs are cached
def requested_role(text: str) -> RequestedRole:
    """Account and name from a role's ARN. Raises DaypassError(VALIDATION)."""
    arn = read_arn(text)
    if arn is None or (arn.partition, arn.service, arn.region) != ("aws", "iam", "") or not is_account_id(arn.account):
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    if not arn.resource.startswith("role/") or not arn.name:
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    return RequestedRole(text, arn.account, arn.name)


# --- One-time proofs: the first insert of the replay entry consumes the proof, and a later one is refused


CLIENT_ASSERTION: Final = "client_assertion"
DPOP: Final = "dpop"
_KINDS: Final[Mapping[str, ErrorKind]] = {
    CLIENT_ASSERTION: ErrorKind.INVALID_CLIENT,
    DPOP: ErrorKind.INVALID_DPOP_PROOF,
}
"""The refusal of a used proof, by its purpose."""

_DAY_MS: Final = 86_400_000
_EVERY: Final = 16  # one new entry of so many looks for expired ones
_EXPIRED: Final = 64  # of which it deletes so many: more than were inserted since


def consume(tx: Tx, entry: ReplayEntry) -> None:
    """Consumes a one-time proof and deletes some expired entries. Raises DaypassError for a proof that was used before:
    INVALID_IDENTITY_TOKEN, or the kind of its purpose.
    """
    if not tx.insert_if_absent(entry):
        raise used_before(entry)
    if zlib.crc32(entry.id.encode("utf-8", "surrogatepass")) % _EVERY == 0:
        for old in tx.find(ReplayEntry, order="expires_at", limit=_EXPIRED):
            if old.expires_at < entry.at - _DAY_MS:
                tx.delete(old)


async def commit_once(
    env: Env,
    event: Event,
    replays: Sequence[ReplayEntry],
    session: SessionClaims | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> None:
    """Records an event, the session that it issues, and the use of the proofs of its request in the same transaction.

    `meanwhile`: see `Journal.commit`. Raises DaypassError: UNAVAILABLE, and the kind of a proof that was used before.
    """
    try:
        await env.journal.commit(event, session, replays, meanwhile)
    except ProofUsed as error:
        raise used_before(error.entry) from None


def used_before(entry: ReplayEntry) -> DaypassError:
    """The refusal of a used proof."""
    return DaypassError(
        _KINDS.get(entry.purpose, ErrorKind.INVALID_IDENTITY_TOKEN),
        "The proof has been used before, and may be used once only.",
        private={"reason": "replay", "proof": entry.purpose},
    )
