"""Decides whether an applicant may assume a role, for every entry point.

An applicant that is not admitted learns nothing about the role. Between accounts, and for applicants without an
identity here, a refusal is the same whether the role exists or not. The record of the deciding account has the details.
"""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.assumption import Assumption
from daypass.domain.directory import Grant
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.explain import denial_message
from daypass.domain.policy.model import Context, Decision
from daypass.domain.trust import Admission, AssumedRole, CallerPolicies
from daypass.operations.assume.applicant import Applicant
from daypass.operations.assume.request import RequestedRole
from daypass.operations.authorize import layers_for, refresh_if_changed
from daypass.operations.decide import admission_is_large, admission_may_be_large, admission_of, explained
from daypass.operations.grants.use import candidates
from daypass.operations.outcome import ACTOR, OWNER
from daypass.ports import Env, RoleView

_TRUST_ALONE: Final = CallerPolicies(identity=None)


def target_of(arn: str, account: str, view: RoleView | None) -> AssumedRole:
    """The requested role, as the decision needs it; None when the role does not exist."""
    if view is None:
        return AssumedRole(arn, account)
    return AssumedRole(arn, account, view.trust, view.bindings, view.role.tags)


async def admitted(
    env: Env,
    applicant: Applicant,
    role: RequestedRole,
    assumption: Assumption,
    action: str,
    refused: Container[str] = (),
) -> tuple[RoleView, Decision, Grant | None]:
    """The role, the decision that admits the applicant, and the access grant that it needs. `refused`: ids of grants that
    gave no session. Raises DaypassError(ACCESS_DENIED).

    A stale cache never causes a refusal: the change feed is polled once and, if it moved, the decision is made again.
    A grant is used only if the applicant is not admitted without it.
    """
    principal, actions = applicant.principal, assumption.actions(action)
    context = partial(_context, applicant, assumption)
    caller = applicant.caller
    view = await _role(env, applicant, role)
    policies = await layers_for(env, caller) if caller is not None else _TRUST_ALONE
    if view is not None:
        cached = view.decisions.of(principal, policies, actions)
        # The cache saves the decision but not the tests of conditions. When these are large, a worker process does all of it.
        if cached is not None and not (cached.may_be_large and admission_is_large(policies, view.trust, context)):
            decision = cached.find(context)
            if decision is not None:
                return view, decision, None
    take = partial(admission_of, env, applicant.home_account, principal)
    admission = await take(policies, target_of(role.arn, role.account, view), actions, context())
    if not admission.decision.allowed and await refresh_if_changed(env):
        view = await _role(env, applicant, role)
        policies = await layers_for(env, caller) if caller is not None else _TRUST_ALONE
        admission = await take(policies, target_of(role.arn, role.account, view), actions, context())
    if view is not None and view.grants and not admission.decision.allowed:
        for grant in candidates(view, applicant.parent.hops, applicant.snapshot.now, refused):
            keys = _context(applicant, replace(assumption, grant=grant))
            admission = await take(policies, target_of(role.arn, role.account, view), actions, keys)
            if admission.decision.allowed:
                return view, admission.decision, grant
    if view is None or not admission.decision.allowed:
        raise await _denied(env, applicant, role, view, admission)
    if admission.sides and not policies.session:  # they are a new object each time
        large = admission_may_be_large(policies, view.trust)
        view.decisions.keep(principal, policies, actions, admission, context, may_be_large=large)
    return view, admission.decision, None


def _context(applicant: Applicant, assumption: Assumption) -> Context:
    context = applicant.context()
    context.pop("daypass:grantid", None)  # that of the calling session is for another role
    context |= assumption.keys()
    return context


async def _role(env: Env, applicant: Applicant, role: RequestedRole) -> RoleView | None:
    """The role with exactly this ARN, if the applicant's proof is valid for its account (attack A33).

    A different path or different case does not match.
    """
    view = await env.directory.role(role.account, role.name)
    if view is None or view.role.arn != role.arn or (applicant.account and view.role.account != applicant.account):
        return None
    return view


async def _denied(
    env: Env, applicant: Applicant, role: RequestedRole, view: RoleView | None, admission: Admission
) -> DaypassError:
    caller, query, owner = applicant.caller, admission.query, admission.owner
    private: dict[str, Any] = {OWNER: owner, "resource": role.arn, "action": query.action}
    explanation = admission.explanation or await explained(env, applicant.home_account, query, admission.layers)
    if caller is None:
        message = f"Not authorized to perform {query.action}"
        private |= {OWNER: role.account, ACTOR: applicant.parent.actor}
        absent = "there is no role with this ARN in the account of the provider"
    else:
        message = f"User: {caller.arn} is not authorized to perform: {query.action} on resource: {role.arn}"
        if view is not None and caller.account == role.account:
            message = denial_message(query, admission.decision, caller.arn)
        absent = "there is no role with this ARN" if owner == role.account else ""
    if view is None and absent:
        explanation = {**explanation, "role": absent}
    return DaypassError(ErrorKind.ACCESS_DENIED, message, private=private, explanation=explanation)
