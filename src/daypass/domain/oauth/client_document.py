"""Client ID metadata documents: a client whose client_id is the URL of a document that describes it.

A client of an account (`ClientSettings.metadata_documents`) lists which URLs are accepted, and limits what such clients may
ask for. The document only says how the client is called, where people return to, and how it authenticates.
Source: draft-ietf-oauth-client-id-metadata-document, 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daypass.domain.oauth.client import ClientSettings, check_client, check_signing_keys
from daypass.domain.oauth.client_id_url import host_of
from daypass.domain.oauth.redirects import redirect_uri_fault
from daypass.domain.strict_json import read_json

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
        raise ValueError(f"its {name} is not a list of strings")
    return tuple(value)
