"""Browser sign-in with SAML: from a person's identity provider to credentials of a role.

`accept` verifies and consumes a response. The person then chooses one of the roles that it offers. `choose` returns the
session or, for a waiting command line, a code that only that command line can exchange for it (`redeem`). Each step
receives what the previous one sealed. Trust policies decide at the end, as in AssumeRoleWithSAML.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.structs import replace as replace_struct

from daypass.domain.arn import Source
from daypass.domain.assertion import Assertion, refuse, replay_entry, role_pairs, session_name
from daypass.domain.claims import Proof
from daypass.domain.directory import ReplayEntry, SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind, replaced
from daypass.domain.events import Event, EventType
from daypass.domain.jws import base64url
from daypass.operations.assume.applicant import actor_of_proof, proven_applicant, snapshot
from daypass.operations.assume.assume import assume
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Also, Issued
from daypass.operations.assume.proofs import (
    WITH_SAML,
    RequestedProvider,
    check_offered,
    owned,
    provider_of,
    requested_provider,
    requested_session,
    saml_proof,
    verified_assertion,
)
from daypass.operations.assume.request import AssumeRequest, requested_role
from daypass.operations.assume.saml_ticket import (
    CHOICE,
    CHOICE_MS,
    CODE,
    CODE_MS,
    CommandLine,
    Login,
    SamlTicket,
    WaitingBrowser,
    open_login,
    open_ticket,
    seal_login,
    seal_ticket,
)
from daypass.operations.outcome import event_of
from daypass.operations.principals import find_current, refresh_if_changed
from daypass.ports import Call, Env, SamlArrival, Tx

C = TypeVar("C")

_MAX_PROVIDERS: Final = 10  # providers tried with one response
_REQUEST: Final = "_daypass-"


@dataclass(frozen=True, slots=True)
class Choice:
    """The available roles: (role ARN, provider ARN), and the ticket to send with the choice."""

    ticket: str
    subject: str
    issuer: str
    pairs: tuple[tuple[str, str], ...]
    command_line: CommandLine | None
    browser: WaitingBrowser | None = None


class GrantedSession(Struct, Generic[C], frozen=True):
    """A session, or the address to which the browser takes its code."""

    role: str
    issued: Issued[C] | None = None
    redirect: str = ""


async def begin(env: Env, call: Call, provider_arn: str, waiting: CommandLine | WaitingBrowser) -> str:
    """The address at which the browser signs in, for a command line or for itself. Raises DaypassError."""
    verifier = env.saml
    provider = await _known_provider(env, requested_provider(provider_arn))
    login = Login(env.ids.session(), waiting)
    relay_state, again = (
        seal_login(env, login, call.now),
        isinstance(waiting, WaitingBrowser) and waiting.fresh_after > 0,
    )
    request_id = f"{_REQUEST}{login.request_id}"
    where = await verifier.request_url(provider, request_id, relay_state, call.now, again=again)
    if not where:
        raise refuse("Logins do not begin here: the provider's metadata has no address for them (HTTP-Redirect)")
    return where


async def accept(
    env: Env, call: Call, unverified_response: str, unverified_relay_state: str, wanted: RequestedProvider | None
) -> Choice:
    """Verifies and consumes a response from a browser. `wanted`: the provider whose own address received it.

    Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM.
    """
    verifier = env.saml
    login = open_login(env, unverified_relay_state, call.now)
    candidates = [wanted] if wanted else await _unverified_providers(env, unverified_response, call.facts.source)
    known = await provider_of(env, wanted) if wanted else None
    url = verifier.acs_url(known) if known else verifier.acs_url()
    arrival = SamlArrival(url, f"{_REQUEST}{login.request_id}" if login else "", call.facts.source)
    verified = await _verified(env, candidates, unverified_response, call.now, arrival)
    assertion, first = verified[0]
    session_name(assertion)
    proof = saml_proof(assertion, first, replay_entry(assertion))
    arns = tuple(provider.arn for _, provider in verified)
    pairs = tuple(pair for pair in role_pairs(assertion.values("Role")) if pair[1] in arns)
    if not pairs:
        raise owned(refuse("The response offers no role together with the provider that signed it"), first.account)
    await _consume(env, call, proof)
    waiting = login.waiting if login else None
    ticket = SamlTicket(
        id=env.ids.session(),
        expires_at=call.now + CHOICE_MS,
        assertion=assertion.essential(),
        pairs=pairs,
        command_line=waiting if isinstance(waiting, CommandLine) else None,
        browser=waiting if isinstance(waiting, WaitingBrowser) else None,
    )
    sealed = seal_ticket(env, CHOICE, ticket)
    return Choice(sealed, assertion.subject, assertion.issuer, pairs, ticket.command_line, ticket.browser)


async def choose(
    env: Env, call: Call, unverified_ticket: str, unverified_choice: str, form: Form[C]
) -> GrantedSession[C]:
    """The chosen role, by its index in `Choice.pairs`: its session or, for a command line, the code for it.

    Raises DaypassError.
    """
    made = chosen(env, call, unverified_ticket, unverified_choice)
    ticket, pair = made.ticket, made.pair
    if ticket.browser is not None:  # the person was not offered credentials
        raise refuse("This login signs in a browser, and gives no credentials", reason="browser")
    line = ticket.command_line
    if line is None:
        return GrantedSession(pair[0], issued=await assume_chosen(env, call, made, form))
    narrowed = replace(ticket, expires_at=call.now + CODE_MS, assertion=ticket.assertion.offering(*pair), pairs=(pair,))
    code, issuer = seal_ticket(env, CODE, narrowed), env.limits.public_url.rstrip("/")
    answer = {"code": code, "state": state_of(line.challenge), "iss": issuer}
    return GrantedSession(pair[0], redirect=f"http://127.0.0.1:{line.port}/?{urlencode(answer)}")


async def redeem(
    env: Env, call: Call, unverified_code: str, unverified_verifier: str, form: Form[C]
) -> GrantedSession[C]:
    """The session for a code, only for the command line that started the sign-in (S256 of RFC 7636). Raises DaypassError."""
    ticket = open_ticket(env, CODE, unverified_code, call.now)
    digest = hashlib.sha256(unverified_verifier.encode("utf-8", "surrogatepass")).digest()
    if ticket.command_line is None or not hmac.compare_digest(digest, ticket.command_line.challenge):
        raise refuse("This login was begun by another command line", reason="verifier")
    (pair,) = ticket.pairs
    return GrantedSession(pair[0], issued=await assume_chosen(env, call, ChosenRole(ticket, CODE, pair), form))


def state_of(challenge: bytes) -> str:
    """The state of the redirect to a command line, by which it recognises its own sign-in."""
    return base64url(challenge)


# --- Steps -----------------------------------------------------------------------------------------------------------


class ChosenRole(Struct, frozen=True):
    """A ticket of `stage`, and the chosen (role ARN, provider ARN)."""

    ticket: SamlTicket
    stage: str
    pair: tuple[str, str]


def chosen(env: Env, call: Call, unverified_ticket: str, unverified_choice: str) -> ChosenRole:
    """A choice, by its index in `Choice.pairs`. Raises DaypassError."""
    ticket = open_ticket(env, CHOICE, unverified_ticket, call.now)
    pair = {str(index): pair for index, pair in enumerate(ticket.pairs)}.get(unverified_choice)
    if pair is None:
        raise refuse("This login does not offer this role")
    return ChosenRole(ticket, CHOICE, pair)


async def assume_chosen(
    env: Env, call: Call, made: ChosenRole, form: Form[C], also: Also[C] | None = None, *, longest: int = 0
) -> Issued[C]:
    """The last step of AssumeRoleWithSAML, with the ticket instead of the assertion. It consumes the ticket.

    `longest`: seconds; without SessionDuration the session lasts so long, if the role allows it; 0: the role's default.
    """
    ticket, role = made.ticket, requested_role(made.pair[0])
    start = snapshot(env)
    try:
        provider = await _unchanged_provider(env, call, ticket.assertion, requested_provider(made.pair[1]))
        proof = saml_proof(ticket.assertion, provider, ticket.one_time(made.stage))
        requested = requested_session(ticket.assertion, proof)
    except DaypassError as error:
        raise owned(error, role.account) from None
    check_offered(ticket.assertion, proof, role)
    if longest:
        view = await env.directory.role(role.account, role.name)
        seconds = requested.duration or (view.role.max_session_seconds if view is not None else None)
        requested = replace_struct(requested, duration=seconds, max_seconds=longest)
    request = AssumeRequest(role.arn, requested, action=WITH_SAML)
    return await assume(env, proven_applicant(call, proof, start), request, form, also)


async def _unchanged_provider(env: Env, call: Call, assertion: Assertion, wanted: RequestedProvider) -> SamlProvider:
    """The current provider, if it still accepts the proof: since the sign-in began it may have changed, or lost a key."""
    provider = await _known_provider(env, wanted)
    try:
        await env.saml.check_provider_unchanged(assertion, provider, call.now)
    except DaypassError:  # never refuse by an earlier version of the provider
        if not await refresh_if_changed(env):
            raise
        provider = await _known_provider(env, wanted)
        await env.saml.check_provider_unchanged(assertion, provider, call.now)
    return provider


async def _known_provider(env: Env, wanted: RequestedProvider) -> SamlProvider:
    provider = await find_current(env, lambda: provider_of(env, wanted))
    if provider is None:
        raise refuse("Specified provider doesn't exist")
    return provider


async def _unverified_providers(env: Env, unverified_response: str, source: Source) -> list[RequestedProvider]:
    """The providers in the response's roles. They only say where to look for keys."""
    arns = await env.saml.unverified_providers(unverified_response, source)
    requested_providers = []
    for arn in arns[:_MAX_PROVIDERS]:
        try:
            requested_providers.append(requested_provider(arn))
        except DaypassError:
            continue
    if not requested_providers:
        raise refuse(
            "The response has no readable Role attribute, so its provider is not known; "
            "an encrypted one is brought to the provider's own address, /saml/acs/ACCOUNT/NAME"
        )
    return requested_providers


