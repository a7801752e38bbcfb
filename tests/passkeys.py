"""Passkeys of people in tests of pages."""

from __future__ import annotations

from typing import Any

from tests.attack.installation import Answer, Installation
from tests.authenticator import Authenticator
from tests.browser import BASE, Browser, forms

RP_ID = BASE.partition("://")[2]
DEVICES = "/account/devices"


def new_passkey(**changes: Any) -> Authenticator:
    """An authenticator for this installation."""
    return Authenticator(**{"origin": BASE, "rp_id": RP_ID, **changes})


def registered(site: Installation, browser: Browser, name: str = "laptop", **changes: Any) -> Authenticator:
    """A passkey of the person who is signed in."""
    del site
    authenticator = new_passkey(**changes)
    page = browser.get(DEVICES)
    response = authenticator.register(forms(page)[f"{DEVICES}/add"].options)
    answer = browser.submit(page, f"{DEVICES}/add", name=name, response=response)
    assert answer.status == 303, answer.body
    return authenticator


def sign_in_with(browser: Browser, authenticator: Authenticator, **changes: Any) -> Answer:
    """The answer to a sign-in by passkey alone."""
    page = browser.get("/login?again=age")
    form = forms(page)["/login/passkey"]
    return browser.submit(page, "/login/passkey", response=authenticator.assertion(form.options, **changes))
