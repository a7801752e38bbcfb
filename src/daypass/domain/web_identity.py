"""Maps the claims of a verified token to context keys, session tags and a source identity.

Pure and strict: an ambiguous claim, or one that requests session properties in a form that AWS does not document, makes
the whole token unusable. This module verifies nothing: pass only verified claims.
Sources: IAM User Guide, "Pass session tags in AWS STS", "IAM and AWS STS condition context keys"; STS API,
"AssumeRoleWithWebIdentity".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from daypass.domain.directory import Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import Value
from daypass.domain.policy.pattern import fold
from daypass.domain.provider_settings import ProviderSettings
from daypass.domain.session import MAX_TAGS, is_tag_text

TAGS: Final = "https://aws.amazon.com/tags"
MAX_GROUPS: Final = 200
"""Groups of a person in ID tokens. AWS allows a user ten; the token of a provider may name hundreds."""
_MAX_TEXT: Final = 320  # the longest email address (RFC 5321, 4.5.3.1)
SOURCE_IDENTITY: Final = "https://aws.amazon.com/source_identity"

MAX_KEYS: Final = 400  # context keys that a token may have
MAX_VALUES: Final = 2000  # of all of them together
MAX_PATH: Final = 1024  # characters of one
_MAX_METHODS: Final = 16

# An issuer's host, port and path, as in a provider's URL. A colon in the path, or a name that is also a service prefix
# of condition keys ("aws", "sts"), would let claims set other keys.
_URL = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?(?:/[^:\s]*)?")
_MAYBE_PORT = re.compile(r"[0-9]{1,5}(?:/[^:]*)?:.*", re.DOTALL)
_ORIGINAL_AUDIENCE: Final = "oaud"  # never from a claim: only `audience_keys` sets it
_SOURCE_IDENTITY = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")


class UnusableClaimsError(ValueError):
    """Verified claims that cannot be used. The message is for the sender of the token."""


def no_provider(unverified_issuer: str, account: str, reason: str) -> DaypassError:
    """The refusal of a token that no provider of `account` (12 digits) accepts.

    It has one text for every reason: without a valid signature the sender does not even learn which providers exist.
    """
    shown = unverified_issuer[:255] if unverified_issuer.isprintable() else ""
    return DaypassError(
        ErrorKind.INVALID_IDENTITY_TOKEN,
        f"No OpenIDConnect provider found in your account for {shown} whose keys verify this token",
        private={"account": account, "reason": reason, "unverified_issuer": unverified_issuer[:255]},
    )


# --- Context keys ----------------------------------------------------------------------------------------------------


def is_usable_url(url: str) -> bool:
    """Whether condition keys that begin with this provider URL cannot be read as any other key."""
    return _URL.fullmatch(url) is not None and any(mark in url for mark in ".:/")


def names_another_person(url: str, subject: str) -> bool:
    """Whether `URL:subject` could also name a person of another provider, at a port of the same host.

    Trust policies, revocations and clients identify people and actors by this text.
    """
    return _is_host(url) and _MAYBE_PORT.fullmatch(subject) is not None


def _is_host(url: str) -> bool:
    return ":" not in url and "/" not in url


def claim_keys(url: str, claims: Mapping[str, Any]) -> dict[str, Value]:
    """Every claim as a context key `URL:path`, lower-cased. Nested claims have paths (RFC 6901), arrays have several values.

    Numbers and booleans become the text that conditions compare. A null claim has no key. Arrays and objects inside an
    array get their index in the path. If a claim's path could be the port and path of a longer provider URL, the key
    belongs to that provider and is omitted. Raises UnusableClaimsError.
    """
    keys: dict[str, Value] = {}
    bare = _is_host(url)
    count = 0
    for path, value in _flattened(claims, ""):
        count += 1 if isinstance(value, str) else len(value)
        if len(path) > MAX_PATH or len(keys) >= MAX_KEYS or count > MAX_VALUES:
            raise UnusableClaimsError("The token has too many claims, or too deep ones.")
        if (bare and _MAYBE_PORT.fullmatch(path)) or fold(path) == _ORIGINAL_AUDIENCE:
            continue
        key = fold(f"{url}:{path}")
        if key in keys:
            raise UnusableClaimsError(f"Two claims of the token differ in case alone: {path[:128]!r}.")
        keys[key] = value
    return keys


def audience_keys(url: str, audiences: tuple[str, ...], azp: str) -> dict[str, Value]:
    """`URL:aud` and `URL:oaud` as in AWS: with an authorized party, `aud` is that party and `oaud` is the audience."""
    audience: Value = audiences[0] if len(audiences) == 1 else audiences
    if azp:
        return {fold(f"{url}:aud"): azp, fold(f"{url}:oaud"): audience}
    return {fold(f"{url}:aud"): audience}


def session_keys(arn: str, url: str, keys: Mapping[str, Value]) -> dict[str, Value]:
    """The keys that policies also see in calls of the session: aws:FederatedProvider, and the claims `sub`, `aud`, `amr`.

    Source: IAM User Guide, "IAM and AWS STS condition context keys", cross-service OIDC federation context keys.
    """
    kept = (fold(f"{url}:{claim}") for claim in ("sub", "aud", "amr"))
    return {"aws:federatedprovider": arn, **{key: keys[key] for key in kept if key in keys}}


def authentication(claims: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """`auth_time` in ms, 0 when it is absent or no time, and `amr` without values that are not usable."""
    at, amr = claims.get("auth_time"), claims.get("amr")
    seconds = int(at) if isinstance(at, (int, Decimal)) and not isinstance(at, bool) and 0 < at < 2**40 else 0
    methods = amr if isinstance(amr, list) else []
    short = (each for each in methods[:_MAX_METHODS] if isinstance(each, str) and 0 < len(each) <= 64)
    return seconds * 1000, tuple(short)


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim at a path in the form of `claim_keys`, case-sensitive; None when it is absent."""
    value: Any = claims
    for part in path.split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _flattened(members: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Value]]:
    for name, value in members.items():
        path = prefix + name.replace("~", "~0").replace("/", "~1")
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{path}/")
        elif isinstance(value, list):
            scalars = tuple(text for text in map(scalar_text, value) if text is not None)
            if scalars:
                yield path, scalars
            nested = {str(i): item for i, item in enumerate(value) if isinstance(item, (Mapping, list))}
            yield from _flattened(nested, f"{path}/")
        else:
            text = scalar_text(value)
            if text is not None:
                yield path, text


