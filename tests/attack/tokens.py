"""Providers in an installation under attack, and the unsigned calls that bring tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.attack.installation import ALPHA, Answer, Installation, document, form
from tests.issuer import Issuer

from daypass.domain.directory import OidcProvider
from daypass.domain.events import Event, EventType
from daypass.ports import Tx

FORM = [(b"content-type", b"application/x-www-form-urlencoded"), (b"host", b"daypass.test")]


def provider(
    site: Installation, issuer: Issuer, account: str = ALPHA, *, client_ids: tuple[str, ...] = (), **settings: Any
) -> OidcProvider:
    """A provider for this issuer, with the issuer's keys in its settings."""
    known = {"static_jwks": json.dumps(issuer.jwks()), **settings}
    made = OidcProvider(account, issuer.url, site.now(), client_ids or (issuer.audience,), settings=json.dumps(known))

    def change(tx: Tx) -> tuple[None, Event]:
        there = tx.get(OidcProvider, account=account, url=issuer.url)
        if there is None:
            tx.insert(made)
        else:
            tx.replace(made)
        return None, Event(EventType.DIRECTORY_CHANGED, site.now(), account)

    site.run(site.runtime.env.journal.write(change))
    return made


def trust_in(arn: str, **condition: Any) -> str:
    """A trust policy for everyone of a provider, with conditions as IAM writes them."""
    actions = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]
    more = {"Condition": condition} if condition else {}
    return document({"Principal": {"Federated": arn}, "Action": actions, **more})


def bring(site: Installation, role: str, token: str, name: str = "job", **params: str) -> Answer:
    """AssumeRoleWithWebIdentity, unsigned as it is."""
    return site.send("POST", FORM, web_identity(role, token, name, **params))


def web_identity(role: str, token: str, name: str = "job", **params: str) -> bytes:
    asked: Mapping[str, str] = {"RoleArn": role, "RoleSessionName": name, "WebIdentityToken": token, **params}
    return form("AssumeRoleWithWebIdentity", asked)
