"""Authorizes one action: collects the caller's policy layers and decides.

Policies are read live, by unique id. A stale cache never causes a refusal: the change feed is polled once and, if it
moved, the decision is made again. A session is trusted only for what was sealed into it. If the text of a managed
session policy is no longer stored, its whole level allows nothing.

Every operation asks here, also one that needs no permission (`Own`): a policy can always deny it. A decision, or work
before it, may wait for seconds, so the credentials of the caller are checked again after it (attack A617).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache, lru_cache
from itertools import chain
from typing import Any, Final, TypeVar

from msgspec import structs
from msgspec.structs import replace

from daypass.domain.arn import account_of
from daypass.domain.claims import Caller
from daypass.domain.context import merged, principal_facts, request_context, resource_context
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import BUILT_IN
from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import denial_message, explain
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Context, Decision, PrincipalFacts, Value
from daypass.domain.session import PASSKEY, PASSWORD, SessionClaims, SessionKind, scope_downs
from daypass.domain.trust import Admission, AssumedRole, CallerPolicies, admit
from daypass.operations import blocks, heavy
from daypass.operations.authenticate import authenticated_again
from daypass.operations.outcome import OWNER
from daypass.operations.principals import SizedCache, refresh_if_changed
from daypass.ports import Call, Env

T = TypeVar("T")

_SESSION_POLICIES = 2_000_000  # characters of cached session policies, per process
_INVALID_TOKEN = "The security token included in the request is invalid"

# AWS page "Compare AWS STS credentials": which STS operations each kind of temporary credentials may call.
_STS_FOR_ALL = frozenset({"sts:GetCallerIdentity", "sts:GetScopedCredentials", "sts:GetDelegatedAccessToken"})
_STS_OF: Mapping[SessionKind, frozenset[str]] = {
    SessionKind.USER: _STS_FOR_ALL | {"sts:AssumeRole", "sts:GetWebIdentityToken", "sts:TagGetWebIdentityToken"},
    SessionKind.FEDERATED: _STS_FOR_ALL,
}
_LONG_TERM_ONLY = frozenset({"sts:GetSessionToken", "sts:GetFederationToken"})
_DECODE = "sts:DecodeAuthorizationMessage"


class Own(Enum):
    """Why an operation needs no permission, and what can withhold it all the same."""

    RESOURCE = "resource"
    """It is on the caller's own resource: an implicit policy of the caller allows it. Denies, guardrails, boundary and session
    policies apply. Applications and actors have no such policy: who consents to a role, or delegates, gives nothing else.
    """
    RESTRICTED = "restricted"
    """Its result is bound by the policies of the caller, so they need not allow the operation itself: a session makes a
    narrower one. Denies and guardrails apply.
    """


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

    `context`: further context keys, lower-cased; they override the global ones. `resource_policy` and `bindings`: the
    policy of the resource, if it has one. `shown`: the name of the resource in a denial, if not its ARN. Raises
    DaypassError(ACCESS_DENIED) with AWS's message and the explanation.
    """
    account = account_of(resource) or call.caller.account
    same_account = account == call.caller.account

    def layers(policies: CallerPolicies) -> Layers:
        return policies.layers(same_account=same_account, resource=resource_policy, bindings=bindings)

    keys = merged(request_context(call.caller, call.facts, call.now), resource_context(account), context or {})
    return await _decided(env, call, AccessQuery(principal_facts(call.caller), action, resource, keys), layers, shown)


async def authorize_own(env: Env, call: Call, action: str, resource: str, own: Own = Own.RESOURCE) -> Decision:
    """As `authorize`, for an operation that needs no permission. `resource`: one of the caller's account, or "*"."""
    keys = merged(request_context(call.caller, call.facts, call.now), resource_context(call.caller.account))
    query = AccessQuery(principal_facts(call.caller), action, resource, keys)
    session = call.caller.session
    implicit = own is Own.RESTRICTED or session is None or session.client_id in ("", *BUILT_IN)

    def layers(policies: CallerPolicies) -> Layers:
        found = policies.layers(same_account=True)
        return _with_own(found, own) if implicit else found

    return await _decided(env, call, query, layers)


