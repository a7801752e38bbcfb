"""Daypass's own settings of an OpenID Connect provider: how its tokens are verified and what a session takes from them.

The settings are JSON text stored with the provider (`directory.OidcProvider.settings`). Parsing is strict: an unknown
member, a wrong type or a value out of range makes the whole text unusable, so that a typing error never weakens a
check. This module does not read tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Final

from daypass.domain.jws import PRIVATE_MEMBERS
from daypass.domain.strict_json import read_json

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
    *("EdDSA", "Ed25519"),
)
"""The signature algorithms that can be allowed (RFC 7518, 8037, 9864). All are allowed by default. None is symmetric."""

SECRETS: Final = frozenset({"jwks_bearer", "token_review.bearer", "sign_in.client_secret"})
"""Members that contain a secret. They are sealed and never shown."""

MAX_TEXT: Final = 262_144  # characters of the whole settings
_MAX_JWKS = 131_072
_MAX_MARKS = 2_500
"""Commas, braces and brackets of the text: parsing takes half a microsecond for each, also on the event loop. A set of a hundred keys
has about 1,000.
"""
_MAX_ENTRIES = 50
_YEAR = 366 * 86_400
_MAX_ROLES = 10
_ROLE = re.compile(r"arn:aws:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_SCOPE = re.compile(r"[!#-\[\]-~]{1,64}")


@dataclass(frozen=True, slots=True)
class TokenReview:
    """Kubernetes' TokenReview (authentication.k8s.io/v1): asks the cluster whether a token is still valid.

    `url` is that of the API server. `bearer` is the token for the request, sealed by the storage ring, in base64.
    """

    url: str
    bearer: str = ""
    bearer_file: str = ""
    cache_seconds: int = 0  # API servers cache a positive answer for ten seconds themselves


@dataclass(frozen=True, slots=True)
class BrowserSignIn:
    """How people of a provider sign in with a browser (OpenID Connect Core 1.0, 3.1).

    `client_id` and `client_secret` are those of Daypass at the provider; without a secret it is a public client. The
    secret is sealed by the storage ring, in base64. `roles` are ARNs of roles of the account: the first one whose trust
    policy admits the person is the role of the browser session. `name_claim` is the path of the claim that becomes the
    session name; its value is shortened to what a session name may contain.
    """

    client_id: str
    roles: tuple[str, ...]
    client_secret: str = ""
    scopes: tuple[str, ...] = ("openid",)
    name_claim: str = "sub"


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Settings of one provider. All have defaults; the default is strict.

    Attributes:
        issuer: the exact `iss` of its tokens when it is not "https://" and the provider's URL: with http://, or without
            a scheme.
        static_jwks: a JWKS (RFC 7517) as JSON text; keys are then never fetched.
        jwks_url, jwks_file: the location of the keys, when the issuer's discovery document does not give it.
        jwks_bearer, jwks_bearer_file: a bearer token for fetching keys (sealed, base64), or the file that contains it.
        ca_pem: further trust roots for this issuer's HTTPS, PEM.
        allow_private_networks, allow_http: whether keys may come from private addresses, and over plain HTTP.
        algorithms: allowed signature algorithms.
        token_types: accepted `typ` headers; case is ignored; a token without one is accepted.
        leeway_seconds: maximum difference between clocks.
        max_age_seconds: maximum age (`iat`) of a token; 0: until it expires.
        one_time: each token (`jti`) gets at most one session.
        tag_claims: (claim path, tag key): claims that become session tags. A path is that of the condition keys:
            names joined by "/", with "~1" for "/" and "~0" for "~" in a name (RFC 6901).
        transitive_tags: which of these tags are transitive.
        source_identity_claim: the path of the claim that becomes the source identity.
        spiffe_trust_domain: tokens are JWT-SVIDs of this trust domain: `sub` is a SPIFFE id in it, `iss` may be absent.
        token_review: ask a Kubernetes API server about each token.
        sign_in: people of the provider can sign in with a browser.
        default_role: the ARN of the role for an exchange that names no role, and the provider's ARN as its audience.
    """

    issuer: str = ""
    static_jwks: str = ""
    jwks_url: str = ""
    jwks_file: str = ""
    jwks_bearer: str = ""
    jwks_bearer_file: str = ""
    ca_pem: str = ""
    allow_private_networks: bool = False
    allow_http: bool = False
    algorithms: tuple[str, ...] = ALGORITHMS
    token_types: tuple[str, ...] = ("JWT", "JOSE")
    leeway_seconds: int = 60
    max_age_seconds: int = 0
    one_time: bool = False
    tag_claims: tuple[tuple[str, str], ...] = ()
    transitive_tags: tuple[str, ...] = ()
    source_identity_claim: str = ""
    spiffe_trust_domain: str = ""
    token_review: TokenReview | None = None
    sign_in: BrowserSignIn | None = None
    default_role: str = ""


