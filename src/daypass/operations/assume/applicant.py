"""The applicant for a session: the one type that every entry point passes to `assume`.

A new kind of proof adds a verifier that creates a `Caller` or a `Proof`. This module does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.context import (
    arrival_context,
    authentication_keys,
    pairs_of,
    principal_facts,
    request_context,
    sign_in_keys,
)
from daypass.domain.delegation import Party
from daypass.domain.directory import ReplayEntry, Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.proof import Proof
from daypass.domain.session import FeedPosition, Hop, transitive_tags
from daypass.operations.assume.mfa_code import mfa_context
from daypass.operations.outcome import ACTOR, OWNER, actor_of
from daypass.ports import Call, Env

_NAME_LENGTH = 64


class IssuanceSnapshot(Struct, frozen=True):
    """Time (ms) and feed position, read together before the directory is read for an issuance."""

    now: int
    seen: FeedPosition


class SessionParent(Struct, frozen=True):
    """The parent of the new session.

    Attributes:
        hops: the chain so far.
        actor: the acting principal, for the event.
        chained: the proof was itself a session.
        tags: the tags inherited from the chain: transitive tags only.
        not_after: ms; the end of the proof, and the latest end of its session; 0: no limit.
        replays: the one-time proofs that the issuance consumes.
        keys: context keys that the new session stores: those that the proof passes to its own session but not to later
            ones, and those of the person's sign-in.
        client_id: the OAuth client of the request, otherwise that of the calling session.
        audiences, scopes: the ceilings of the new session; None: none.
        may_act: see SessionClaims.
    """

    hops: tuple[Hop, ...]
    actor: Mapping[str, Any]
    chained: bool = False
    tags: Tags = ()
    source_identity: str = ""
    auth_method: str = "sigv4"
    not_after: int = 0
    replays: tuple[ReplayEntry, ...] = ()
    keys: Tags = ()
    client_id: str = ""
    audiences: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    may_act: Party | None = None


class Actor(Struct, frozen=True):
    """A verified party that acts for the subject (RFC 8693, 1.1).

    Attributes:
        party: as named in a token.
        arn: the ARN of its principal or of its provider: daypass:ActorArn, and the client of the session.
        principal_id: daypass:ActorId.
        hops: its own chain, which becomes part of the session's, so that revoking it ends the session.
        tags, source_identity: inherited by the session.
        caller: its principal in this installation; None when it was verified by a provider.
        not_after: ms; the end of its access grant; 0: it uses none.
    """

    party: Party
    arn: str
    principal_id: str
    hops: tuple[Hop, ...]
    tags: Tags = ()
    source_identity: str = ""
    caller: Caller | None = None
    not_after: int = 0


class Applicant(Struct, frozen=True):
    """An applicant for a session.

    Attributes:
        principal: as trust policies match it.
        parent: the parent of the new session.
        facts: how the request arrived.
        snapshot: taken before any read that the session depends on; revocations are compared with it.
        context: creates the context keys of the applicant and its request, a new mapping each time; called only if a
            policy tests one.
        caller: a principal of this installation, whose own policies must also allow the assumption. None: only the
            trust policy decides.
        account: the only account whose roles the proof is valid for; "": any.
    """

    principal: PrincipalFacts
    parent: SessionParent
    facts: RequestFacts
    snapshot: IssuanceSnapshot
    context: Callable[[], dict[str, Value]]
    caller: Caller | None = None
    account: str = ""

    @property
    def home_account(self) -> str:
        """The account of the caller or of its provider. Heavy work is charged to it."""
        return self.parent.hops[-1].account


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
    applicant = Applicant(proof.principal(), parent, call.facts, start, context, account=proof.account)
    return applicant if actor is None else acted_for(applicant, actor)


def proof_hops(proof: Proof, start: IssuanceSnapshot) -> tuple[Hop, ...]:
    """The first hops of a proof's chain: its subject, then the parties that act for it, newest last."""
    now, seen, account = start.now, start.seen, proof.account
    acting = [Hop("", account, _party_id(proof, p), now, seen, "", p.subject[:_NAME_LENGTH]) for p in proof.actors]
    first = Hop("", account, proof.principal_id, now, seen, "", proof.subject[:_NAME_LENGTH])
    return (first, *reversed(acting))


def _party_id(proof: Proof, party: Party) -> str:
    """In the form of `Proof.principal_id`, so that a revocation can also name the party."""
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
    return replace(applicant, parent=grown, context=partial(_with_keys, applicant.context, keys))


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
