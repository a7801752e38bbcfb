"""The parts of docs/reference/oauth.md that the code tells: they stand between `<!-- generated: NAME -->` and `<!-- end -->`.

The table of standards is written here, and each row names what is served of it. A row that names what is not served is an
error, and so is a grant, a method, a path or a member of the metadata that no row names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

import msgspec

from daypass.domain.errors import ErrorKind
from daypass.domain.oauth.client import ClientSettings
from daypass.domain.oauth.resource_server import ResourceServerSettings
from daypass.operations.oauth.request import ACTOR_TYPES, REQUESTED_TYPES, SUBJECT_TYPES, TokenType
from daypass.ports import AuthorizationServer, Env
from daypass.wire.console.members import descriptions
from daypass.wire.front import Front
from daypass.wire.oauth.errors import oauth_error
from daypass.wire.oauth.metadata import (
    AUTH_METHODS,
    oauth_routes,
    openid_configuration,
    protected_resource,
    served_metadata,
)
from daypass.wire.oauth.token import GRANTS
from daypass.wire.web.context import Site

ISSUER: Final = "https://daypass.example.com"
_REGION = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ALWAYS: Final = frozenset({"issuer", "authorization_servers", "resource"})  # members that every document needs


class Standard(NamedTuple):
    """A standard, what is supported of it, and the names of what is served: paths, members of metadata, grants, methods,
    token types, errors.
    """

    name: str
    part: str
    served: str


STANDARDS: Final = (
    Standard("[RFC 6749](https://www.rfc-editor.org/rfc/rfc6749)", "Codes, client credentials, refresh tokens; parameters in the body. No implicit flow or passwords", "/oauth2/token /oauth2/authorize authorization_endpoint token_endpoint authorization_code client_credentials refresh_token client_secret_basic client_secret_post none response_types_supported response_modes_supported grant_types_supported token_endpoint_auth_methods_supported"),
    Standard("[RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)", "Bearer tokens in the `Authorization` header, at UserInfo also in a form", "bearer_methods_supported"),
    Standard("[RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)", "Revocation of access and refresh tokens", "/oauth2/revoke revocation_endpoint revocation_endpoint_auth_methods_supported revocation_endpoint_auth_signing_alg_values_supported"),
    Standard("[RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)", "Public keys, published more than a day before they sign", "/.well-known/jwks.json jwks_uri"),
    Standard("[RFC 7523](https://www.rfc-editor.org/rfc/rfc7523)", "Assertions of the account's providers as a grant; `private_key_jwt` with the issuer as the only audience, once each. No `client_secret_jwt`", "urn:ietf:params:oauth:grant-type:jwt-bearer private_key_jwt token_endpoint_auth_signing_alg_values_supported"),
    Standard("[RFC 7591](https://www.rfc-editor.org/rfc/rfc7591), [RFC 7592](https://www.rfc-editor.org/rfc/rfc7592)", "With the setting `oauth.registration`. No software statements", "/oauth2/register /oauth2/register/"),
    Standard("[RFC 7636](https://www.rfc-editor.org/rfc/rfc7636)", "`S256`; required, unless `fapi_exceptions` has `pkce`", "code_challenge_methods_supported"),
    Standard("[RFC 7662](https://www.rfc-editor.org/rfc/rfc7662), [RFC 9701](https://www.rfc-editor.org/rfc/rfc9701)", "Introspection as JSON, or as a signed JWT for `Accept: application/token-introspection+jwt`; with `act` and `cnf`. Not encrypted", "/oauth2/introspect introspection_endpoint introspection_endpoint_auth_methods_supported introspection_endpoint_auth_signing_alg_values_supported introspection_signing_alg_values_supported"),
    Standard("[RFC 8414](https://www.rfc-editor.org/rfc/rfc8414)", "Metadata: exactly what is served. No signed metadata", "/.well-known/oauth-authorization-server"),
    Standard("[RFC 8628](https://www.rfc-editor.org/rfc/rfc8628)", "The device grant", "/oauth2/device_authorization /device /device/code /device/decision device_authorization_endpoint urn:ietf:params:oauth:grant-type:device_code authorization_pending slow_down expired_token"),
    Standard("[RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)", "All parameters; `act` and `may_act`", "urn:ietf:params:oauth:grant-type:token-exchange"),
    Standard("[RFC 8705](https://www.rfc-editor.org/rfc/rfc8705)", "Both methods of authentication, and bound tokens, also behind a proxy. No aliases of endpoints", "tls_client_auth self_signed_tls_client_auth tls_client_certificate_bound_access_tokens"),
    Standard("[RFC 8707](https://www.rfc-editor.org/rfc/rfc8707)", "`resource`, several of them", "invalid_target"),
    Standard("[RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)", "Claims and type (`at+jwt`) of access tokens", "urn:ietf:params:oauth:token-type:access_token"),
    Standard("[RFC 9126](https://www.rfc-editor.org/rfc/rfc9126)", "Required of confidential clients, unless `fapi_exceptions` has `unpushed_requests`. No request objects", "/oauth2/par pushed_authorization_request_endpoint"),
    Standard("[RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)", "`iss` in every answer to a client", "authorization_response_iss_parameter_supported"),
    Standard("[RFC 9396](https://www.rfc-editor.org/rfc/rfc9396)", "One object of the type `urn:daypass:session`", "authorization_details_types_supported invalid_authorization_details"),
    Standard("[RFC 9440](https://www.rfc-editor.org/rfc/rfc9440)", "`Client-Cert` and `Client-Cert-Chain` from trusted proxies", "tls_client_auth"),
    Standard("[RFC 9449](https://www.rfc-editor.org/rfc/rfc9449)", "DPoP everywhere, with nonces; `dpop_jkt`", "dpop_signing_alg_values_supported invalid_dpop_proof use_dpop_nonce"),
    Standard("[RFC 9470](https://www.rfc-editor.org/rfc/rfc9470)", "`acr_values`, `max_age`, `unmet_authentication_requirements` at the authorization endpoint", "acr_values_supported"),
    Standard("[RFC 9728](https://www.rfc-editor.org/rfc/rfc9728)", "Metadata of this server and of each resource server", "/.well-known/oauth-protected-resource"),
    Standard("[OpenID Connect Core 1.0](https://openid.net/specs/openid-connect-core-1_0.html)", "Code flow; ID tokens with `nonce`, `auth_time`, `acr`, `amr`, `sid`, also with a refresh token; `prompt`, `id_token_hint`, UserInfo; claims for `profile`, `email` and `groups`. `login_hint`, `display`, `ui_locales`, `address`, `phone` and `offline_access` have no effect. No `claims`, request objects, pairwise subjects, other flows", "/oauth2/userinfo /oauth2/authorize/consent userinfo_endpoint subject_types_supported id_token_signing_alg_values_supported scopes_supported claims_supported prompt_values_supported urn:ietf:params:oauth:token-type:id_token"),
    Standard("[OpenID Connect Discovery 1.0](https://openid.net/specs/openid-connect-discovery-1_0.html)", "Metadata of this server and of each account's issuer for other clouds", "/.well-known/openid-configuration /outbound/ request_uri_parameter_supported"),
    Standard("[OpenID Connect RP-Initiated Logout 1.0](https://openid.net/specs/openid-connect-rpinitiated-1_0.html)", "`id_token_hint`, `client_id`, `post_logout_redirect_uri`, `state`. The person always confirms. `logout_hint` and `ui_locales` have no effect", "/oauth2/logout /oauth2/logout/confirm end_session_endpoint"),
    Standard("[OpenID Connect Back-Channel Logout 1.0](https://openid.net/specs/openid-connect-backchannel-1_0.html)", "`sub` and `sid`, repeated until the client answers", "backchannel_logout_supported backchannel_logout_session_supported"),
    Standard("[Client ID Metadata Documents](https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/)", "Public clients and `private_key_jwt`, for URLs in `metadata_documents` of a client", "client_id_metadata_document_supported"),
    Standard("[Identity Assertion Authorization Grant](https://datatracker.ietf.org/doc/draft-ietf-oauth-identity-assertion-authz-grant/)", "Issued and redeemed; see [below](#identity-assertions)", "urn:ietf:params:oauth:token-type:id-jag"),
    Standard("[Token Status List](https://datatracker.ietf.org/doc/draft-ietf-oauth-status-list/)", "Lists of one bit as signed JWTs. No CWT, no aggregation", "/statuslists/"),
    Standard("[AWS Sign-In](https://docs.aws.amazon.com/signin/latest/APIReference/Welcome.html)", "`aws login` of the AWS CLI, and the `login` provider of AWS SDKs ([how-to](../how-to/use-aws-tools.md#aws-login-without-keys))", "/v1/authorize /v1/sessions/confirmation /v1/token /v1/introspect /v1/revoke /list-sessions /get-session /batch-revoke-sessions"),
    Standard("[CORS](https://fetch.spec.whatwg.org/#http-cors-protocol)", "See [single-page applications](../how-to/sign-people-in.md#single-page-applications)", "/oauth2/token /oauth2/revoke /oauth2/par /oauth2/userinfo /statuslists/"),
    Standard("Daypass", "Workloads authenticate by AWS signatures; sessions are exchanged between their two forms", "aws_sigv4 urn:daypass:token-type:aws-credentials urn:daypass:token-type:presigned-get-caller-identity"),
)  # fmt: skip


def page(text: str, table: Any, listed: Any, described: Any) -> str:
    """The page with each region filled. `table`, `listed`, `described`: see gen_docs."""
    regions = _regions(table, listed, described)
    used = set[str]()

    def filled(match: re.Match[str]) -> str:
        used.add(match["name"])
        return f"{match[1]}\n{regions[match['name']]}\n{match[3]}"

    made = _REGION.sub(filled, text)
    described("oauth.md, whose regions are not all there", "yes" if used == set(regions) else "")
    return made


def _regions(table: Any, listed: Any, described: Any) -> dict[str, str]:
    metadata = openid_configuration(_server(), served_metadata(_server()))
    return {
        "paths": listed((f"`{methods} {path}`", purpose) for path, methods, purpose in _paths()),
        "standards": listed(_standards(metadata, described)),
        "grants": _grants(),
        "client-settings": listed(_settings(ClientSettings, described)),
        "resource-server-settings": listed(_settings(ResourceServerSettings, described)),
        "token-types": table(("Type", "Subject", "Actor", "Can be requested"), _token_types()),
        "errors": listed(_errors()),
    }


def _server() -> AuthorizationServer:
    """A server with the algorithms of the default settings."""

    class Signer:
        algorithms = ("ES256",)

    return AuthorizationServer(ISSUER, cast("Any", SimpleNamespace(signer=Signer())))


def shown_methods(methods: Iterable[str]) -> str:
    """The methods of a path, without HEAD, which comes with GET."""
    return ",".join(sorted({*methods} - {"HEAD"})) or "any"


def _paths() -> Iterable[tuple[str, str, str]]:
    front = Front(cast("Env", None))  # the table is built, not called
    rows = [(row.path, shown_methods(row.methods), row.summary) for row in oauth_routes(front, Site(front, ""))]
    return sorted([*rows, ("/statuslists/", "GET", "A status list token: which access tokens are revoked")])


def paths() -> frozenset[str]:
    """The paths that this page lists."""
    return frozenset(path for path, _, _ in _paths())


def _standards(metadata: Mapping[str, Any], described: Any) -> Iterable[tuple[str, str]]:
    """Checks both directions: whatever a row names is served, and whatever is served is named by a row."""
    required = {*paths(), *metadata, *protected_resource(_server(), served_metadata(_server())), *GRANTS, *AUTH_METHODS}
    served = {*required, *TokenType, *(code for code, _ in map(oauth_error, ErrorKind))}
    named = {name for row in STANDARDS for name in row.served.split()}
    for missing in sorted(named - served):
        described(f"{missing}, named in STANDARDS of tools/gen_oauth.py but not served,", "")
    for missing in sorted(required - named - _ALWAYS):
        described(
            f"{missing}, named by no row of STANDARDS in tools/gen_oauth.py (add it to the row of its standard),", ""
        )
    return ((row.name, row.part) for row in STANDARDS)


def _grants() -> str:
    return "".join(
        f"- `{name}`{'' if grant.needs_client else ', also without a client'}\n" for name, grant in GRANTS.items()
    )


def _settings(kind: type[Any], described: Any) -> Iterable[tuple[str, str]]:
    """Each field, with the paragraph of the class's docstring that begins with its name, and its default."""
    texts = descriptions(kind)
    rows: dict[str, list[str]] = {}
    for field in msgspec.structs.fields(kind):
        default = "" if field.default is msgspec.NODEFAULT else field.default
        shown = default if isinstance(default, str) else ", ".join(default) if isinstance(default, tuple) else default
        text = described(f"{kind.__name__}.{field.name}", texts.get(field.name))
        meaning = f"{text.rstrip('.')}; default `{shown}`." if default and shown else text
        rows.setdefault(meaning, []).append(f"`{field.name}`")
    return ((", ".join(names), meaning) for meaning, names in rows.items())


def _token_types() -> Iterable[tuple[str, str, str, str]]:
    def mark(found: bool) -> str:  # noqa: FBT001  # a cell of a table
        return "yes" if found else ""

    return (
        (f"`{kind}`", mark(kind in SUBJECT_TYPES), mark(kind in ACTOR_TYPES), mark(kind in REQUESTED_TYPES))
        for kind in TokenType
    )


def _errors() -> Iterable[tuple[str, str]]:
    """Each code and status with the kinds of errors that have it; the pair of most kinds stands for all that are not named."""
    found: dict[tuple[str, int], list[str]] = {}
    for kind in ErrorKind:
        found.setdefault(oauth_error(kind), []).append(f"`{kind.value}`")
    most = max(found.values(), key=len)
    return (
        (f"`{code}`, {status}", "every other kind" if kinds is most else ", ".join(kinds))
        for (code, status), kinds in sorted(found.items())
    )