_DEFAULT: Final = ProviderSettings()


@lru_cache(maxsize=256)
def parse_settings(text: str) -> ProviderSettings:
    """Parses a provider's settings. Raises ValueError that names the invalid member."""
    if len(text) > MAX_TEXT:
        raise ValueError("The settings are too long.")
    if sum(map(text.count, ",{[")) > _MAX_MARKS:
        raise ValueError(
            f"The settings have too many parts: at most {_MAX_MARKS} commas, braces and brackets are accepted."
        )
    try:
        members = read_json(text)
    except ValueError as error:
        raise ValueError(f"The settings cannot be read: {error}.") from None
    settings = ProviderSettings(**_checked(members, _READERS, ""))
    _check_together(settings)
    return settings


def dump_settings(settings: ProviderSettings) -> str:
    """The text of settings: the members that differ from their defaults."""
    shown = {
        field.name: getattr(settings, field.name)
        for field in fields(settings)
        if getattr(settings, field.name) != getattr(_DEFAULT, field.name)
    }
    for name, part in (("token_review", settings.token_review), ("sign_in", settings.sign_in)):
        if part is not None:
            shown[name] = asdict(part)
    if settings.tag_claims:
        shown["tag_claims"] = dict(settings.tag_claims)
    return json.dumps(shown)


def issuer_of(url: str, settings: ProviderSettings) -> str:
    """The exact `iss` required in tokens of the provider with this URL."""
    return settings.issuer or f"https://{url}"


def url_of(issuer: str) -> str:
    """The provider URL under which an issuer is looked up: without its scheme, otherwise as written."""
    for scheme in ("https://", "http://"):
        if issuer.startswith(scheme):
            return issuer.removeprefix(scheme)
    return issuer


# --- Reading ---------------------------------------------------------------------------------------------------------

Reader = Callable[[Any], Any]


def _checked(members: Any, readers: Mapping[str, Reader], within: str) -> dict[str, Any]:
    if not isinstance(members, dict):
        raise ValueError(f"{within or 'The settings'}: a JSON object is expected.")  # noqa: TRY004  # the text is wrong
    if unknown := sorted(members.keys() - readers.keys()):
        raise ValueError(f"{within}{unknown[0][:64]}: unknown setting.")
    read: dict[str, Any] = {}
    for name, value in members.items():
        try:
            read[name] = readers[name](value)
        except ValueError as error:
            raise ValueError(f"{within}{name}: {error}") from None
    return read


def _text(most: int) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"a string of at most {most} characters is expected.")
        return value

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is expected.")  # noqa: TRY004  # the text is wrong, not the program
    return value


def _whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high} is expected.")
        return value

    return read


def _texts(value: Any) -> tuple[str, ...]:
    short = _text(256)
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_ENTRIES:
        raise ValueError(f"a list of 1 to {_MAX_ENTRIES} strings is expected.")
    found = tuple(short(item) for item in value)
    if len(set(found)) != len(found) or "" in found:
        raise ValueError("the strings must be different, and not empty.")
    return found


