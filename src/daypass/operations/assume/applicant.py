"""The applicant for a session: the one type that every entry point passes to `assume`.

A new kind of proof adds a verifier that creates a `Caller` or a `Proof`. This module does not change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from functools import partial
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.assumption import Assumption
from daypass.domain.claims import Caller, Proof, RequestFacts
from daypass.domain.context import (
    arrival_context,
    authentication_keys,
    pairs_of,
    principal_facts,
    request_context,
    sign_in_keys,
)
from daypass.domain.directory import Grant, ReplayEntry, Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import Party
from daypass.domain.policy.explain import denial_message
from daypass.domain.policy.model import Context, Decision, PrincipalFacts, Value
from daypass.domain.session import FeedPosition, Hop, transitive_tags
from daypass.domain.trust import Admission, AssumedRole, CallerPolicies
from daypass.operations.assume.mfa_code import mfa_context
from daypass.operations.assume.request import RequestedRole
from daypass.operations.authenticate import authenticated_again
from daypass.operations.authorize import admission_is_large, admission_may_be_large, admission_of, explained, layers_for
from daypass.operations.grants.use import candidates
from daypass.operations.outcome import ACTOR, OWNER, actor_of
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Call, Env, RoleView

Again = Callable[[Env], Awaitable[object]]
_NAME_LENGTH = 64


class IssuanceSnapshot(Struct, frozen=True):
    """Time (ms) and feed position, read together before the directory is read for an issuance."""

    now: int
    seen: FeedPosition


class SessionParent(Struct, frozen=True):
    """The parent of the new session."""

    hops: tuple[Hop, ...]  # the chain so far
    actor: Mapping[str, Any]  # the acting principal, for the event
    chained: bool = False  # the proof was itself a session
    tags: Tags = ()  # the tags inherited from the chain: transitive tags only
    source_identity: str = ""
    auth_method: str = "sigv4"
    not_after: int = 0  # ms; the end of the proof, and the latest end of its session; 0: no limit
    replays: tuple[ReplayEntry, ...] = ()  # the one-time proofs that the issuance consumes
    # Context keys that the new session stores: those that the proof passes to its own session but not to later ones,
    # and those of the person's sign-in.
    keys: Tags = ()
    client_id: str = ""  # the OAuth client of the request, otherwise that of the calling session
    # audiences, scopes: the ceilings of the new session; None: none.
    audiences: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    may_act: Party | None = None  # see SessionClaims


class Actor(Struct, frozen=True):
    """A verified party that acts for the subject (RFC 8693, 1.1)."""

    party: Party  # as named in a token
    arn: str  # the ARN of its principal or of its provider: daypass:ActorArn, and the client of the session
    principal_id: str  # daypass:ActorId
    hops: tuple[Hop, ...]  # its own chain, which becomes part of the session's, so that revoking it ends the session
    # tags, source_identity: inherited by the session.
    tags: Tags = ()
    source_identity: str = ""
    caller: Caller | None = None  # its principal in this installation; None when it was verified by a provider
    not_after: int = 0  # ms; the end of its access grant; 0: it uses none
    again: tuple[Again, ...] = ()  # see Applicant


class Applicant(Struct, frozen=True):
    """An applicant for a session."""

    principal: PrincipalFacts  # as trust policies match it
    parent: SessionParent  # the parent of the new session
    facts: RequestFacts  # how the request arrived
    snapshot: IssuanceSnapshot  # taken before any read that the session depends on; revocations are compared with it
    # Creates the context keys of the applicant and its request, a new mapping each time; called only if a policy tests
    # one.
    context: Callable[[], dict[str, Value]]
    # A principal of this installation, whose own policies must also allow the assumption. None: only the trust policy
    # decides.
    caller: Caller | None = None
    account: str = ""  # the only account whose roles the proof is valid for; "": any
    # Checks what else the session depends on, as it is now: the provider of the proof, the actor, the client.
    again: tuple[Again, ...] = ()

    @property
    def home_account(self) -> str:
        """The account of the caller or of its provider. Heavy work is charged to it."""
        return self.parent.hops[-1].account


async def check_again(env: Env, applicant: Applicant) -> None:
    """Checks everything that the session depends on: the decision may have waited for seconds (attack A617).

    Raises DaypassError.
    """
    if applicant.caller is not None:
        await authenticated_again(env, applicant.caller)
    for check in applicant.again:
        await check(env)


def snapshot(env: Env) -> IssuanceSnapshot:
    """Take it before any read that the session depends on."""
    return IssuanceSnapshot(env.clock.now(), env.directory.seen())


def signing_applicant(env: Env, call: Call, mfa_at: int = 0) -> Applicant:
    """The caller of a signed request. `mfa_at`: ms, when a code in the request was accepted; 0: no code."""
    caller, start = call.caller, IssuanceSnapshot(env.clock.now(), env.directory.seen())
    return Applicant(
        principal_facts(caller), parent_of(caller), call.facts, start, partial(_caller_context, call, mfa_at), caller
    )


def parent_of(caller: Caller) -> SessionParent:
    """A signing caller as the parent of a new session."""
    session = caller.session
    if session is None:
        return SessionParent(caller.hops, actor_of(caller), auth_method=caller.auth_method)
    return SessionParent(
        caller.hops,
        actor_of(caller),
        chained=True,
        tags=transitive_tags(session),
        source_identity=session.source_identity,
        auth_method=caller.auth_method,
        keys=sign_in_keys(session.keys) if session.keys else (),
        not_after=end_of_grant(caller),
        client_id="" if session.client_id.startswith("arn:") else session.client_id,
        audiences=session.audiences,
        scopes=session.scopes,
    )


def end_of_grant(caller: Caller) -> int:
    """The end (ms) of a session that an access grant gave, and of all that is made from it; 0 for any other."""
    return caller.session.expires_at if caller.session is not None and uses_grant(caller.hops) else 0


def uses_grant(hops: Iterable[Hop]) -> bool:
    """Whether an access grant gave a session of the chain: nothing that is made from it lasts longer (attack A213)."""
    return any(hop.grant_id for hop in hops)


def proven_applicant(call: Call, proof: Proof, start: IssuanceSnapshot, actor: Actor | None = None) -> Applicant:
    """The holder of a verified proof. `start`: the snapshot from before the proof's provider was read.

    Parties in the proof that act for the subject are hops of the chain. Raises DaypassError(INVALID_IDENTITY_TOKEN)
    when the proof names who may act and `actor` is not that party: omitting the actor must not give a session without
    it (attack A118).
    """
    if proof.may_act is not None and (actor is None or actor.party != proof.may_act):
        raise DaypassError(
            ErrorKind.INVALID_IDENTITY_TOKEN,
            "The token names who may act for its subject (may_act), and is accepted only together with a token of that party.",
            private={OWNER: proof.account, ACTOR: actor_of_proof(proof), "reason": "may_act"},
        )
    hops = proof_hops(proof, start)
    signed_in = authentication_keys(proof.authenticated_at, proof.methods, start.now)
    used = proof.one_time
    parent = SessionParent(
        hops=hops,
        actor=actor_of_proof(proof),
        auth_method=proof.method,
        not_after=proof.not_after,
        replays=(ReplayEntry(used.purpose, used.id, proof.account, start.now, used.expires_at),) if used else (),
        keys=pairs_of({**proof.session_keys, **signed_in}),
    )
    context = partial(proof_context, call, proof.keys, proof.method, signed_in)
    account = proof.account
    applicant = Applicant(proof.principal(), parent, call.facts, start, context, account=account, again=proof.again)
    return applicant if actor is None else acted_for(applicant, actor)


def proof_hops(proof: Proof, start: IssuanceSnapshot) -> tuple[Hop, ...]:
    """The first hops of a proof's chain: its subject, then the parties that act for it, newest last."""
    now, seen, account = start.now, start.seen, proof.account
    acting = [Hop("", account, _party_id(proof, p), now, seen, "", p.subject[:_NAME_LENGTH]) for p in proof.actors]
    first = Hop("", account, proof.principal_id, now, seen, "", proof.subject[:_NAME_LENGTH])
    return (first, *reversed(acting))


