"""Client metadata of dynamic registration (RFC 7591, 2) as the settings of a client, and back.

Members that are not known are ignored, as the RFC says. The members that limit what a client may ask for are Daypass's own:
whoever may create clients sets them once, and the client itself cannot change them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from daypass.domain.oauth.client import OPENID_SCOPES, SECRET_METHODS, ClientSettings, dump_client, parse_client

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
    scopes = _scopes(document, set(members.get("scopes", ())))
    if old is None:
        members["scopes"] = [*members.get("scopes", ()), *scopes]
    elif scopes:
        raise ValueError(f"scope: the client may not ask for {scopes[0][:64]!r}.")
    members["fapi_exceptions"] = _exceptions(str(members["token_endpoint_auth_method"]), members)
    return parse_client(json.dumps(members))


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
    return list(dict.fromkeys((*members.get("fapi_exceptions", ()), *_EXCEPTIONS, *own)))


def metadata_of(settings: ClientSettings) -> dict[str, Any]:
    """The metadata of a registered client, with the limits, for its own reading."""
    shown = {name: value for name, value in json.loads(dump_client(settings)).items() if name in (*_OWN, *_LIMITS)}
    scopes = ["openid", *settings.scopes]
    method = settings.token_endpoint_auth_method
    return {**shown, "token_endpoint_auth_method": method, "response_types": ["code"], "scope": " ".join(scopes)}
