"""From a verified proof to a role session: the one way for tokens, assertions and certificates.

A verifier says who it is (`Proof`); the role's trust policy decides, as for AssumeRole, and the session is issued as
AssumeRole's is. Whoever has no identity here learns nothing but that it may not: the words are the same whether the role
exists, and whichever condition failed; the record of the role's account has it all.
"""

from __future__ import annotations

from typing import Any

from daypass.domain.context import arrival_context, assumption_context, merged, pairs_of
from daypass.domain.directory import Redeemed
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.explain import explain
from daypass.domain.policy.model import Context, Decision
from daypass.domain.proof import Proof
from daypass.domain.session import Hop
from daypass.domain.trust import Admission, CallerPolicies, Target, actions_for, admit
from daypass.operations.assume_role import RequestedRole
from daypass.operations.authorize import feed_moved
from daypass.operations.issue import (
    Issued,
    Origin,
    SessionRequest,
    Started,
    check_policies,
    inherit,
    issue_role_session,
)
from daypass.operations.outcome import ACTOR, OWNER
from daypass.ports import Call, Env, RoleView

_NAME_LENGTH = 64


async def assume_with_proof(
    env: Env,
    call: Call,
    proof: Proof,
    role: RequestedRole,
    request: SessionRequest,
    started: Started,
    *,
    action: str,
) -> tuple[Issued, RoleView]:
    """A session of `role` for whom `proof` vouches. `request` holds the proof's own tags and source identity already.

    Args:
        started: taken before the proof's provider was read.
        action: what the trust policy must allow: "sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML", ….

    Raises DaypassError: ACCESS_DENIED, INVALID_IDENTITY_TOKEN when a one-time proof was used before, and what `issue` raises.
    """
    check_policies(request)
    origin = _origin(proof, started)
    inherited = inherit(origin, request)
    context = merged(
        arrival_context(call.facts, call.now),
        proof.keys,
        {"daypass:authmethod": proof.method},
        assumption_context(
            session_name=request.name,
            source_identity=inherited.source_identity,
            tags=inherited.tags,
            transitive_keys=inherited.transitive_keys,
        ),
    )
    actions = actions_for(inherited.tags, inherited.source_identity, action)
    view, decision = await _admitted(env, proof, role, actions, context)
    try:
        issued = await issue_role_session(env, call.facts, origin, view, request, inherited, started, decision)
    except DaypassError as error:
        if origin.redeem is None or error.kind is not ErrorKind.ALREADY_EXISTS:
            raise
        raise _used(proof, view) from None
    return issued, view


def actor_of_proof(proof: Proof) -> dict[str, Any]:
    """Who acted, for an event: the provider's user, with what the provider said of it."""
    return {
        "kind": proof.kind,
        "account": proof.account,
        "arn": proof.provider,
        "principal_id": proof.principal_id,
        "access_key_id": "",
        "federated": {"issuer": proof.issuer, "subject": proof.subject, "audience": proof.audience, **proof.record},
    }


def _origin(proof: Proof, started: Started) -> Origin:
    first = Hop("", proof.account, proof.principal_id, started.now, started.seen, "", proof.subject[:_NAME_LENGTH])
    used = proof.one_time
    return Origin(
        hops=(first,),
        actor=actor_of_proof(proof),
        auth_method=proof.method,
        not_after=proof.not_after,
        redeem=Redeemed(used.purpose, used.id, proof.account, started.now, used.expires_at) if used else None,
        keys=pairs_of(proof.session_keys),
    )


# --- May they --------------------------------------------------------------------------------------------------------


async def _admitted(
    env: Env, proof: Proof, role: RequestedRole, actions: tuple[str, ...], context: Context
) -> tuple[RoleView, Decision]:
    view, admission = await _decide(env, proof, role, actions, context)
    if not admission.decision.allowed and await feed_moved(env):
        view, admission = await _decide(env, proof, role, actions, context)
    if view is None or not admission.decision.allowed:
        raise _denied(proof, role, view, admission)
    return view, admission.decision


async def _decide(
    env: Env, proof: Proof, role: RequestedRole, actions: tuple[str, ...], context: Context
) -> tuple[RoleView | None, Admission]:
    view = await env.directory.role(role.account, role.name)
    if view is not None and (view.role.arn != role.arn or view.role.account != proof.account):
        view = None  # another role, or a provider of another account than the role's (attack A33)
    target = Target(role.arn, role.account)
    if view is not None:
        target = Target(role.arn, role.account, view.trust, view.bindings, view.role.tags)
    return view, admit(proof.principal(), CallerPolicies(identity=None), target, actions, context)


def _denied(proof: Proof, role: RequestedRole, view: RoleView | None, admission: Admission) -> DaypassError:
    action = admission.query.action
    explanation = explain(admission.query, admission.layers).to_json()
    if view is None:
        explanation = {**explanation, "role": "there is no role with this ARN in the account of the provider"}
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"Not authorized to perform {action}",
        private={OWNER: role.account, "resource": role.arn, "action": action, ACTOR: actor_of_proof(proof)},
        explanation=explanation,
    )


def _used(proof: Proof, view: RoleView) -> DaypassError:
    return DaypassError(
        ErrorKind.INVALID_IDENTITY_TOKEN,
        "The proof has been used before, and may be used once only.",
        private={OWNER: view.role.account, "reason": "replay", ACTOR: actor_of_proof(proof)},
    )