async def _decided(
    env: Env, call: Call, query: AccessQuery, layers: Callable[[CallerPolicies], Layers], shown: str = ""
) -> Decision:
    check_credentials(call.caller, query.action)
    used = layers(await layers_for(env, call.caller))
    decision, explanation = await decide(env, call.caller.account, query, used)
    if not decision.allowed and await refresh_if_changed(env):
        used = layers(await layers_for(env, call.caller))
        decision, explanation = await decide(env, call.caller.account, query, used)
    if decision.allowed:
        await authenticated_again(env, call.caller)
        return decision
    message = denial_message(query, decision, call.caller.arn, shown)
    raise DaypassError(
        ErrorKind.ACCESS_DENIED,
        message.replace(" on resource: *", "", 1) if query.resource == "*" else message,  # AWS's wording
        private={OWNER: call.caller.account, "resource": query.resource},
        explanation=explanation or await explained(env, call.caller.account, query, used),
    )


def _with_own(layers: Layers, own: Own) -> Layers:
    allowed = _own()
    layers = structs.replace(layers, identity=(*(layers.identity or ()), allowed))
    if own is Own.RESOURCE:
        return layers
    boundary = layers.boundary if layers.boundary is None else (*layers.boundary, allowed)
    return structs.replace(layers, boundary=boundary, session=tuple((*level, allowed) for level in layers.session))


