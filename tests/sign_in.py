"""People of an installation for tests of sign-in: users with passwords, and the authorization code flow of their clients."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyotp
import pytest
from tests.attack.installation import ALPHA, ROOT, Answer, Installation, Key, document, installed
from tests.browser import BASE, Browser, query_of
from tests.oauth_client import Client, register

from daypass.operations.iam import login_profiles
from daypass.operations.sign_in import password

PASSWORD = "Correct-horse-1"
CALLBACK = "https://app.example/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
_numbers = itertools.count()


@contextmanager
def site_with_pages(data: Path, **settings: Any) -> Iterator[Installation]:
    """An installation with pages, whose password hashes are cheap, and which delivers only what tests deliver."""
    with (
        pytest.MonkeyPatch.context() as patched,
        installed(data, server={"public_url": BASE}, access={"sweep_seconds": 300}, **settings) as made,
    ):
        patched.setattr(login_profiles, "_COST", (4, 8, 1))
        patched.setattr(password, "_NOBODY", password._NOBODY.replace("$15$8$3$", "$4$8$1$"))
        yield made


def user(site: Installation, root: Key = ROOT, **profile: str) -> str:
    """A new user with a password: the name."""
    name = f"ann-{next(_numbers)}"
    site.iam("CreateUser", root, UserName=name)
    site.iam("CreateLoginProfile", root, UserName=name, Password=PASSWORD, **profile)
    return name


def with_device(site: Installation, name: str) -> pyotp.TOTP:
    """An MFA device for a user."""
    made = site.iam("CreateVirtualMFADevice", VirtualMFADeviceName=name)
    totp = pyotp.TOTP(base64.b64decode(made.text("Base32StringSeed")).decode("ascii"))
    seconds = site.now() // 1000
    codes = {"AuthenticationCode1": totp.at(seconds - 30), "AuthenticationCode2": totp.at(seconds)}
    site.iam("EnableMFADevice", ROOT, UserName=name, SerialNumber=made.text("SerialNumber"), **codes)
    site.wall.time += 30_000
    return totp


def signed_in(site: Installation, name: str, account: str = ALPHA) -> Browser:
    """A browser in which the user is signed in."""
    browser = Browser(site)
    answer = browser.sign_in(account, name, PASSWORD)
    assert (answer.status, answer.headers.get("location")) == (303, "/console/"), answer.body
    return browser


def role_for(site: Installation, name: str, **condition: Any) -> str:
    """A role that the users of the account may assume: its ARN."""
    arn = f"arn:aws:iam::{ALPHA}:root"
    trust = document({"Principal": {"AWS": arn}, "Action": ["sts:AssumeRole", "sts:TagSession"], **condition})
    may = document({"Action": "iam:ListUsers", "Resource": "*"})
    return site.role(name, trust, policy=may)


def may_assume(site: Installation, name: str) -> None:
    """Lets a user assume every role that trusts the account."""
    policy = document({"Action": "sts:AssumeRole", "Resource": "*"})
    site.iam("PutUserPolicy", UserName=name, PolicyName="assume", PolicyDocument=policy)


def web_client(site: Installation, **settings: Any) -> Client:
    """A public client with one redirect URI."""
    given = {
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
        "redirect_uris": [CALLBACK],
        "roles": ["*"],
        **settings,
    }
    return register(site, **given)


def target(client: Client, **changes: str) -> str:
    """The address of an authorization request; "" leaves a parameter out."""
    parameters = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "state": "af0ifjsldkj",
        "nonce": "n-0S6_WzA2Mj",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return f"/oauth2/authorize?{urlencode({name: value for name, value in parameters.items() if value})}"


def allowed(browser: Browser, address: str, decision: str = "allow") -> dict[str, str]:
    """The parameters with which the client gets a person back who consents."""
    page = browser.get(address)
    assert page.status == 200, (page.status, page.headers, page.body)
    return query_of(browser.submit(page, "/oauth2/authorize/consent", decision=decision))


def redeemed(client: Client, code: str, **changes: str) -> Answer:
    """The answer of the token endpoint to a code."""
    sent = {"client_id": client.id, "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **changes}
    return client.token(grant="authorization_code", dpop=None, **sent)


def members(answer: Answer) -> dict[str, Any]:
    return dict(json.loads(answer.body))