def _party_id(proof: Proof, party: Party) -> str:
    """The party in the form of `Proof.principal_id`, so that a revocation can name it."""
    foreign = "" if party.issuer == proof.issuer else f"{party.issuer}#"
    return f"{proof.provider}:{foreign}{party.subject}"


def acted_for(applicant: Applicant, actor: Actor) -> Applicant:
    """The applicant with an actor: the session is issued to the actor, on behalf of the subject.

    Raises DaypassError(INVALID_PARAMETER) when subject and actor have conflicting inherited values.
    """
    parent = applicant.parent
    twins = {key.lower() for key, _ in parent.tags} & {key.lower() for key, _ in actor.tags}
    if twins:
        raise DaypassError(ErrorKind.INVALID_PARAMETER, "Subject and actor pass on transitive tags with the same keys.")
    identities = {parent.source_identity, actor.source_identity} - {""}
    if len(identities) > 1:
        raise DaypassError(ErrorKind.INVALID_PARAMETER, "Subject and actor have different source identities.")
    acting = {"arn": actor.arn, "principal_id": actor.principal_id}
    keys = {"daypass:actorarn": actor.arn, "daypass:actorid": actor.principal_id}
    grown = replace(
        parent,
        hops=(*parent.hops, *actor.hops),
        actor={**parent.actor, "acting": acting},
        tags=(*parent.tags, *actor.tags),
        source_identity=identities.pop() if identities else "",
        client_id=actor.arn,
        not_after=min(filter(None, (parent.not_after, actor.not_after)), default=0),
    )
    context = partial(_with_keys, applicant.context, keys)
    return replace(applicant, parent=grown, context=context, again=(*applicant.again, *actor.again))


