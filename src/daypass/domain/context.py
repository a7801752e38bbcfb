"""What policies know of a call: its context keys, and its principal as Principal elements see it.

Keys are lower-cased here, once. A fact that is not known is an absent key, never an empty value, and nothing that the
caller merely claims becomes a key, except the headers and parameters that AWS documents as the caller's own.
Sources: the AWS pages "AWS global condition context keys" and "IAM and AWS STS condition context keys".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.directory import Tags
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.policy.pattern import fold
from daypass.domain.session import chain_depth


@lru_cache(maxsize=256)
def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def request_context(caller: Caller, facts: RequestFacts, now: int) -> dict[str, Value]:
    """The global context keys of a call at `now` (ms)."""
    context = arrival_context(facts, now)
    context.update(_own_keys(caller))
    if caller.session is not None:
        _add_session_keys(context, caller, now)
    return context


def _own_keys(caller: Caller) -> Mapping[str, Value]:
    """The keys that tell who calls: the same in all its calls."""
    kept: dict[str, Value] | None = caller.memo.get("context")
    if kept is None:
        kept = {
            "aws:principalarn": caller.principal_arn,
            "aws:principalaccount": caller.account,
            "aws:principaltype": caller.kind,
            "aws:userid": caller.user_id,
            "daypass:chaindepth": str(chain_depth(caller.hops)),
            "daypass:authmethod": caller.auth_method,
            **tag_keys("aws:principaltag/", caller.tags),
        }
        if caller.kind is PrincipalKind.USER:
            kept["aws:username"] = caller.name
        caller.memo["context"] = kept
    return kept


def _add_session_keys(context: dict[str, Value], caller: Caller, now: int) -> None:
    """Keys that AWS gives to temporary credentials alone.

    aws:MultiFactorAuthPresent is "false" rather than absent when no MFA vouches for a session, so that a Deny on
    "false" holds; aws:MultiFactorAuthAge is there only with MFA.
    """
    session = caller.session
    if session is None:
        return
    context["aws:tokenissuetime"] = _iso(session.issued_at // 1000)
    context["aws:multifactorauthpresent"] = "true" if caller.mfa_at else "false"
    if caller.mfa_at:
        context["aws:multifactorauthage"] = str(max(0, now - caller.mfa_at) // 1000)
    if session.source_identity:
        context["aws:sourceidentity"] = session.source_identity
    if session.keys:
        context.update(kept_keys(session.keys))


def kept_keys(pairs: Tags) -> dict[str, Value]:
    """The context keys that a proof left to its session (`SessionClaims.keys`)."""
    keys: dict[str, Value] = {}
    for key, value in pairs:
        known = keys.get(key)
        if known is None:
            keys[key] = value
        else:
            keys[key] = (*((known,) if isinstance(known, str) else known), value)
    return keys


def pairs_of(keys: Mapping[str, Value]) -> Tags:
    """The form in which a session keeps context keys."""
    return tuple((key, one) for key, value in keys.items() for one in ((value,) if isinstance(value, str) else value))


def arrival_context(facts: RequestFacts, now: int) -> dict[str, Value]:
    """The global keys of a call at `now` (ms) whose caller has no identity here: how it came, and when."""
    context: dict[str, Value] = {
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
        "aws:currenttime": _iso(now // 1000),
        "aws:epochtime": str(now // 1000),
        "aws:securetransport": "true" if facts.secure_transport else "false",
        "daypass:chaindepth": "0",
    }
    if facts.source_ip:
        context["aws:sourceip"] = facts.source_ip
    if facts.user_agent:
        context["aws:useragent"] = facts.user_agent
    if facts.referer:
        context["aws:referer"] = facts.referer
    if facts.region:
        context["aws:requestedregion"] = facts.region
    return context


def tag_keys(prefix: str, tags: Tags) -> dict[str, Value]:
    """One key for each tag: `prefix` (lower case, with its slash), then the tag's key."""
    return {prefix + fold(key): value for key, value in tags}


def requested_tags(tags: Tags) -> dict[str, Value]:
    """aws:RequestTag/* and aws:TagKeys of a request that brings these tags."""
    if not tags:
        return {}
    return {**tag_keys("aws:requesttag/", tags), "aws:tagkeys": tuple(key for key, _ in tags)}


def assumption_context(
    *,
    session_name: str,
    external_id: str = "",
    source_identity: str = "",
    tags: Tags = (),
    transitive_keys: Iterable[str] = (),
) -> dict[str, Value]:
    """The keys of a request to assume a role.

    `tags`, `transitive_keys` and `source_identity` are those that the new session will have, inherited ones included:
    what a role's owner demands of them holds for the whole of them, wherever in the chain they came from.
    """
    context: dict[str, Value] = {"sts:rolesessionname": session_name, **requested_tags(tags)}
    if external_id:
        context["sts:externalid"] = external_id
    if source_identity:
        context["sts:sourceidentity"] = source_identity
    if keys := tuple(transitive_keys):
        context["sts:transitivetagkeys"] = keys
    return context


def resource_context(account: str, tags: Tags = ()) -> dict[str, Value]:
    """aws:ResourceAccount, and the tags of the resource under both of their names."""
    context: dict[str, Value] = {"aws:resourceaccount": account} if account else {}
    if tags:
        context.update(tag_keys("aws:resourcetag/", tags))
        context.update(tag_keys("iam:resourcetag/", tags))
    return context


def merge_principal_tags(own: Tags, session: Tags) -> Tags:
    """aws:PrincipalTag: the principal's own tags, overridden by its session's without regard to (ASCII) case."""
    if not session or not own:
        return session or own
    overridden = {fold(key) for key, _ in session}
    return (*(tag for tag in own if fold(tag[0]) not in overridden), *session)


def principal_facts(caller: Caller) -> PrincipalFacts:
    """The caller as Principal and NotPrincipal elements see it: its names, most specific first, and what they bind to."""
    kept: PrincipalFacts | None = caller.memo.get("principal")
    if kept is None:
        kept = caller.memo["principal"] = _principal_facts(caller)
    return kept


def _principal_facts(caller: Caller) -> PrincipalFacts:
    arns: tuple[tuple[str, str], ...] = ((caller.arn, caller.principal_id),)
    if caller.kind is PrincipalKind.ROLE_SESSION:
        arns = (*arns, (caller.principal_arn, caller.principal_id))
    return PrincipalFacts(kind=caller.kind, account=caller.account, arns=arns)


def merged(*contexts: Mapping[str, Value]) -> dict[str, Value]:
    """One context of several; later ones win."""
    whole: dict[str, Value] = {}
    for context in contexts:
        whole.update(context)
    return whole
