"""Claims about a person: name, email address and groups, from the directory, from SCIM or from the identity provider.

A client gets a claim if the person has consented to its scope (`CLAIMS_OF`) and its settings have the claim. An address that
only a tag of the user says is not verified: a user may be allowed to change their own tags.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from daypass.domain.directory import BrowserSession, ScimResource, User
from daypass.domain.oauth.client import CLAIMS_OF, ClientSettings
from daypass.domain.session import SessionClaims
from daypass.domain.web_identity import MAX_GROUPS
from daypass.operations.principals import groups_of
from daypass.ports import Env, Reader


async def claims_about(
    env: Env, settings: ClientSettings, scopes: Collection[str], session: SessionClaims, of_provider: Mapping[str, Any]
) -> dict[str, Any]:
    """The claims of the person at the beginning of a session that a client may have for these scopes.

    `of_provider`: what the person's identity provider said (`standard_claims`). Raises DaypassError(UNAVAILABLE).
    """
    wanted = {name for scope in scopes for name in CLAIMS_OF.get(scope, ())} & set(settings.claims)
    if not wanted:
        return {}
    person = session.hops[0]
    known = {**_of_tags(dict(session.tags)), **of_provider}
    if person.principal_id.startswith("AIDA"):
        known = await env.directory.read(lambda tx: _of_user(tx, person.principal_id), account=person.account)
    known.setdefault("preferred_username", session.name)
    known.setdefault("name", known["preferred_username"])
    return {name: known[name] for name in sorted(wanted) if name in known}


def without_withheld(settings: ClientSettings, claims: Mapping[str, Any]) -> dict[str, Any]:
    """The claims without those that the client's settings withhold."""
    withheld = {name for names in CLAIMS_OF.values() for name in names} - set(settings.claims)
    return {name: value for name, value in claims.items() if name not in withheld}


async def of_browser(env: Env, session: SessionClaims) -> Mapping[str, Any]:
    """What the provider said at the sign-in that a session was made from, while the browser is signed in."""
    ids = [hop.session_id for hop in session.hops if hop.session_id]

    def find(tx: Reader) -> str:
        rows = (tx.find(BrowserSession, account=session.account, session_id=each, limit=1) for each in ids)
        return next((row.proof for found in rows for row in found), "")

    proof = await env.directory.read(find, account=session.account)
    found: Mapping[str, Any] = json.loads(proof).get("claims", {}) if proof else {}
    return found


def _of_user(tx: Reader, user_id: str) -> dict[str, Any]:
    user = tx.get(User, id=user_id)
    if user is None:
        return {}
    tags, scim = dict(user.tags), tx.get(ScimResource, id=user_id)
    known: dict[str, Any] = {"preferred_username": user.name}
    known["groups"] = [group.name for group in groups_of(tx, user_id)][:MAX_GROUPS]
    known |= _of_tags(tags)
    return known if scim is None else known | _of_scim(json.loads(scim.document))


def _of_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """What the tags of a user, or of the session of a person of a provider, say."""
    known: dict[str, Any] = {"name": tags["name"]} if "name" in tags else {}
    return {**known, "email": tags["email"], "email_verified": False} if "email" in tags else known


def _of_scim(document: Mapping[str, Any]) -> dict[str, Any]:
    """The directory that provisions the user has verified the address."""
    known: dict[str, Any] = {}
    parts = document.get("name", {})
    whole = " ".join(filter(None, (parts.get("givenName"), parts.get("familyName"))))
    if name := document.get("displayName") or parts.get("formatted") or whole:
        known["name"] = name
    if emails := document.get("emails"):
        primary = next((each for each in emails if each.get("primary")), emails[0])
        known |= {"email": primary["value"], "email_verified": True}
    return known