def with_keys(applicant: Applicant, keys: Mapping[str, Value], parent: SessionParent) -> Applicant:
    """The applicant with further context keys of its request, and with this parent of the new session."""
    return replace(applicant, parent=parent, context=partial(_with_keys, applicant.context, keys))


def _with_keys(context: Callable[[], dict[str, Value]], keys: Mapping[str, Value]) -> dict[str, Value]:
    return {**context(), **keys}


def actor_of_proof(proof: Proof) -> dict[str, Any]:
    """The actor of an event: the provider's user, as the provider describes it."""
    return {
        "kind": proof.kind,
        "account": proof.account,
        "arn": proof.provider,
        "principal_id": proof.principal_id,
        "access_key_id": "",
        "federated": {"issuer": proof.issuer, "subject": proof.subject, "audience": proof.audience, **proof.record},
    }


def proof_context(
    call: Call, keys: Mapping[str, Value], method: str, signed_in: Mapping[str, Value]
) -> dict[str, Value]:
    """The context keys of a request whose caller is verified by a provider through `method` and has these `keys`.

    `signed_in`: `authentication_keys`.
    """
    return {**arrival_context(call.facts, call.now), **keys, **signed_in, "daypass:authmethod": method}


def _caller_context(call: Call, mfa_at: int) -> dict[str, Value]:
    context = request_context(call.caller, call.facts, call.now)
    if mfa_at:
        context |= mfa_context(mfa_at)
    return context


# --- Decides whether an applicant may assume a role, for every entry point


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
        absent = "no role in the account of the provider has this ARN"
    else:
        message = f"User: {caller.arn} is not authorized to perform: {query.action} on resource: {role.arn}"
        if view is not None and caller.account == role.account:
            message = denial_message(query, admission.decision, caller.arn)
        absent = "no role has this ARN" if owner == role.account else ""
    if view is None and absent:
        explanation = {**explanation, "role": absent}
    return DaypassError(ErrorKind.ACCESS_DENIED, message, private=private, explanation=explanation)
