"""OAuth objects of an account: clients, resource servers, codes that can be used once, and families of refresh tokens."""

from __future__ import annotations

from dataclasses import dataclass

from daypass.domain.directory.identities import Tags


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client of the authorization server (RFC 6749, 2).

    `settings` is the JSON text of `domain.oauth.client.ClientSettings`. `secrets` are at most two client secrets: (id,
    time added in ms as text, salted hash).
    """

    id: str  # the client_id: DPCL…, 21 characters
    account: str
    name: str
    created_at: int
    updated_at: int
    enabled: bool = True
    settings: str = "{}"
    secrets: tuple[tuple[str, str, str], ...] = ()
    tags: Tags = ()
    registration: str = ""  # SHA-256 of its registration access token (RFC 7592), hex; "": it was not registered so

    @property
    def arn(self) -> str:
        return f"arn:aws:daypass::{self.account}:client/{self.id}"


@dataclass(frozen=True, slots=True)
class ResourceServer:
    """A service that accepts access tokens of an account (RFC 6749, 1.1).

    `identifier` is the audience of tokens for it. It is unique in the installation, because other services see only the
    audience. `settings` is the JSON text of `domain.oauth.resource_server.ResourceServerSettings`.
    """

    account: str
    identifier: str
    name: str
    created_at: int
    updated_at: int
    settings: str = "{}"
    tags: Tags = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:daypass::{self.account}:resource-server/{self.identifier}"


@dataclass(frozen=True, slots=True)
class OAuthCode:
    """A value that a client redeems once: an authorization code, a request_uri, a device code. Never on the change feed.

    `id` is the SHA-256 of the value in hex. `sealed` is the content that it refers to, sealed by the storage ring for `purpose` and
    `id`, so that nobody who can write to the database can make a code. A used code is kept until `expires_at`, so that a
    second use is recognized.
    """

    purpose: str  # "authorization_code" | "request_uri" | "device_code" | "user_code"
    id: str
    account: str
    client_id: str
    created_at: int
    expires_at: int
    sealed: bytes
    used_at: int = 0  # ms; 0: not yet
    family: str = ""  # the family of refresh tokens, or the session, that its use began; a second use ends it


@dataclass(frozen=True, slots=True)
class RefreshFamily:
    """All refresh tokens that descend from one grant (RFC 9700, 4.14.2). Never on the change feed.

    Only the token of the current `generation` is valid. `sealed` is the grant and the key that authenticates its tokens,
    sealed by the storage ring. `last` is the session that the current generation was issued with, sealed in the same way.
    `consent_id` is the id of the consent that gave it, whether that is remembered or not; None if there was no consent.
    """

    id: str  # 32 hex digits
    account: str
    client_id: str
    principal_id: str
    created_at: int
    expires_at: int
    generation: int
    rotated_at: int
    sealed: bytes
    last: bytes = b""
    ended_at: int = 0  # ms; 0: not ended
    consent_id: str | None = None


# --- What a directory provisions: bearer tokens, and what SCIM adds to users and groups


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

    `document`: the attributes as JSON (`domain.scim`). `version`: counts changes by SCIM, for the ETag.
    """

    id: str  # the unique id of the user or group
    account: str
    resource_type: str  # "User" or "Group"
    external_id: str
    document: str
    version: int
    created_at: int
    updated_at: int
