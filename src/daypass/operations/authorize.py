"""Authorizing one action: the caller's own policy layers, and the decision over them.

Policies are read live, by unique id. A refusal is never given from a stale cache: the change feed is polled once, and
if it had moved the decision is taken again. Nothing here trusts a session beyond what was sealed into it: a managed
session policy whose text is no longer kept makes its whole level allow nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

from daypass.domain.arn import account_of
from daypass.domain.claims import Caller
from daypass.domain.context import merged, principal_facts, request_context, resource_context
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import denial_message, explain
from daypass.domain.policy.model import AccessQuery, Decision, Layers, NamedPolicy, Value
from daypass.domain.session import SessionClaims, SessionKind
from daypass.domain.trust import CallerPolicies
from daypass.operations.outcome import OWNER
from daypass.ports import Call, Env

_INVALID_TOKEN = "The security token included in the request is invalid"

# AWS page "Compare AWS STS credentials": which STS operations each kind of temporary credentials may call.
_STS_FOR_ALL = frozenset({"sts:GetCallerIdentity", "sts:GetScopedCredentials", "sts:GetDelegatedAccessToken"})
_STS_OF: Mapping[SessionKind, frozenset[str]] = {
    SessionKind.USER: _STS_FOR_ALL | {"sts:AssumeRole", "sts:GetWebIdentityToken"},
    SessionKind.FEDERATED: _STS_FOR_ALL,
}
_LONG_TERM_ONLY = frozenset({"sts:GetSessionToken", "sts:GetFederationToken"})


async def authorize(
    env: Env,
    call: Call,
    action: str,
    resource: str,
    *,
    context: Mapping[str, Value] | None = None,
    resource_policy: NamedPolicy | None = None,
    bindings: Mapping[str, str] | None = None,
    shown: str = "",
) -> Decision:
    """Returns the decision if the caller may do `action` ("iam:CreateRole") on `resource` (an ARN, or "*").

    `context`: further context keys, lower-cased; they win over the global ones. `resource_policy` and `bindings`: the
    resource's own policy, if it has one. `shown`: how a denial names the resource, if not by ARN. Raises DaypassError(ACCESS_DENIED) with AWS's message and the explanation.
    """
    check_credentials(call.caller, action)
    account = account_of(resource) or call.caller.account
    keys = merged(request_context(call.caller, call.facts, call.now), resource_context(account), context or {})
    query = AccessQuery(principal_facts(call.caller), action, resource, keys)

    async def layers() -> Layers:
        policies = await layers_for(env, call.caller)
        return Layers(
            same_account=account == call.caller.account,
            identity=policies.identity,
            resource=resource_policy,
            bindings=bindings,
            boundary=policies.boundary,
            session=policies.session,
            guardrails=policies.guardrails,
        )

    used = await layers()
    decision = evaluate(query, used)
    if not decision.allowed and await feed_moved(env):
        used = await layers()
        decision = evaluate(query, used)
    if decision.allowed:
        return decision
    message = denial_message(query, decision, call.caller.arn, shown)
    raise DaypassError(
        ErrorKind.ACCESS_DENIED,
        message.replace(" on resource: *", "", 1) if resource == "*" else message,  # as AWS says it
        private={OWNER: call.caller.account, "resource": resource},
        explanation=explain(query, used).to_json(),
    )


def check_credentials(caller: Caller, action: str) -> None:
    """Refuses what AWS does not let this kind of temporary credentials call at all, whatever the policies say.

    IAM answers GetSessionToken credentials without MFA, and those of federated users, as it does unknown ones.
    """
    session = caller.session
    if session is None:
        return
    allowed = _STS_OF.get(session.kind)
    service, _, operation = action.partition(":")
    if action in _LONG_TERM_ONLY or (service == "sts" and allowed is not None and action not in allowed):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"Cannot call {operation} with session credentials",
            private={"reason": "kind of credentials", "session_kind": session.kind.value},
        )
    if service == "iam" and allowed is not None and not (session.kind is SessionKind.USER and caller.mfa_at):
        raise DaypassError(
            ErrorKind.UNKNOWN_CREDENTIALS,
            _INVALID_TOKEN,
            private={"reason": "IAM takes these credentials only with MFA", "session_kind": session.kind.value},
        )


async def feed_moved(env: Env) -> bool:
    """Polls the change feed before a refusal. While the database is away, what the cache says stands."""
    try:
        return await env.directory.refresh()
    except DaypassError as error:
        if error.kind is not ErrorKind.UNAVAILABLE:
            raise
        return False


async def layers_for(env: Env, caller: Caller) -> CallerPolicies:
    """The caller's own layers, as they are now. A principal that is gone has no policies: nothing is allowed.

    As long as neither its policies nor the guardrails change, a caller without session policies gets the same object.
    """
    account, session = await env.directory.account(caller.account), caller.session
    guardrails = account.guardrails if account is not None else ((),)
    levels: tuple[tuple[NamedPolicy, ...], ...] = ()
    owner_id = caller.principal_id
    if session is not None:
        levels = await _session_levels(env, session)
        if session.kind is SessionKind.FEDERATED:  # what counts are the policies of the user, or root, behind it
            owner_id = session.user_id
    if owner_id == caller.account:
        return CallerPolicies((_everything(),), None, levels, guardrails)
    if session is not None and session.kind is SessionKind.ROLE:
        role = await env.directory.role_by_id(owner_id)
        view = role.principal if role is not None else None
    else:
        view = await env.directory.user(owner_id)
    if view is None:
        return CallerPolicies((), None, levels, guardrails)
    if levels:
        return CallerPolicies(view.identity, view.boundary, levels, guardrails)
    kept: CallerPolicies | None = view.memo.get("layers")
    if kept is None or kept.guardrails is not guardrails:
        kept = view.memo["layers"] = CallerPolicies(view.identity, view.boundary, (), guardrails)
    return kept


async def _session_levels(env: Env, session: SessionClaims) -> tuple[tuple[NamedPolicy, ...], ...]:
    """One level for the session policies of the issuing call, inline and managed together, and one for each scope-down.

    A federated user without any session policy has no permissions of its own, so its first level is there and empty.
    """
    levels: list[tuple[NamedPolicy, ...]] = []
    scope_downs = session.policies[1:] if session.base_policy else session.policies
    if session.base_policy or session.policy_hashes or session.kind is SessionKind.FEDERATED:
        inline = (_session_policy(session.policies[0]),) if session.base_policy else ()
        managed = await _managed(env, session.policy_hashes)
        levels.append((*inline, *managed) if managed is not None else (_nothing(),))
    levels.extend((_session_policy(text),) for text in scope_downs)
    return tuple(levels)


async def _managed(env: Env, hashes: tuple[str, ...]) -> tuple[NamedPolicy, ...] | None:
    """The kept managed session policies; None when one is missing (its denies are unknown, so nothing may be allowed)."""
    kept: list[NamedPolicy] = []
    for content_hash in hashes:
        content = await env.directory.policy_content(content_hash)
        if content is None and await feed_moved(env):
            content = await env.directory.policy_content(content_hash)
        if content is None:
            return None
        kept.append(content.policy)
    return tuple(kept)


@cache
def _nothing() -> NamedPolicy:
    """In place of a policy that is gone: it denies, because a grant that reaches past a silent layer must not pass it."""
    return NamedPolicy("missing", compile_stored("", PolicyKind.SESSION))


@lru_cache(maxsize=4096)
def _session_policy(text: str) -> NamedPolicy:
    return NamedPolicy("session", compile_stored(text, PolicyKind.SESSION))


@cache
def _everything() -> NamedPolicy:
    """What a root may do by itself; guardrails still bound it."""
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
    return NamedPolicy("root", compile_stored(text, PolicyKind.IDENTITY))
