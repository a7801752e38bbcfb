"""The settings of an OAuth client: how it authenticates, and what it may ask for.

The settings are JSON text stored with the client (`directory.OAuthClient.settings`). Members have the names of RFC 7591
where it has them. Parsing is strict: an unknown member makes the whole text unusable, so that a misspelt restriction is
never ignored.
Sources: RFC 7591, 2; RFC 8705, 2.1 and 3.4; RFC 9449, 5.2; RFC 9126, 6; FAPI 2.0 Security Profile, 5.3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from daypass.domain.directory import OidcProvider
from daypass.domain.jws import PRIVATE_MEMBERS
from daypass.domain.oauth.urls import has_usable_authority, pattern_fault, redirect_uri_fault
from daypass.domain.provider_settings import ALGORITHMS
from daypass.domain.strict_json import cached_by_size, settings_reader

AuthMethod: TypeAlias = Literal[
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "client_secret_basic",
    "client_secret_post",
    "aws_sigv4",
    "none",
]
"""How a client authenticates: the names of the IANA registry, and `aws_sigv4` for a workload, whose role is the client."""

GrantType: TypeAlias = Literal[
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
]

FapiException: TypeAlias = Literal[
    "bearer_tokens", "client_secret", "other_algorithms", "pkce", "token_endpoint_audience", "unpushed_requests"
]
"""The requirements of FAPI 2.0 that can be switched off for one client, each by its name."""

ClaimName: TypeAlias = Literal["name", "preferred_username", "email", "email_verified", "groups"]
"""The claims about a person that scopes ask for (`CLAIMS_OF`)."""

CLAIMS_OF: Final[Mapping[str, tuple[ClaimName, ...]]] = {
    "profile": ("name", "preferred_username"),
    "email": ("email", "email_verified"),
    "groups": ("groups",),
}
"""The claims of each scope (OpenID Connect Core 1.0, 5.4; `groups` is Daypass's own)."""

COMMAND_LINE_ID: Final = "DPCL0000000000DAYPASS"
"""The client of Daypass's own command line."""
SAME_DEVICE_ID: Final = "arn:aws:signin:::devtools/same-device"
CROSS_DEVICE_ID: Final = "arn:aws:signin:::devtools/cross-device"
"""The clients of AWS's tools: with a browser on the same device, and on another one (AWS Sign-In API Reference, "CreateOAuth2Token")."""
AWS_TOOLS: Final = frozenset({SAME_DEVICE_ID, CROSS_DEVICE_ID})
BUILT_IN: Final = AWS_TOOLS | {COMMAND_LINE_ID}
"""The clients that every installation has. They act as the person."""

ANY: Final = "*"
"""The value of `roles` for every role whose trust policy admits the client."""

OPENID_SCOPES: Final = frozenset({"openid", "offline_access", "address", "phone", *CLAIMS_OF})
"""The scopes of OpenID Connect, with `groups`. No client has to register them."""

FAPI_ALGORITHMS: Final = ("PS256", "ES256", "EdDSA", "Ed25519")
"""Signature algorithms for every client (FAPI 2.0 Security Profile, 5.4.1): the metadata list no others."""

SECRET_METHODS: Final = frozenset({"client_secret_basic", "client_secret_post"})
MAX_TEXT: Final = 65_536  # characters of the whole settings
_MAX_ENTRIES: Final = 100  # entries of one list
_ROLE = re.compile(r"arn:aws:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_AUDIENCE = re.compile(r"[!-~]{1,512}")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,64}")
_BACK_CHANNEL = re.compile(r"https://[!\"$-~]{1,2000}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_SUBJECT: Final = ("tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri")


class ClientSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings of one client.

    Attributes:
        token_endpoint_auth_method: how it authenticates. `none`: a public client. `aws_sigv4`: a session of `role` signs for the
            service `daypass`.
        jwks, jwks_uri: the keys of `private_key_jwt`, fetched like those of identity providers.
        tls_client_auth_subject_dn, tls_client_auth_san_dns, tls_client_auth_san_uri: exactly one name in its
            certificate (`tls_client_auth`). A DN is as in RFC 4514.
        trust_anchor: the ARN of its trust anchor (`tls_client_auth`).
        tls_client_certificates: thumbprints (`x5t#S256`) for `self_signed_tls_client_auth`.
        role: the ARN of its role (`aws_sigv4`).
        redirect_uris: compared as text; only the port of `http://127.0.0.1` and `http://[::1]` may differ.
        post_logout_redirect_uris: targets after a sign-out, compared as text.
        backchannel_logout_uri: gets logout tokens.
        grant_types: its grants.
        roles: ARNs of its roles, or `*`.
        default_role: for requests without a role. Empty: the only one, for client credentials.
        audiences: its audiences; the first is the default. Empty: this server alone.
        scopes: its scopes.
        default_scopes: for an authorization request without `scope`.
        claims: its claims about people.
        id_token_signed_response_alg: `ES256`, `EdDSA` or `RS256`. Empty: the server's.
        dpop_bound_access_tokens, tls_client_certificate_bound_access_tokens: its tokens must be bound.
        fapi_exceptions: exceptions of a confidential client from FAPI 2.0: `bearer_tokens` (unbound tokens), `client_secret`,
            `other_algorithms` (RS256), `pkce` (no code_challenge), `token_endpoint_audience` (assertions may name the token
            endpoint), `unpushed_requests`.
        refresh_token_seconds: the lifetime of a family of refresh tokens.
        external_client_ids: its ids at other issuers, for identity assertions (`id-jag`).
        metadata_documents: URLs of client ids that this client limits; a URL that ends in `/*` stands for those below it.
    """

    token_endpoint_auth_method: AuthMethod = "private_key_jwt"
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""
    tls_client_auth_subject_dn: str = ""
    tls_client_auth_san_dns: str = ""
    tls_client_auth_san_uri: str = ""
    trust_anchor: str = ""
    tls_client_certificates: tuple[str, ...] = ()
    role: str = ""
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str = ""
    grant_types: tuple[GrantType, ...] = ()
    roles: tuple[str, ...] = ()
    default_role: str = ""
    audiences: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    default_scopes: tuple[str, ...] = ()
    claims: tuple[ClaimName, ...] = ("name", "preferred_username", "email", "email_verified", "groups")
    id_token_signed_response_alg: Literal["", "ES256", "EdDSA", "RS256"] = ""
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    fapi_exceptions: tuple[FapiException, ...] = ()
    refresh_token_seconds: int = 86_400
    external_client_ids: dict[str, str] = {}
    metadata_documents: tuple[str, ...] = ()

    @property
    def type(self) -> Literal["confidential", "public", "workload"]:
        """The type of the client, which follows from how it authenticates."""
        match self.token_endpoint_auth_method:
            case "none":
                return "public"
            case "aws_sigv4":
                return "workload"
            case _:
                return "confidential"

    def requires(self, exception: FapiException) -> bool:
        """Whether FAPI 2.0 applies to the client, without this exception."""
        return self.type == "confidential" and exception not in self.fapi_exceptions

    def allowed_audiences(self, issuer: str) -> frozenset[str]:
        """The audiences that it may ask for. `issuer`: this server, which is the only one if none is registered."""
        return frozenset(self.audiences or (issuer,))

    @property
    def renewal_seconds(self) -> int:
        """The seconds for which it can get new tokens without the person; 0: it may not use refresh tokens."""
        return self.refresh_token_seconds if "refresh_token" in self.grant_types else 0

    @property
    def bound(self) -> bool:
        """Whether its access tokens must be bound to a key of the client (DPoP or mTLS)."""
        by_setting = self.dpop_bound_access_tokens or self.tls_client_certificate_bound_access_tokens
        return by_setting or self.requires("bearer_tokens")

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The accepted algorithms of its assertions and DPoP proofs."""
        return FAPI_ALGORITHMS if self.requires("other_algorithms") else ALGORITHMS

    @property
    def pushed(self) -> bool:
        """Whether its authorization requests must be pushed (RFC 9126)."""
        return self.requires("unpushed_requests")

    def may_assume(self, role_arn: str) -> bool:
        """Whether the client may ask for this role. The trust policy of the role decides as well."""
        return ANY in self.roles or role_arn in self.roles


_read = settings_reader(ClientSettings, MAX_TEXT)


@cached_by_size
def parse_client(text: str) -> ClientSettings:
    """Parses a client's settings. Raises ValueError that names the invalid member."""
    settings = _read(text)
    check_client(settings)
    return settings


def key_source(account: str, client_id: str, settings: str) -> OidcProvider | None:
    """The keys of a stored client in the form in which the cache of keys finds them; None for a client without keys."""
    return _key_source(f"{account}\0{client_id}\0{settings}")


@cached_by_size
def _key_source(text: str) -> OidcProvider | None:
    account, client_id, settings = text.split("\0", 2)
    return key_source_of(account, client_id, parse_client(settings))


def key_source_of(account: str, client_id: str, client: ClientSettings) -> OidcProvider | None:
    """The same of settings that are not stored: these must not fill caches."""
    if client.jwks is None and not client.jwks_uri:
        return None
    source = {"jwks_url": client.jwks_uri} if client.jwks_uri else {"static_jwks": json.dumps(client.jwks)}
    return OidcProvider(account, f"client/{client_id}", 0, settings=json.dumps(source))


def check_client(settings: ClientSettings) -> None:
    """Raises ValueError that names the member that is not valid, or that does not agree with the others."""
    _check_lists(settings)
    _check_values(settings)
    _check_authentication(settings)
    _check_grants(settings)
    _check_usable(settings)


def dump_client(settings: ClientSettings) -> str:
    """The text of settings: the members that differ from their defaults."""
    return msgspec.json.encode(settings).decode()


# --- Checks ----------------------------------------------------------------------------------------------------------


def _check_usable(settings: ClientSettings) -> None:
    """An address that could never be used."""
    for name, uri in _return_addresses(settings):
        if not has_usable_authority(uri):
            raise ValueError(f"{name}: {uri[:128]!r}: a host name, and a port from 1 to 65535 or none, is expected.")


def check_signing_keys(settings: ClientSettings) -> None:
    """Raises ValueError if none of the keys signs with an algorithm that the client may use. The keys are well formed."""
    keys = settings.jwks["keys"] if settings.jwks is not None else ()
    if keys and settings.requires("other_algorithms") and not any(_signs_for_fapi(key) for key in keys):
        raise ValueError(
            f"jwks: none of its keys signs with {', '.join(FAPI_ALGORITHMS)}, and FAPI 2.0 allows no others. "
            "Add other_algorithms to fapi_exceptions to allow them."
        )


def _check_lists(s: ClientSettings) -> None:
    lists = (
        "tls_client_certificates",
        "redirect_uris",
        "post_logout_redirect_uris",
        "grant_types",
        "roles",
        "audiences",
        "scopes",
        "default_scopes",
        "claims",
    )
    for name in (*lists, "fapi_exceptions", "metadata_documents"):
        values = getattr(s, name)
        if len(values) > _MAX_ENTRIES or len(set(values)) != len(values):
            raise ValueError(f"{name}: a list of at most {_MAX_ENTRIES} different strings is expected.")


def _check_values(s: ClientSettings) -> None:
    for name, pattern, expected in (
        ("roles", _ROLE, "the ARN of a role, or *"),
        ("audiences", _AUDIENCE, "up to 512 printable characters without spaces"),
        ("scopes", _SCOPE, "up to 64 characters without spaces, quotes and backslashes"),
        ("tls_client_certificates", _THUMBPRINT, "a SHA-256 thumbprint in base64url, 43 characters"),
    ):
        for value in getattr(s, name):
            if not pattern.fullmatch(value) and (name, value) != ("roles", ANY):
                raise ValueError(f"{name}: {value[:128]!r} is not {expected}.")
    for url in s.metadata_documents:
        if fault := pattern_fault(url):
            raise ValueError(f"metadata_documents: {url[:128]!r}: {fault}.")
    for name, uri in _return_addresses(s):
        if fault := redirect_uri_fault(uri, native=s.type == "public"):
            raise ValueError(f"{name}: {uri[:128]!r}: {fault}.")
    external = [text for pair in s.external_client_ids.items() for text in pair]
    if len(external) > 2 * _MAX_ENTRIES or not all(_AUDIENCE.fullmatch(text) for text in external):
        raise ValueError("external_client_ids: a client id by issuer, of up to 512 printable characters, is expected.")
    if not 300 <= s.refresh_token_seconds <= 31_536_000:
        raise ValueError("refresh_token_seconds: 300 seconds to 365 days are allowed.")


def _return_addresses(s: ClientSettings) -> list[tuple[str, str]]:
    """The URIs with the names of their members."""
    return [(name, uri) for name in ("redirect_uris", "post_logout_redirect_uris") for uri in getattr(s, name)]


def _check_authentication(s: ClientSettings) -> None:
    """The members of other methods must be absent: they would look as if they had an effect."""
    method = s.token_endpoint_auth_method
    given = {name for name in ("jwks", "jwks_uri", *_SUBJECT, "tls_client_certificates", "role") if getattr(s, name)}
    allowed = _MEMBERS_OF.get(method, frozenset())
    if others := sorted(given - allowed):
        raise ValueError(f"{others[0]}: it has no effect with {method}.")
    if allowed and not given:
        raise ValueError(f"{method} needs one of: {', '.join(sorted(allowed))}.")
    if len(given) > 1:
        raise ValueError(f"Only one of {', '.join(sorted(given))} can be set.")
    if bool(s.trust_anchor) != (method == "tls_client_auth"):
        raise ValueError("trust_anchor: it is needed with tls_client_auth, and has no effect otherwise.")
    if s.jwks is not None:
        _check_jwks(s.jwks)
    if s.jwks_uri and not s.jwks_uri.startswith("https://"):
        raise ValueError("jwks_uri: a URL with https:// is expected.")
    if s.role and not _ROLE.fullmatch(s.role):
        raise ValueError("role: the ARN of a role is expected.")
    if method in SECRET_METHODS and s.requires("client_secret"):
        raise ValueError(f"{method}: FAPI 2.0 does not allow it. Add client_secret to fapi_exceptions to allow it.")
    if s.fapi_exceptions and s.type != "confidential":
        raise ValueError(f"fapi_exceptions: FAPI 2.0 does not apply to a {s.type} client.")


def _check_jwks(jwks: Mapping[str, Any]) -> None:
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError('jwks: {"keys": [...]} with at least one key is expected.')
    if any(not PRIVATE_MEMBERS.isdisjoint(key) for key in keys):
        raise ValueError("jwks: it holds a private or symmetric key. Settings are shown: make another key.")
    try:
        json.dumps(jwks)
    except TypeError:
        raise ValueError("jwks: it has a number that no key has.") from None


def _signs_for_fapi(key: Mapping[str, Any]) -> bool:
    if "alg" in key:
        return key["alg"] in FAPI_ALGORITHMS
    return key.get("kty") == "RSA" or key.get("crv") in ("P-256", "Ed25519")


def _check_grants(s: ClientSettings) -> None:
    grants = set(s.grant_types)
    if s.backchannel_logout_uri and not _BACK_CHANNEL.fullmatch(s.backchannel_logout_uri):
        raise ValueError("backchannel_logout_uri: a URL with https:// and without a fragment is expected.")
    if s.default_role and not s.may_assume(s.default_role):
        raise ValueError("default_role: it is not one of roles.")
    if unknown := set(s.default_scopes) - {*s.scopes, *OPENID_SCOPES}:
        raise ValueError(f"default_scopes: {min(unknown)[:64]!r} is not one of scopes.")
    if "client_credentials" in grants and s.type == "public":
        raise ValueError("grant_types: a public client has no credentials for client_credentials.")
    if s.metadata_documents:
        if s.type != "public" or s.redirect_uris or not grants <= _OF_DOCUMENTS or "authorization_code" not in grants:
            raise ValueError(
                "metadata_documents: they need token_endpoint_auth_method none, the grant authorization_code, besides it "
                "refresh_token alone, and no redirect_uris: these come from the documents."
            )
        return
    if "authorization_code" in grants and not s.redirect_uris:
        raise ValueError("grant_types: authorization_code needs redirect_uris.")
    if s.redirect_uris and "authorization_code" not in grants:
        raise ValueError("redirect_uris: they have no effect without the grant authorization_code.")
    if s.post_logout_redirect_uris and not s.redirect_uris:
        raise ValueError("post_logout_redirect_uris: they have no effect without redirect_uris.")


_OF_DOCUMENTS: Final = frozenset({"authorization_code", "refresh_token"})
_MEMBERS_OF: Final[Mapping[str, frozenset[str]]] = {
    "private_key_jwt": frozenset({"jwks", "jwks_uri"}),
    "tls_client_auth": frozenset(_SUBJECT),
    "self_signed_tls_client_auth": frozenset({"tls_client_certificates"}),
    "aws_sigv4": frozenset({"role"}),
}
"""The members that each method uses. Exactly one of them is given."""