def _algorithms(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    for name in found:
        if name not in ALGORITHMS:
            raise ValueError(f"{name[:32]!r} is none of {', '.join(ALGORITHMS)}.")
    return found


def _claims_to_tags(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or len(value) > _MAX_ENTRIES:
        raise ValueError(f"an object of at most {_MAX_ENTRIES} claim paths with a tag key each is expected.")
    path, key = _text(512), _text(128)
    found = tuple((path(claim), key(tag)) for claim, tag in value.items())
    if any(not claim or not tag for claim, tag in found):
        raise ValueError("a claim path or a tag key is empty.")
    if len({tag.lower() for _, tag in found}) != len(found):
        raise ValueError("two claims have the same tag key.")
    return found


def _jwks(value: Any) -> str:
    """As text, or as the object itself."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if len(text) > _MAX_JWKS:
        raise ValueError(f"at most {_MAX_JWKS} characters are taken.")
    if text:
        read = read_json(text)
        if not isinstance(read, dict) or not isinstance(read.get("keys"), list):
            raise ValueError('a JWKS is expected: {"keys": [...]}.')
        if any(isinstance(key, dict) and not PRIVATE_MEMBERS.isdisjoint(key) for key in read["keys"]):
            raise ValueError(
                "it holds a private key: settings are shown, and on the record. That key is lost; make another."
            )
    return text


def _certificates(value: Any) -> str:
    text: str = _text(65_536)(value)
    if "PRIVATE KEY" in text:
        raise ValueError("certificates alone are expected: it holds a private key.")
    return text


def _url(value: Any) -> str:
    text: str = _text(2048)(value)
    plain = text.isascii() and text.isprintable() and not any(c in text for c in ' "<>\\^`{|}#')
    if not plain or not text.startswith(("https://", "http://")) or not url_of(text).partition("/")[0]:
        raise ValueError("a URL with https:// or http:// is expected.")
    return text


def _issuer(value: Any) -> str:
    text: str = _text(262)(value)
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("printable ASCII without spaces is expected.")
    return text


def _trust_domain(value: Any) -> str:
    text: str = _text(255)(value)
    if not text or not set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_"):
        raise ValueError("a SPIFFE trust domain is expected: small letters, digits, dots, dashes and underscores.")
    return text


def _review(value: Any) -> TokenReview | None:
    if value is None:
        return None
    read = _checked(value, _REVIEW_READERS, "")
    if "url" not in read:
        raise ValueError("url: it is missing.")
    return TokenReview(**read)


def _sign_in(value: Any) -> BrowserSignIn | None:
    if value is None:
        return None
    read = _checked(value, _SIGN_IN_READERS, "")
    for name in ("client_id", "roles"):
        if not read.get(name):
            raise ValueError(f"{name}: it is missing.")
    return BrowserSignIn(**read)


def _roles(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    if len(found) > _MAX_ROLES or not all(_ROLE.fullmatch(role) for role in found):
        raise ValueError(f"1 to {_MAX_ROLES} ARNs of roles are expected.")
    return found


def _role(value: Any) -> str:
    text: str = _text(2048)(value)
    if text and not _ROLE.fullmatch(text):
        raise ValueError("the ARN of a role is expected.")
    return text


def _scopes(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    if "openid" not in found or not all(_SCOPE.fullmatch(scope) for scope in found):
        raise ValueError("names of scopes are expected, and openid among them.")
    return found


_SIGN_IN_READERS: Final[Mapping[str, Reader]] = {
    "client_id": _text(255),
    "roles": _roles,
    "client_secret": _text(16_384),
    "scopes": _scopes,
    "name_claim": _text(512),
}
_REVIEW_READERS: Final[Mapping[str, Reader]] = {
    "url": _url,
    "bearer": _text(16_384),
    "bearer_file": _text(4096),
    "cache_seconds": _whole(0, 10),
}
_READERS: Final[Mapping[str, Reader]] = {
    "issuer": _issuer,
    "static_jwks": _jwks,
    "jwks_url": _url,
    "jwks_file": _text(4096),
    "jwks_bearer": _text(16_384),
    "jwks_bearer_file": _text(4096),
    "ca_pem": _certificates,
    "allow_private_networks": _flag,
    "allow_http": _flag,
    "algorithms": _algorithms,
    "token_types": _texts,
    "leeway_seconds": _whole(0, 300),
    "max_age_seconds": _whole(0, _YEAR),
    "one_time": _flag,
    "tag_claims": _claims_to_tags,
    "transitive_tags": _texts,
    "source_identity_claim": _text(512),
    "spiffe_trust_domain": _trust_domain,
    "token_review": _review,
    "default_role": _role,
    "sign_in": _sign_in,
}


def _check_together(settings: ProviderSettings) -> None:
    mapped = {key.lower() for _, key in settings.tag_claims}
    for key in settings.transitive_tags:
        if key.lower() not in mapped:
            raise ValueError(f"transitive_tags: no claim becomes the tag {key!r}.")
    sources = ("static_jwks", "jwks_url", "jwks_file")
    if sum(bool(getattr(settings, name)) for name in sources) > 1:
        raise ValueError(f"Only one of {', '.join(sources)} can be set.")
    if settings.jwks_url.startswith("http://") and not settings.allow_http:
        raise ValueError("jwks_url: https:// is expected, unless allow_http is set.")
