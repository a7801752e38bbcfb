"""Logging in by browser with SAML: the way of a person from their identity provider to a role's credentials.

A response is verified and used up when it comes (`accept`); the person then chooses among the roles that it offers, and the
choice is a session (`choose`) or, for a waiting command line, a code that only that command line can turn into one
(`redeem`). Each step brings what the one before has sealed. Trust policies decide at the end, as for AssumeRoleWithSAML.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from daypass.domain.assertion import Assertion, one_use, proof_of, refuse, role_pairs, session_name
from daypass.domain.directory import Redeemed, SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.proof import Proof
from daypass.operations.assume_role import requested_role
from daypass.operations.assume_role_with_saml import (
    ACTION,
    RequestedProvider,
    check_offered,
    owned,
    provider_of,
    requested_provider,
    saml_of,
    session_asked,
    verified_assertion,
)
from daypass.operations.authorize import feed_moved
from daypass.operations.federate import actor_of_proof, assume_with_proof
from daypass.operations.issue import Issued, start
from daypass.operations.outcome import event_of
from daypass.operations.saml_ticket import (
    CHOICE,
    CHOICE_MS,
    CODE,
    CODE_MS,
    CommandLine,
    Login,
    Ticket,
    open_login,
    open_ticket,
    seal_login,
    seal_ticket,
)
from daypass.ports import Call, Env, SamlArrival, Tx

_MAX_PROVIDERS: Final = 10  # that one response is tried with
_REQUEST: Final = "_daypass-"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person may choose among: (role ARN, provider ARN), and the ticket to bring with the choice."""

    ticket: str
    subject: str
    issuer: str
    pairs: tuple[tuple[str, str], ...]
    command_line: CommandLine | None


@dataclass(frozen=True, slots=True)
class Granted:
    """A session, or where the browser takes the code for one."""

    role: str
    issued: Issued | None = None
    redirect: str = ""


async def begin(env: Env, call: Call, provider_arn: str, command_line: CommandLine) -> str:
    """Where the browser of a command line goes to log in. Raises DaypassError."""
    verifier = saml_of(env)
    provider = await _known_provider(env, requested_provider(provider_arn))
    login = Login(env.ids.session(), command_line)
    relay_state = seal_login(env, login, call.now)
    where = await verifier.request_url(provider, f"{_REQUEST}{login.request_id}", relay_state, call.now)
    if not where:
        raise refuse("Logins do not begin here: the provider's metadata has no address for them (HTTP-Redirect)")
    return where


async def accept(
    env: Env, call: Call, unverified_response: str, unverified_relay_state: str, wanted: RequestedProvider | None
) -> Choice:
    """Verifies what a browser brought, and uses it up. `wanted`: the provider whose own address it came to.

    Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM.
    """
    verifier = saml_of(env)
    login = open_login(env, unverified_relay_state, call.now)
    asked = [wanted] if wanted else await _claimed(env, unverified_response)
    known = await provider_of(env, wanted) if wanted else None
    url = verifier.acs_url(known) if known else verifier.acs_url()
    arrival = SamlArrival(url, f"{_REQUEST}{login.request_id}" if login else "")
    verified = await _verified(env, asked, unverified_response, call.now, arrival)
    assertion, first = verified[0]
    session_name(assertion)
    proof = proof_of(assertion, first, one_use(assertion))
    arns = tuple(provider.arn for _, provider in verified)
    pairs = tuple(pair for pair in role_pairs(assertion.values("Role")) if pair[1] in arns)
    if not pairs:
        raise owned(refuse("The response offers no role together with the provider that signed it"), first.account)
    await _use_up(env, call, proof)
    ticket = Ticket(
        id=env.ids.session(),
        expires_at=call.now + CHOICE_MS,
        assertion=assertion.essential(),
        pairs=pairs,
        command_line=login.command_line if login else None,
    )
    return Choice(seal_ticket(env, CHOICE, ticket), assertion.subject, assertion.issuer, pairs, ticket.command_line)


async def choose(env: Env, call: Call, unverified_ticket: str, unverified_choice: str) -> Granted:
    """The role that was chosen, by its place among `Choice.pairs`: its session, or for a command line the code for one.

    Raises DaypassError.
    """
    ticket = open_ticket(env, CHOICE, unverified_ticket, call.now)
    pair = _chosen(ticket, unverified_choice)
    line = ticket.command_line
    if line is None:
        return Granted(pair[0], issued=await _assume(env, call, ticket, CHOICE, pair))
    chosen = replace(ticket, expires_at=call.now + CODE_MS, assertion=ticket.assertion.offering(*pair), pairs=(pair,))
    answer = {"code": seal_ticket(env, CODE, chosen), "state": state_of(line.challenge)}
    return Granted(pair[0], redirect=f"http://127.0.0.1:{line.port}/?{urlencode(answer)}")


