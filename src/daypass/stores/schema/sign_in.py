"""The tables of sign-in by browser: sessions, passkeys and recovery codes."""

from __future__ import annotations

from sqlalchemy import Index

from daypass.domain import directory as d
from daypass.stores.schema.columns import entity_table

browser_sessions = entity_table(
    "browser_sessions", d.BrowserSession, "id", Index(None, "account", "principal_id"), Index(None, "expires_at")
)

passkeys = entity_table("passkeys", d.Passkey, "id", Index(None, "user_id", "name", unique=True))

recovery_codes = entity_table("recovery_codes", d.RecoveryCode, "user_id digest")

consents = entity_table("consents", d.Consent, "id", Index(None, "account", "person_id"), Index(None, "expires_at"))
