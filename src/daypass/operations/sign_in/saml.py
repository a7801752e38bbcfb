"""Sign-in of a browser with SAML: the steps of `assume.saml_sign_in`, ending in a browser session of the chosen role.

The answer of the identity provider comes from another site, without the browser's cookie. So the person chooses a role on a
page of ours, and the choice must come from the browser that began.
"""

from __future__ import annotations

import hmac
from dataclasses import replace

from msgspec.structs import replace as replace_struct

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.assume import saml_sign_in
from daypass.operations.assume.saml_ticket import WaitingBrowser
from daypass.operations.sign_in import browser_session
from daypass.operations.sign_in.browser_session import ProviderSignIn
from daypass.operations.sign_in.provider import FRESH_MS, MAX_NEXT, Completed, too_long
from daypass.operations.sign_in.ticket import BROWSER_FORM
from daypass.ports import Call, Env


async def begin(env: Env, call: Call, cookie: str, provider_arn: str, following: str, *, again: bool) -> str:
    """The address at the identity provider. See `provider.begin`. Raises DaypassError."""
    if len(following) > MAX_NEXT:
        raise too_long()
    waiting = WaitingBrowser(browser_session.digest(cookie), following, call.now if again else 0)
    return await saml_sign_in.begin(env, call, provider_arn, waiting)


async def choose(env: Env, call: Call, cookie: str, unverified_ticket: str, unverified_choice: str) -> Completed:
    """Signs the browser in, with the chosen role. Raises DaypassError: see `saml_sign_in.choose`."""
    chosen = saml_sign_in.chosen(env, call, unverified_ticket, unverified_choice)
    waiting = chosen.ticket.browser
    if waiting is None or not hmac.compare_digest(waiting.id, browser_session.digest(cookie)):
        raise DaypassError(
            ErrorKind.INVALID_IDENTITY_TOKEN, "This login was begun in another browser.", private={"reason": "browser"}
        )
    at = chosen.ticket.assertion.authenticated_at
    if waiting.fresh_after and at < waiting.fresh_after - FRESH_MS:
        raise DaypassError(
            ErrorKind.INVALID_IDENTITY_TOKEN,
            "The identity provider did not ask you to sign in again.",
            private={"reason": "AuthnInstant is too old"},
        )
    fresh = waiting.fresh_after or not at or call.now - at < FRESH_MS
    signed_in = ProviderSignIn(call.now if fresh else at)
    assertion = replace(chosen.ticket.assertion, authenticated_at=signed_in.authenticated_at if at else 0)
    chosen = replace_struct(chosen, ticket=replace(chosen.ticket, assertion=assertion))
    value = env.ids.secret()
    also = browser_session.signs_in(call, value, cookie, signed_in)
    longest = env.limits.browser_session_ms // 1000
    await saml_sign_in.assume_chosen(env, call, chosen, BROWSER_FORM, also, longest=longest)
    return Completed(value, waiting.following)
