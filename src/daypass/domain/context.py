"""The context keys of a call, and its principal as Principal elements match it.

Keys are lower-cased here, once. An unknown fact is an absent key, never an empty value. Unverified input never becomes
a key, except the headers and parameters that AWS documents as supplied by the caller.
Sources: the AWS pages "AWS global condition context keys" and "IAM and AWS STS condition context keys".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.directory import Tags
from daypass.domain.jws import iso_time
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.policy.pattern import fold
from daypass.domain.session import SessionClaims, chain_depth

AUDIENCE_KEY: Final = "daypass:audience"
SCOPE_KEY: Final = "daypass:scope"
AUTH_TIME_KEY: Final = "daypass:authtime"
AMR_KEY: Final = "daypass:amr"
OPENID_KEY: Final = "daypass:openidscope"
"""The scopes of OpenID Connect that a person has consented to: UserInfo shows their claims."""
_INHERITED: Final = frozenset({AUTH_TIME_KEY, AMR_KEY})


def request_context(caller: Caller, facts: RequestFacts, now: int) -> dict[str, Value]:
    """The global context keys of a call at `now` (ms)."""
    context = arrival_context(facts, now)
    context.update(_own_keys(caller))
    if caller.session is not None:
        _add_session_keys(context, caller.session, caller.mfa_at, now)
    return context


def _own_keys(caller: Caller) -> Mapping[str, Value]:
    """The keys that identify the caller. They are the same in all its calls."""
    known = caller.derived.context
    if known is None:
        own: dict[str, Value] = {
            "aws:principalarn": caller.principal_arn,
            "aws:principalaccount": caller.account,
            "aws:principaltype": caller.kind._value_,  # a plain str: before Python 3.12 `value` runs Python code
            "aws:userid": caller.user_id,
            "daypass:chaindepth": str(chain_depth(caller.hops)),
            "daypass:authmethod": caller.auth_method,
            **tag_keys("aws:principaltag/", caller.tags),
        }
        if caller.kind is PrincipalKind.USER:
            own["aws:username"] = caller.name
        known = caller.derived.context = own
    return known


def _add_session_keys(context: dict[str, Value], session: SessionClaims, mfa_at: int, now: int) -> None:
    """The keys that AWS sets only for temporary credentials.

    For a scoped session, aws:TokenIssueTime is that of the session it narrows. Otherwise a caller could narrow its
    session to evade a policy that denies sessions issued before a given time, which is how AWS revokes sessions.
    aws:MultiFactorAuthPresent is "false" rather than absent for a session without MFA, so that a Deny on "false"
    matches. aws:MultiFactorAuthAge is present only with MFA.
    """
    context["aws:tokenissuetime"] = iso_time((session.first_issued_at or session.issued_at) // 1000)
    context["aws:multifactorauthpresent"] = "true" if mfa_at else "false"
    if mfa_at:
        context["aws:multifactorauthage"] = str(max(0, now - mfa_at) // 1000)
    if session.source_identity:
        context["aws:sourceidentity"] = session.source_identity
    if session.grant_id:
        context["daypass:grantid"] = session.grant_id
    if session.client_id:
        context["daypass:clientid"] = session.client_id
    if session.keys:
        context.update(sealed_keys(session.keys))
    if session.audiences or session.scopes:
        context.update(ceiling_keys(session.audiences, session.scopes))


def sealed_keys(pairs: Tags) -> dict[str, Value]:
    """The context keys that a proof passed to its session (`SessionClaims.keys`)."""
    keys: dict[str, Value] = {}
    for key, value in pairs:
        known = keys.get(key)
        if known is None:
            keys[key] = value
        else:
            keys[key] = (*((known,) if isinstance(known, str) else known), value)
    return keys


def ceiling_keys(audiences: tuple[str, ...] | None, scopes: tuple[str, ...] | None) -> dict[str, Value]:
    """The context keys of a session's ceilings. One that allows nothing has no key."""
    named = ((AUDIENCE_KEY, audiences), (SCOPE_KEY, scopes))
    return {key: values if len(values) > 1 else values[0] for key, values in named if values}


def sign_in_keys(pairs: Tags) -> Tags:
    """The keys of a session that describe its person's sign-in. Sessions made from it inherit them."""
    return tuple(pair for pair in pairs if pair[0] in _INHERITED)


def authentication_keys(authenticated_at: int, methods: tuple[str, ...], now: int) -> dict[str, Value]:
    """When and how a provider authenticated its person. Times in ms; 0: it does not say. It is never later than `now`."""
    keys: dict[str, Value] = {AUTH_TIME_KEY: str(min(authenticated_at, now) // 1000)} if authenticated_at else {}
    return {**keys, AMR_KEY: methods} if methods else keys


def pairs_of(keys: Mapping[str, Value]) -> Tags:
    """Context keys in the form in which a session stores them."""
    return tuple([(key, one) for key, value in keys.items() for one in ((value,) if isinstance(value, str) else value)])


def time_keys(now: int) -> dict[str, Value]:
    """The keys of the time `now` (ms)."""
    return {"aws:currenttime": iso_time(now // 1000), "aws:epochtime": str(now // 1000)}


def arrival_context(facts: RequestFacts, now: int) -> dict[str, Value]:
    """The global keys of a call at `now` (ms) whose caller has no identity here: network and time only."""
    context: dict[str, Value] = {
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
        **time_keys(now),
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
    """One key for each tag: `prefix` (lower case, including the slash) followed by the tag key."""
    return {prefix + fold(key): value for key, value in tags}


@lru_cache(maxsize=512)  # many requests have the same tags
def requested_tags(tags: Tags) -> Mapping[str, Value]:
    """aws:RequestTag/* and aws:TagKeys for these tags. The result is cached: copy it before you change it."""
    if not tags:
        return {}
    return {**tag_keys("aws:requesttag/", tags), "aws:tagkeys": tuple([key for key, _ in tags])}


def resource_context(account: str, tags: Tags = ()) -> dict[str, Value]:
    """aws:ResourceAccount, and the resource's tags under both of their names."""
    context: dict[str, Value] = {"aws:resourceaccount": account} if account else {}
    if tags:
        context.update(tag_keys("aws:resourcetag/", tags))
        context.update(tag_keys("iam:resourcetag/", tags))
    return context


def merge_principal_tags(own: Tags, session: Tags) -> Tags:
    """aws:PrincipalTag: the principal's tags, overridden by the session's. ASCII case is ignored."""
    if not session or not own:
        return session or own
    overridden = {fold(key) for key, _ in session}
    return (*(tag for tag in own if fold(tag[0]) not in overridden), *session)


def principal_facts(caller: Caller) -> PrincipalFacts:
    """The caller as Principal and NotPrincipal elements match it: its names, most specific first, with unique ids."""
    known = caller.derived.principal
    if known is None:
        known = caller.derived.principal = _principal_facts(caller)
    return known


def _principal_facts(caller: Caller) -> PrincipalFacts:
    arns: tuple[tuple[str, str], ...] = ((caller.arn, caller.principal_id),)
    if caller.kind is PrincipalKind.ROLE_SESSION:
        arns = (*arns, (caller.principal_arn, caller.principal_id))
    return PrincipalFacts(kind=caller.kind, account=caller.account, arns=arns)


def merged(*contexts: Mapping[str, Value]) -> dict[str, Value]:
    """Merges contexts; later values win."""
    whole: dict[str, Value] = {}
    for context in contexts:
        whole.update(context)
    return whole