async def would_allow(env: Env, call: Call, questions: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether the policies of the caller allow each action on its resource, for a menu: nobody relies on the answers, and
    they are not recorded. Policies that are expensive to match are not asked: all answers are then true.
    """
    caller, policies = call.caller, await layers_for(env, call.caller)
    layers, facts = policies.layers(same_account=True), principal_facts(caller)
    keys = merged(request_context(caller, call.facts, call.now), resource_context(caller.account))
    if is_large(of_layers(layers), lambda: keys):
        return [True] * len(questions)
    answers = []
    for action, resource in questions:
        await asyncio.sleep(0)  # lets other requests run between two decisions (attack A314)
        query = AccessQuery(facts, action, resource, keys)
        answers.append(_may_call(caller, action) and evaluate(query, layers).allowed)
    return answers


def _may_call(caller: Caller, action: str) -> bool:
    try:
        check_credentials(caller, action)
    except DaypassError:
        return False
    return True


def check_credentials(caller: Caller, action: str) -> None:
    """Refuses the operations that AWS does not let this kind of temporary credentials call, whatever the policies say.

    For GetSessionToken credentials without MFA, and those of federated users, IAM's error is the one for unknown
    credentials.
    """
    session = caller.session
    if session is None:
        return
    allowed = _STS_OF.get(session.kind)
    service, _, operation = action.partition(":")
    explains = action == _DECODE and session.auth_method in (
        PASSWORD,
        PASSKEY,
    )  # people read explanations in the console
    if action in _LONG_TERM_ONLY or (
        service == "sts" and allowed is not None and action not in allowed and not explains
    ):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"Cannot call {operation} with session credentials",
            private={"reason": "kind of credentials", "session_kind": session.kind.value},
        )
    signed_in = bool(caller.mfa_at) or session.auth_method == PASSWORD  # as in AWS's console
    if service == "iam" and allowed is not None and not (session.kind is SessionKind.USER and signed_in):
        raise DaypassError(
            ErrorKind.UNKNOWN_CREDENTIALS,
            _INVALID_TOKEN,
            private={"reason": "IAM takes these credentials only with MFA", "session_kind": session.kind.value},
        )


async def layers_for(env: Env, caller: Caller) -> CallerPolicies:
    """The caller's own layers, as they are now. A deleted principal has no policies: nothing is allowed.

    While neither its policies nor the guardrails change, a caller without session policies gets the same object.
    """
    account, session = await env.directory.account(caller.account), caller.session
    guardrails = account.guardrails if account is not None else ((),)
    if (block := blocks.on_caller(env, caller)) is not None:
        guardrails = (*guardrails, *blocks.levels_of([block]))
    levels: tuple[tuple[NamedPolicy, ...], ...] = ()
    owner_id, narrowed = caller.principal_id, 0
    if session is not None:
        levels, narrowed = await _session_levels(env, session), len(scope_downs(session))
        if session.kind is SessionKind.FEDERATED:  # the policies of the user, or root, behind it apply
            owner_id = session.user_id
    if owner_id == caller.account:
        return CallerPolicies((_everything(),), None, levels, guardrails, narrowed)
    if session is not None and session.kind is SessionKind.ROLE:
        role = await env.directory.role_by_id(owner_id)
        view = role.principal if role is not None else None
    else:
        view = await env.directory.user(owner_id)
    if view is None:
        return CallerPolicies((), None, levels, guardrails, narrowed)
    if levels:
        return CallerPolicies(view.identity, view.boundary, levels, guardrails, narrowed)
    return view.layers.under(guardrails)


async def _session_levels(env: Env, session: SessionClaims) -> tuple[tuple[NamedPolicy, ...], ...]:
    """One level for the session policies of the issuing call, inline and managed together, and one for each scope-down.

    A federated user without a session policy has no permissions of its own, so its first level is present but empty.
    """
    levels: list[tuple[NamedPolicy, ...]] = []
    if session.base_policy or session.policy_hashes or session.kind is SessionKind.FEDERATED:
        inline = (_session_policy(session.policies[0]),) if session.base_policy else ()
        managed = await _managed(env, session.policy_hashes)
        levels.append((*inline, *managed) if managed is not None else (_nothing(),))
    levels.extend((_session_policy(text),) for text in scope_downs(session))
    return tuple(levels)


async def _managed(env: Env, hashes: tuple[str, ...]) -> tuple[NamedPolicy, ...] | None:
    """The stored managed session policies; None when one is missing (its denies are unknown, so nothing may be allowed)."""
    policies: list[NamedPolicy] = []
    for content_hash in hashes:
        content = await env.directory.policy_content(content_hash)
        if content is None and await refresh_if_changed(env):
            content = await env.directory.policy_content(content_hash)
        if content is None:
            return None
        policies.append(content.policy)
    return tuple(policies)


@cache
def _nothing() -> NamedPolicy:
    """Replaces a missing policy. It denies, because some grants override implicit denies and must not override this one."""
    return NamedPolicy("missing", compile_stored("", PolicyKind.SESSION))


_session_policy: SizedCache[NamedPolicy] = SizedCache(
    lambda text: NamedPolicy("session", compile_stored(text, PolicyKind.SESSION)), _SESSION_POLICIES
)


@cache
def _own() -> NamedPolicy:
    """Allows what needs no permission. Only queries on what is the caller's own see it."""
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["daypass:*","iam:*","sts:*","signin:*"],"Resource":"*"}]}'
    return NamedPolicy("own", compile_stored(text, PolicyKind.IDENTITY))


@cache
def _everything() -> NamedPolicy:
    """The own policies of a root: everything is allowed, within the guardrails."""
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
    return NamedPolicy("root", compile_stored(text, PolicyKind.IDENTITY))


# --- Makes decisions: on the event loop when they are cheap, as heavy work when they are expensive


INLINE: Final = 100_000
"""Maximum patterns times characters matched on the event loop."""

_LONGEST: Final = 16_384  # maximum characters of a context value from a request's headers


async def decide(
    env: Env, account: str, query: AccessQuery, layers: Layers
) -> tuple[Decision, Mapping[str, Any] | None]:
    """The decision of the one evaluator, on behalf of `account`. If another process refuses, it also explains."""
    if is_large(of_layers(layers), lambda: query.context):
        return await heavy.compute(env, account, _decide_decided, query, layers)
    return evaluate(query, layers), None


async def explained(env: Env, account: str, query: AccessQuery, layers: Layers) -> Mapping[str, Any]:
    """The explanation of a decision, in its JSON form."""
    if is_large(of_layers(layers), lambda: query.context):
        return await heavy.compute(env, account, _explained, query, layers)
    return _explained(query, layers)