async def redeem(env: Env, call: Call, unverified_code: str, unverified_verifier: str) -> Granted:
    """The session for a code, for the command line alone that began the login (as RFC 7636 has it, S256). Raises DaypassError."""
    ticket = open_ticket(env, CODE, unverified_code, call.now)
    digest = hashlib.sha256(unverified_verifier.encode("utf-8", "surrogatepass")).digest()
    if ticket.command_line is None or not hmac.compare_digest(digest, ticket.command_line.challenge):
        raise refuse("This login was begun by another command line", reason="verifier")
    (pair,) = ticket.pairs
    return Granted(pair[0], issued=await _assume(env, call, ticket, CODE, pair))


def state_of(challenge: bytes) -> str:
    """What the redirect to a command line carries, so that it knows its own login again."""
    return base64.urlsafe_b64encode(challenge).decode("ascii").rstrip("=")


# --- The pieces ------------------------------------------------------------------------------------------------------


def _chosen(ticket: Ticket, unverified_choice: str) -> tuple[str, str]:
    text = unverified_choice
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < len(ticket.pairs)):
        raise refuse("This login does not offer this role")
    return ticket.pairs[int(text)]


async def _assume(env: Env, call: Call, ticket: Ticket, stage: str, pair: tuple[str, str]) -> Issued:
    """The end of AssumeRoleWithSAML, with the ticket in place of the assertion. The ticket is used up by it."""
    role = requested_role(pair[0])
    started = start(env)
    try:
        provider = await _standing_provider(env, call, ticket.assertion, requested_provider(pair[1]))
        proof = proof_of(ticket.assertion, provider, ticket.one_time(stage))
        request = session_asked(ticket.assertion, proof, {})
    except DaypassError as error:
        raise owned(error, role.account) from None
    check_offered(ticket.assertion, proof, role)
    issued, _ = await assume_with_proof(env, call, proof, role, request, started, action=ACTION)
    return issued


async def _standing_provider(env: Env, call: Call, assertion: Assertion, wanted: RequestedProvider) -> SamlProvider:
    """The provider as it is now, if it still vouches: it may have been replaced, or lost a key, since the login began."""
    provider = await _known_provider(env, wanted)
    try:
        await saml_of(env).check_standing(assertion, provider, call.now)
    except DaypassError:  # never a refusal by what a provider was a second ago
        if not await feed_moved(env):
            raise
        provider = await _known_provider(env, wanted)
        await saml_of(env).check_standing(assertion, provider, call.now)
    return provider


async def _known_provider(env: Env, wanted: RequestedProvider) -> SamlProvider:
    provider = await provider_of(env, wanted)
    if provider is None and await feed_moved(env):
        provider = await provider_of(env, wanted)
    if provider is None:
        raise refuse("Specified provider doesn't exist")
    return provider


async def _claimed(env: Env, unverified_response: str) -> list[RequestedProvider]:
    """The providers that the response names in its roles; a place to look for keys, no more."""
    arns = await saml_of(env).unverified_providers(unverified_response)
    found = []
    for arn in arns[:_MAX_PROVIDERS]:
        try:
            found.append(requested_provider(arn))
        except DaypassError:
            continue
    if not found:
        raise refuse(
            "The response has no readable Role attribute, so its provider is not known; "
            "an encrypted one is brought to the provider's own address, /saml/acs/ACCOUNT/NAME"
        )
    return found


async def _verified(
    env: Env, asked: list[RequestedProvider], unverified_response: str, now: int, arrival: SamlArrival
) -> list[tuple[Assertion, SamlProvider]]:
    """The response as each of these providers has it; those that did not sign it are left out. Raises the first refusal."""
    verified, refusals = [], []
    for wanted in asked:
        try:
            verified.append(await verified_assertion(env, wanted, unverified_response, now, arrival))
        except DaypassError as error:
            if error.kind is ErrorKind.UNAVAILABLE:
                raise
            refusals.append(owned(error, wanted.account))
    if not verified:
        raise refusals[0]
    return verified


async def _use_up(env: Env, call: Call, proof: Proof) -> None:
    """From now on the assertion is worth nothing; the record says who brought it."""
    used = proof.one_time
    assert used is not None
    event = event_of(
        EventType.REQUEST_ALLOWED, call.facts, actor_of_proof(proof), at=env.clock.now(), account=proof.account
    )

    def change(tx: Tx) -> tuple[None, Event]:
        tx.insert(Redeemed(used.purpose, used.id, proof.account, call.now, used.expires_at))
        return None, event

    try:
        await env.journal.write(change)
    except DaypassError as error:
        if error.kind is not ErrorKind.ALREADY_EXISTS:
            raise
        refusal = refuse("The response has been used before, and may be used once only", reason="replay")
        raise owned(refusal, proof.account) from None
