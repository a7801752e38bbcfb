"""The settings of a resource server: its scopes as named session policies, and how tokens for it are made.

Sources: RFC 8707; RFC 6749, 3.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from daypass.domain.gateway import GatewayRoute, check_origin, check_routes
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.pattern import V2012
from daypass.domain.strict_json import cached_by_size, settings_reader

MAX_TEXT: Final = 65_536  # characters of the whole settings
MAX_POLICY: Final = 2_048  # characters of the policies of the scopes of one session: as of a session policy in AWS
_MAX_ENTRIES: Final = 100
_SCOPE = re.compile(r"[!#-\[\]-~]{1,64}")


class ScopeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One scope. `policy`: the session policy that it means; None: it allows nothing in Daypass."""

    description: str = ""
    policy: dict[str, Any] | None = None


class ResourceServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings of one resource server.

    Attributes:
        scopes: by name, each with a `description` and a session `policy`. Several add up, within the role. Tokens need at least
            one of them.
        default_scopes: for a request without `scope`. Empty: it is refused.
        algorithm: `ES256`, `EdDSA` or `RS256`. Empty: the server's.
        token_seconds: the longest lifetime of its tokens. 0: no limit.
        introspection_clients: clients of the account that may introspect its tokens.
        policy: the resource policy. Principals of other accounts also need its permission: `daypass:GetAccessToken`, and at a
            gateway the action of the route.
        routes: for proxies (`/gateway/auth`): a list of `path`, `action`, `resource` and `methods`. The first match decides.
        origin: scheme and host of the service, as DPoP proofs and signatures name it. Empty: those of the identifier.
    """

    scopes: dict[str, ScopeSettings] = {}  # msgspec copies it
    default_scopes: tuple[str, ...] = ()
    algorithm: Literal["", "ES256", "EdDSA", "RS256"] = ""
    token_seconds: int = 0
    introspection_clients: tuple[str, ...] = ()
    policy: dict[str, Any] | None = None
    routes: tuple[GatewayRoute, ...] = ()
    origin: str = ""


_read = settings_reader(ResourceServerSettings, MAX_TEXT)


@cached_by_size
def parse_resource_server(text: str) -> ResourceServerSettings:
    """Parses the settings of a resource server. Raises ValueError that names the invalid member.

    Whether the policies of its scopes are valid is checked where they are written.
    """
    settings = _read(text)
    if len(settings.scopes) > _MAX_ENTRIES or not all(map(_SCOPE.fullmatch, settings.scopes)):
        raise ValueError(f"scopes: at most {_MAX_ENTRIES} names of up to 64 characters without spaces are expected.")
    if unknown := [name for name in settings.default_scopes if name not in settings.scopes]:
        raise ValueError(f"default_scopes: unknown scope {unknown[0][:64]!r}.")
    if settings.token_seconds and not 60 <= settings.token_seconds <= 43_200:
        raise ValueError("token_seconds: 60 to 43200 are allowed, or 0.")
    check_routes(settings.routes)
    check_origin(settings.origin)
    return settings


def dump_resource_server(settings: ResourceServerSettings) -> str:
    """The text of settings: the members that differ from their defaults."""
    return msgspec.json.encode(settings).decode()


@cached_by_size
def resource_policy_of(settings: str) -> NamedPolicy | None:
    """The compiled resource policy in stored settings; None without one."""
    policy = parse_resource_server(settings).policy
    return None if policy is None else NamedPolicy("resource", compile_stored(policy_text(policy), PolicyKind.RESOURCE))


def policy_of(scopes: Iterable[ScopeSettings], servers: Iterable[str] = ()) -> str:
    """The session policy of a session with these scopes: what any of them allows. Raises ValueError when it is too long.

    Scopes without a policy add nothing. If none has a policy, the session is not limited: then the result is "".
    `servers`: the ARNs of resource servers for which the session may get further tokens.
    """
    policies = [scope.policy for scope in scopes if scope.policy is not None]
    statements = [statement for policy in policies for statement in _statements(policy)]
    if not statements:
        return ""
    if len(policy_text({"Version": V2012, "Statement": statements})) > MAX_POLICY:
        raise ValueError(f"the policies of the scopes have more than {MAX_POLICY} characters")
    if named := list(servers):
        statements.append({"Effect": "Allow", "Action": "daypass:GetAccessToken", "Resource": named})
    return policy_text({"Version": V2012, "Statement": statements})


def policy_text(policy: Mapping[str, Any]) -> str:
    """The JSON text of a policy in the settings. A fraction becomes its text, as conditions compare it."""
    return msgspec.json.encode(policy).decode()


def _statements(policy: dict[str, Any]) -> list[Any]:
    """The statements without their Sid, which must be unique in a policy, and in the newer version of the language."""
    stored = policy.get("Statement", [])
    listed = stored if isinstance(stored, list) else [stored]
    if policy.get("Version") != V2012:
        listed = _without_variables(listed)
    return [
        {name: value for name, value in one.items() if name != "Sid"} if isinstance(one, dict) else one
        for one in listed
    ]


def _without_variables(value: Any) -> Any:
    """The same part of a policy of V2008 in V2012: `${` begins a variable there, and `${$}` is a dollar sign."""
    if isinstance(value, str):
        return value.replace("${", "${$}{")
    if isinstance(value, list):
        return [_without_variables(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_variables(item) for name, item in value.items()}
    return value


# --- The binding of an access token to a key of its client: the claim `cnf` (RFC 7800)


JKT: Final = "jkt"
X5T: Final = "x5t#S256"


class Binding(NamedTuple):
    """`member` of `cnf`, and the thumbprint in it: of a public key (RFC 7638), or of a certificate; base64url."""

    member: str
    thumbprint: str

    @property
    def claim(self) -> dict[str, str]:
        return {self.member: self.thumbprint}


def binding_of(claims: Mapping[str, Any]) -> Binding | None:
    """The binding in the claims of a token of this server; None for a bearer token."""
    confirmation = claims.get("cnf")
    if not isinstance(confirmation, Mapping):
        return None
    for member in (JKT, X5T):
        if member in confirmation:
            return Binding(member, str(confirmation[member]))
    return None