async def admission_of(
    env: Env,
    account: str,
    principal: PrincipalFacts,
    policies: CallerPolicies,
    target: AssumedRole,
    actions: tuple[str, ...],
    context: Context,
) -> Admission:
    """See `domain.trust.admit`. A decision from another process has no `sides` and cannot be cached. If it is a refusal,
    it is explained.
    """
    if admission_is_large(policies, target.trust, lambda: context):
        return await heavy.compute(env, account, _admitted, principal, policies, target, actions, context)
    return admit(principal, policies, target, actions, context)


def admission_is_large(policies: CallerPolicies, trust: NamedPolicy | None, context: Callable[[], Context]) -> bool:
    """Whether admission to a role with this trust policy is too expensive for the event loop."""
    return is_large(_of_admission(policies, trust), context)


def admission_may_be_large(policies: CallerPolicies, trust: NamedPolicy | None) -> bool:
    """Whether `admission_is_large` depends on the context. False: it is not large, whatever the context."""
    return _patterns_of(_of_admission(policies, trust)) * _LONGEST > INLINE


def is_large(policies: Iterable[NamedPolicy], context: Callable[[], Context]) -> bool:
    """Whether matching these policies with this context takes more than `INLINE` steps.

    The context is computed only when the policies have enough general patterns.
    """
    patterns = _patterns_of(policies)
    if patterns * _LONGEST <= INLINE:
        return False
    longest = max(
        (len(value) if isinstance(value, str) else sum(map(len, value)) for value in context().values()), default=0
    )
    return patterns * longest > INLINE


def _patterns_of(policies: Iterable[NamedPolicy]) -> int:
    return sum(_general_patterns(policy.document) for policy in policies)


@lru_cache(maxsize=8192)
def _general_patterns(document: PolicyDocument) -> int:
    """The number of a document's patterns that are not a literal, prefix or suffix: those are tested in C code."""
    found = 0
    for statement in document.statements:
        values = (value for condition in statement.conditions for value in condition.values)
        written = (value for name in ("Resource", "NotResource") for value in statement.written.get(name, ()))
        found += sum(_is_general(value) for value in (*values, *written))
    return found


def _is_general(pattern: str) -> bool:
    inner = pattern[1:] if pattern.startswith("*") else pattern.removesuffix("*")
    return "*" in inner or "?" in inner


def of_layers(layers: Layers) -> Iterator[NamedPolicy]:
    """Every policy of the layers."""
    if layers.resource is not None:
        yield layers.resource
    yield from layers.identity or ()
    yield from layers.boundary or ()
    for level in (*layers.session, *layers.guardrails):
        yield from level


def _of_admission(policies: CallerPolicies, trust: NamedPolicy | None) -> tuple[NamedPolicy, ...]:
    return (*_of_caller(policies), *((trust,) if trust is not None else ()))


def _of_caller(policies: CallerPolicies) -> tuple[NamedPolicy, ...]:
    levels = (policies.identity or (), policies.boundary or (), *policies.session, *policies.guardrails)
    return tuple(chain.from_iterable(levels))


# --- As heavy work -----------------------------------------------------------------------------------------------------


_NO_LAYERS: Final = Layers(same_account=False, identity=None)


def _explained(query: AccessQuery, layers: Layers) -> Mapping[str, Any]:
    return explain(query, layers).to_json()


def _decide_decided(query: AccessQuery, layers: Layers) -> tuple[Decision, Mapping[str, Any] | None]:
    decision = evaluate(query, layers)
    return decision, None if decision.allowed else _explained(query, layers)


def _admitted(
    principal: PrincipalFacts, policies: CallerPolicies, target: AssumedRole, actions: tuple[str, ...], context: Context
) -> Admission:
    """A refusal is explained here, so that its policies need not travel back and forth once more."""
    admission = replace(admit(principal, policies, target, actions, context), sides=())
    if admission.decision.allowed:
        return admission
    return replace(admission, layers=_NO_LAYERS, explanation=_explained(admission.query, admission.layers))