def scalar_text(value: Any) -> str | None:
    """A string, number or boolean as conditions compare it; None for any other type."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, int) else None


# --- The requested session ------------------------------------------------------------------------------------------


class RequestedSession(NamedTuple):
    """The parts of a session that a token requests."""

    tags: Tags
    transitive_keys: tuple[str, ...]
    source_identity: str


def requested_session(claims: Mapping[str, Any], settings: ProviderSettings) -> RequestedSession:
    """Tags, transitive keys and source identity from AWS's own claims and from the claims in the provider's settings.

    Raises UnusableClaimsError.
    """
    tags = (*_aws_tags(claims), *_mapped_tags(claims, settings))
    seen: set[str] = set()
    for key, value in tags:
        problem = "it is there twice" if key.lower() in seen else tag_problem(key, value)
        if problem:
            raise UnusableClaimsError(f"The session tag {key[:128]!r} of the token cannot be used: {problem}.")
        seen.add(key.lower())
    if len(tags) > MAX_TAGS:
        raise UnusableClaimsError(f"The token has more than {MAX_TAGS} session tags.")
    mapped = (key for key in settings.transitive_tags if key.lower() in seen)
    return RequestedSession(tags, (*_aws_transitive(claims), *mapped), _source_identity(claims, settings))


def tag_problem(key: str, value: str) -> str:
    """Why this is not a valid session tag, or "" (STS API, Tag)."""
    if not key or not is_tag_text(key, 128):
        return "a key has 1 to 128 letters, digits, spaces and _.:/=+-@"
    if key.lower().startswith("aws:"):
        return "keys that begin with aws: are reserved"
    if not is_tag_text(value, 256):
        return "a value has at most 256 letters, digits, spaces and _.:/=+-@"
    return ""


def _aws_tags(claims: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Nested, or flattened for issuers without nested claims: "https://aws.amazon.com/tags/principal_tags/KEY"."""
    nested = _aws_member(claims, "principal_tags", dict)
    flat_prefix = f"{TAGS}/principal_tags/"
    flat = {name.removeprefix(flat_prefix): value for name, value in claims.items() if name.startswith(flat_prefix)}
    for key, value in (*nested.items(), *flat.items()):
        values = value if isinstance(value, list) else [value]
        if len(values) != 1 or not isinstance(values[0], str):
            raise UnusableClaimsError(f"The session tag {key[:128]!r} of the token must have one string as its value.")
        yield key, values[0]


def _aws_transitive(claims: Mapping[str, Any]) -> tuple[str, ...]:
    flat = claims.get(f"{TAGS}/transitive_tag_keys", [])
    nested = _aws_member(claims, "transitive_tag_keys", list)
    if not isinstance(flat, list) or not all(isinstance(key, str) for key in (*nested, *flat)):
        raise UnusableClaimsError("The transitive tag keys of the token must be a list of strings.")
    return (*nested, *flat)


def _aws_member(claims: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    whole = claims.get(TAGS, {})
    member = whole.get(name, kind()) if isinstance(whole, dict) else None
    if not isinstance(member, kind):
        raise UnusableClaimsError(f"The claim {TAGS} of the token has another form than AWS documents.")
    return member


def _mapped_tags(claims: Mapping[str, Any], settings: ProviderSettings) -> Iterator[tuple[str, str]]:
    for path, key in settings.tag_claims:
        value = _single(claims, path)
        if value is not None:
            yield key, value


def _source_identity(claims: Mapping[str, Any], settings: ProviderSettings) -> str:
    asked = claims.get(SOURCE_IDENTITY)
    mapped = _single(claims, settings.source_identity_claim) if settings.source_identity_claim else None
    if asked is not None and mapped is not None and asked != mapped:
        raise UnusableClaimsError("The token names two source identities.")
    chosen = mapped if asked is None else asked
    if chosen is None:
        return ""
    valid = isinstance(chosen, str) and _SOURCE_IDENTITY.fullmatch(chosen)
    if not valid or chosen.lower().startswith("aws:"):
        raise UnusableClaimsError("The source identity of the token must have 2 to 64 letters, digits and _+=,.@-.")
    return str(chosen)


def _single(claims: Mapping[str, Any], path: str) -> str | None:
    """The single value of a claim; None when it is absent."""
    value = claim_at(claims, path)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None:
        return None
    text = scalar_text(value)
    if text is None:
        raise UnusableClaimsError(f"The claim {path[:128]!r} of the token must have one value.")
    return text


# --- Claims about people -----------------------------------------------------------------------------------------------


def standard_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about a person from a provider's ID token, if they have the form of the standard claims."""
    texts = {name: claims.get(name) for name in ("name", "preferred_username", "email")}
    known: dict[str, Any] = {name: text for name, text in texts.items() if _is_text(text)}
    if "email" in known:
        known["email_verified"] = claims.get("email_verified") is True
    groups = claims.get("groups")
    if isinstance(groups, list):
        known["groups"] = [text for text in groups[:MAX_GROUPS] if _is_text(text)]
    return known


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable()
