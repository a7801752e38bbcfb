"""The request for a new session, independent of the protocol, and the checks that need no directory."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from daypass.domain.arn import is_account_id, read_arn
from daypass.domain.claims import RequestFacts
from daypass.domain.directory import PolicyContent, ReplayEntry, Tags
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.source import PolicyError
from daypass.domain.session import SessionClaims
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations import heavy
from daypass.operations.outcome import event_of
from daypass.operations.principals import SizedCache, find_current
from daypass.ports import Env, ManagedPolicyView, ProofUsed, Tx


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


# --- Session policies: checks them, and stores the text of managed ones while a session names them


MAX_POLICY_ARNS: Final = 10
_FORGET: Final = 4  # old texts checked with each new one: more are deleted than inserted


async def check_policies(env: Env, account: str, policy: str, policy_arns: tuple[str, ...]) -> None:
    """Raises DaypassError (MALFORMED_POLICY, VALIDATION) unless these are valid session policies of one request."""
    if policy:
        await check_policy(env, account, policy)
    if len(policy_arns) > MAX_POLICY_ARNS:
        raise DaypassError(
            ErrorKind.VALIDATION, f"A session can have at most {MAX_POLICY_ARNS} managed session policies."
        )


async def check_policy(env: Env, account: str, text: str) -> None:
    """Raises DaypassError(MALFORMED_POLICY) unless `text` is a session policy. A long one is parsed in a worker process."""
    if text in _checked:
        return
    await heavy.compute(env, account, _check, text, size=len(text))
    _checked.add(text, True)  # the text itself


def _check(text: str) -> None:
    try:
        parse(text, PolicyKind.SESSION)
    except PolicyError as error:
        raise DaypassError(ErrorKind.MALFORMED_POLICY, str(error)) from None


_checked: SizedCache[bool] = SizedCache(bool, 2_000_000)  # requests often repeat the same policies


async def keep_policies(
    env: Env, facts: RequestFacts, actor: Mapping[str, Any], account: str, arns: tuple[str, ...], expires_at: int
) -> tuple[str, ...]:
    """The content hashes of managed policies. Each text is stored until at least `expires_at` (ms).

    The policies must belong to `account` or be built in. A text is stored for a day or two longer than requested, so
    that the following sessions need no write.
    """
    hashes: list[str] = []
    for arn in arns:
        view = await _managed_policy(env, account, arn)
        if view.hash not in hashes:
            kept = await env.directory.policy_content(view.hash)
            if kept is None or kept.keep_until < expires_at:
                await _keep(env, facts, actor, account, view, expires_at)
            hashes.append(view.hash)
    return tuple(hashes)


async def _managed_policy(env: Env, account: str, arn: str) -> ManagedPolicyView:
    view = None
    if arn.startswith((f"arn:aws:iam::{account}:policy/", "arn:aws:iam::aws:policy/")):
        view = await find_current(env, lambda: env.directory.managed_policy(arn))
    if view is None:
        raise DaypassError(ErrorKind.VALIDATION, f"Policy {arn} does not exist or is not attachable.")
    return view


async def _keep(
    env: Env, facts: RequestFacts, actor: Mapping[str, Any], account: str, view: ManagedPolicyView, expires_at: int
) -> None:
    until = (expires_at // _DAY_MS + 2) * _DAY_MS
    content = PolicyContent(hash=view.hash, account=account, document=view.document, keep_until=until)
    detail = {"kept": view.hash, "policy_arn": view.policy.arn, "keep_until": until}
    event = event_of(EventType.DIRECTORY_CHANGED, facts, actor, at=env.clock.now(), account=account, detail=detail)

    def change(tx: Tx) -> tuple[None, Event]:
        kept = tx.get(PolicyContent, hash=view.hash)
        if kept is None:
            tx.insert(content)
        elif kept.keep_until < until:
            tx.replace(replace(kept, keep_until=until))
        for old in tx.find(PolicyContent, order="keep_until", limit=_FORGET):
            if old.keep_until < event.at - _DAY_MS:  # every session that names it expired long ago
                tx.delete(old)
        return None, event

    with ignored(ErrorKind.ALREADY_EXISTS):
        await env.journal.write(change, account=account)
        return
    await env.journal.write(change, account=account)  # another process stored it at the same time


def delete_expired(tx: Tx, kind: type[Any], now: int) -> None:
    """Deletes some expired entities of a kind, with each new one: more than are inserted."""
    for old in tx.find(kind, order="expires_at", limit=4):
        if old.expires_at <= now:
            tx.delete(old)