async def _verified(
    env: Env, candidates: list[RequestedProvider], unverified_response: str, now: int, arrival: SamlArrival
) -> list[tuple[Assertion, SamlProvider]]:
    """The response verified with each of these providers; those that did not sign it are omitted. Raises the first refusal."""
    verified, refusals = [], []
    for wanted in candidates:
        try:
            verified.append(await verified_assertion(env, wanted, unverified_response, now, arrival))
        except DaypassError as error:
            if error.kind is ErrorKind.UNAVAILABLE:
                raise
            refusals.append(owned(error, wanted.account))
    if not verified:
        raise refusals[0]
    return verified


async def _consume(env: Env, call: Call, proof: Proof) -> None:
    """Consumes the assertion and records who sent it."""
    used = proof.one_time
    assert used is not None
    event = event_of(
        EventType.REQUEST_ALLOWED, call.facts, actor_of_proof(proof), at=env.clock.now(), account=proof.account
    )

    def change(tx: Tx) -> tuple[None, Event]:
        tx.insert(ReplayEntry(used.purpose, used.id, proof.account, call.now, used.expires_at))
        return None, event

    refusal = refuse("The response has been used before, and may be used once only", reason="replay")
    with replaced(ErrorKind.ALREADY_EXISTS, owned(refusal, proof.account)):
        await env.journal.write(change, account=proof.account)
