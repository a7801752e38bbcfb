"""Whether a vote counts now, and why not: the one place that says so, for the decision about a request, for what its readers
see, and for each sweep and use of its grants.

What takes the credentials of a vote from somebody takes the vote: otherwise votes with stolen ones would outlast them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from daypass.domain.access.quorum import Count, count
from daypass.domain.access.rule import CompiledRule
from daypass.domain.directory import (
    AccessKey,
    AccessRequest,
    AccessVote,
    ChatLink,
    KeyStatus,
    LoginProfile,
    MfaDevice,
    OAuthClient,
    Passkey,
)
from daypass.domain.session import Hop
from daypass.operations.grants.eligible import Ballot, read_ballot, stages_for, thresholds
from daypass.operations.grants.facts import hop_of, is_disabled, is_stopped, names_of, persons_of, with_links
from daypass.operations.grants.permission import may_approve, may_assume
from daypass.operations.grants.snapshot import once
from daypass.ports import Env, Reader, Scene

_MANY = 1_000
Governed: TypeAlias = Sequence[tuple[CompiledRule, str]]
"""Rules, each with the ARN of the role that is requested under it."""


def votes_on(tx: Reader, request_id: str) -> list[AccessVote]:
    return tx.find(AccessVote, request_id=request_id, order="approver_id", limit=_MANY)


def count_votes(
    env: Env | Scene, tx: Reader, request: AccessRequest, bound_to: str, roles: Governed, now: int
) -> Count:
    """The votes on a request as they count now (ms). `bound_to`: the versions for which they count."""
    own, rules = persons_of(tx, request), [rule for rule, _ in roles]
    request = replace(request, persons=own)

    def standing(vote: AccessVote) -> tuple[AccessVote, str]:
        return _as_it_is(env, tx, request, vote, roles, now)

    return count(votes_on(tx, request.id), thresholds(rules), bound_to, own, request.decided_at or now, standing)


def _as_it_is(
    env: Env | Scene, tx: Reader, request: AccessRequest, vote: AccessVote, roles: Governed, now: int
) -> tuple[AccessVote, str]:
    """The vote with the persons and stages that it has now, and why it does not count, or ""."""
    ballot = read_ballot(vote.document)
    persons = with_links(tx, vote.persons, ballot.principal_ids)
    # What ends the session of a vote ends the vote, too, even if its person gets sessions again (attack A268).
    hops = ballot.hops or [hop_of(tx, each, vote.at, vote.access_key_id) for each in ballot.principal_ids]
    if not stands(tx, hops, persons, now, ballot):
        return vote, "the approver, or the session or credentials of the vote, was disabled, blocked or revoked"
    names = once(tx, ("names", *ballot.principal_ids), lambda: names_of(tx, ballot.principal_ids))
    match = stages_for(request, [rule for rule, _ in roles], names, vote.at)
    voted = {tuple(stage) for stage in vote.stages}
    stages = tuple(stage for stage in match.stages if stage in voted)
    if not stages:
        return vote, "the rule no longer names the approver"
    governed = {rule for rule, _ in stages}
    if not all(_may_approve(env, tx, hops, arn) for rule, arn in roles if rule.name in governed):
        return vote, "the approver is no longer permitted to approve"
    return replace(vote, stages=stages, persons=tuple(persons)), ""


def _may_approve(env: Env | Scene, tx: Reader, hops: Sequence[Hop], role_arn: str) -> bool:
    chain = (f"{hop.principal_id}/{hop.name}" for hop in hops)
    return once(
        tx,
        ("may approve", role_arn, *chain),
        lambda: may_approve(env, tx, hops, role_arn) and may_assume(env, tx, hops),
    )


def stands(tx: Reader, hops: Sequence[Hop], identifiers: Iterable[str], now: int, ballot: Ballot) -> bool:
    """Whether nothing has disabled, blocked or revoked the chain of a vote, or taken its key, password, client, chat user,
    passkey or MFA device away. `identifiers`: of the person.
    """
    ids = tuple(dict.fromkeys(hop.principal_id for hop in hops))
    if is_disabled(tx, ids) or is_stopped(tx, hops, now, identifiers):
        return False
    if len(hops) > 1 and _is_signed_out(tx, hops[0], hops[1]):
        return False
    if not _has_mfa(tx, ids, ballot):
        return False
    return all(_has_credentials(tx, hop) for hop in hops) and (not ballot.chat or _is_linked(tx, hops[0], ballot.chat))


def _is_signed_out(tx: Reader, person: Hop, browser: Hop) -> bool:
    """Whether the password of a user who signed in was changed or deleted since, which ends browser sessions (attack A365)."""
    if person.access_key_id or not person.principal_id.startswith("AIDA"):
        return False
    profile = tx.get(LoginProfile, user_id=person.principal_id)
    return profile is None or profile.password_changed_at > browser.issued_at


def _has_mfa(tx: Reader, ids: Sequence[str], ballot: Ballot) -> bool:
    """Whether the passkey or the device that confirmed the vote is still that of the approver (attacks A337, A357, A380)."""
    if ballot.passkey:
        passkey = tx.get(Passkey, id=ballot.passkey)
        return passkey is not None and not passkey.blocked_at and passkey.user_id in ids
    serial, enabled_at = ballot.device
    device = tx.get(MfaDevice, serial=serial) if serial else None
    return not serial or (device is not None and device.owner_id in ids and device.enabled_at == enabled_at)


def _has_credentials(tx: Reader, hop: Hop) -> bool:
    """Whether the access key is active and the OAuth client enabled, if the hop has one (attack A328)."""
    if hop.access_key_id.startswith("AKIA"):
        key = tx.get(AccessKey, id=hop.access_key_id)
        if key is None or key.status is not KeyStatus.ACTIVE:
            return False
    client = tx.get(OAuthClient, id=hop.client_id) if hop.client_id else None
    return client is None or client.enabled


def _is_linked(tx: Reader, hop: Hop, chat: str) -> bool:
    link = tx.get(ChatLink, account=hop.account, id=chat)
    return link is not None and link.user_id == hop.principal_id
