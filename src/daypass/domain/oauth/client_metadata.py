"""Client metadata, of dynamic registration (RFC 7591, 2) or at the URL of a client id, as the settings of a client.

Members that are not known are ignored, as the RFC says. The members that limit what a client may ask for are Daypass's own:
whoever may create clients sets them once, and the client itself cannot change them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from daypass.domain.oauth.client import (
    OPENID_SCOPES,
    SECRET_METHODS,
    ClientSettings,
    check_client,
    check_signing_keys,
    dump_client,
    parse_client,
)
from daypass.domain.oauth.urls import host_of, redirect_uri_fault
from daypass.domain.strict_json import read_json

METHODS: Final = (
    *("client_secret_basic", "client_secret_post", "private_key_jwt", "none"),
    *("tls_client_auth", "self_signed_tls_client_auth"),
)
_OWN: Final = (
    *("token_endpoint_auth_method", "redirect_uris", "post_logout_redirect_uris", "grant_types", "jwks", "jwks_uri"),
    *("tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri", "backchannel_logout_uri"),
    *("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens", "id_token_signed_response_alg"),
)
"""The client's own description."""
_LIMITS: Final = (
    *("roles", "default_role", "audiences", "scopes", "default_scopes", "claims", "refresh_token_seconds"),
    *("fapi_exceptions", "trust_anchor", "tls_client_certificates"),
)
"""Settings made at registration by a principal that may create clients."""
_EXCEPTIONS: Final = (
    "bearer_tokens",
    "unpushed_requests",
)  # clients that register themselves know neither DPoP nor PAR


def settings_of(document: Mapping[str, Any], old: ClientSettings | None = None) -> ClientSettings:
    """The settings that metadata describe. `old`: those of the client that changes its own; None for a new client.

    Raises ValueError that names the member that is not valid.
    """
    members: dict[str, Any] = {
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code"],
        **{name: document[name] for name in _OWN if document.get(name) is not None},
    }
    if members["token_endpoint_auth_method"] not in METHODS:
        raise ValueError(f"token_endpoint_auth_method: one of {', '.join(METHODS)} is expected.")
    if document.get("response_types", ["code"]) not in (["code"], []):
        raise ValueError("response_types: code is the only one here.")
    if old is None:
        members |= {name: document[name] for name in _LIMITS if document.get(name) is not None}
    else:
        known = json.loads(dump_client(old))
        members |= {name: known[name] for name in _LIMITS if name in known}
    scopes = _scopes(document, set(_texts(members, "scopes")))
    if old is None:
        members["scopes"] = [*_texts(members, "scopes"), *scopes]
    elif scopes:
        raise ValueError(f"scope: the client may not ask for {scopes[0][:64]!r}.")
    members["fapi_exceptions"] = _exceptions(str(members["token_endpoint_auth_method"]), members)
    return parse_client(json.dumps(members, default=str))


def _scopes(document: Mapping[str, Any], known: set[str]) -> list[str]:
    """The scopes in `scope` that are neither known nor those of OpenID Connect."""
    text = document.get("scope", "")
    if not isinstance(text, str):
        raise ValueError("scope: a string is expected.")  # noqa: TRY004  # the metadata are wrong, not the program
    return [name for name in dict.fromkeys(text.split()) if name not in known | OPENID_SCOPES]


def _exceptions(method: str, members: Mapping[str, Any]) -> list[str]:
    if method == "none":
        return []
    own = ("client_secret",) if method in SECRET_METHODS else ()
    return list(dict.fromkeys((*_texts(members, "fapi_exceptions"), *_EXCEPTIONS, *own)))


def metadata_of(settings: ClientSettings) -> dict[str, Any]:
    """The metadata of a registered client, with the limits, for its own reading."""
    shown = {name: value for name, value in json.loads(dump_client(settings)).items() if name in (*_OWN, *_LIMITS)}
    scopes = ["openid", *settings.scopes]
    method = settings.token_endpoint_auth_method
    return {**shown, "token_endpoint_auth_method": method, "response_types": ["code"], "scope": " ".join(scopes)}


# --- Client ID metadata documents: a client whose client_id is the URL of a document that describes it


MAX_DOCUMENT: Final = 10_240  # bytes; the draft advises 5 KB
_MAX_MARKS: Final = 400
_MAX_NAME: Final = 128
_SECRET_MEMBERS: Final = ("client_secret", "client_secret_expires_at")
_METHODS: Final = ("none", "private_key_jwt")
_GRANTS: Final = ("authorization_code", "refresh_token")


def read_document(client_id: str, body: bytes, limits: ClientSettings) -> tuple[str, ClientSettings]:
    """The name and the settings of the client that a document describes. `limits`: of the client that lists it.

    Raises ValueError that says what is wrong.
    """
    document = _parsed(body)
    if document.get("client_id") != client_id:
        raise ValueError("its client_id is not the URL that it was fetched from")
    if any(name in document for name in _SECRET_MEMBERS):
        raise ValueError("it holds a client secret, which a public document cannot")
    method = document.get("token_endpoint_auth_method", "none")
    if method not in _METHODS:
        raise ValueError(f"its token_endpoint_auth_method is not one of {', '.join(_METHODS)}")
    grants = _texts(document, "grant_types") or ("authorization_code",)
    settings = ClientSettings(
        token_endpoint_auth_method=method,
        jwks=document.get("jwks") if method == "private_key_jwt" and isinstance(document.get("jwks"), dict) else None,
        jwks_uri=_text(document, "jwks_uri") if method == "private_key_jwt" else "",
        redirect_uris=tuple(
            uri for uri in _texts(document, "redirect_uris") if not redirect_uri_fault(uri, native=method == "none")
        ),
        grant_types=tuple(name for name in _GRANTS if name in grants and name in limits.grant_types),
        roles=limits.roles,
        audiences=limits.audiences,
        scopes=limits.scopes,
        default_scopes=limits.default_scopes,
        claims=limits.claims,
        id_token_signed_response_alg=limits.id_token_signed_response_alg,
        dpop_bound_access_tokens=limits.dpop_bound_access_tokens or _flag(document, "dpop_bound_access_tokens"),
        tls_client_certificate_bound_access_tokens=limits.tls_client_certificate_bound_access_tokens
        or _flag(document, "tls_client_certificate_bound_access_tokens"),
        fapi_exceptions=("bearer_tokens", "other_algorithms", "unpushed_requests")
        if method == "private_key_jwt"
        else (),
        refresh_token_seconds=limits.refresh_token_seconds,
    )
    check_client(settings)
    check_signing_keys(settings)
    name = _text(document, "client_name").strip()[:_MAX_NAME]
    host = host_of(client_id)
    return f"{name} ({host})" if name else host, settings


def _parsed(body: bytes) -> Mapping[str, Any]:
    if len(body) > MAX_DOCUMENT or sum(map(body.count, b",{[")) > _MAX_MARKS:
        raise ValueError(f"it has more than {MAX_DOCUMENT} bytes, or too many parts")
    document = read_json(body)
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004  # the document is wrong, not the program
    return document


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"its {name} is not a string")  # noqa: TRY004  # as above
    return value


def _flag(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"its {name} is not true or false")  # noqa: TRY004  # as above
    return value


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{name}: a list of strings is expected.")
    return tuple(value)
