"""What a directory provisions: bearer tokens, and what SCIM adds to users and groups. Times in ms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScimToken:
    """A bearer token of a user, who provisions the account. `id` is its SHA-256 in hex: the table holds no token."""

    id: str
    account: str
    user_id: str
    name: str
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class ScimResource:
    """A user or group that a directory manages. Only these are visible to SCIM; all others are left alone.

    `document`: the attributes as JSON (`domain.scim.resource`). `version`: counts changes by SCIM, for the ETag.
    """

    id: str  # the unique id of the user or group
    account: str
    resource_type: str  # "User" or "Group"
    external_id: str
    document: str
    version: int
    created_at: int
    updated_at: int
