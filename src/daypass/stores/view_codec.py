"""Cached views as bytes, and back: for a snapshot of the directory on disk. Policies are stored as text and compiled
again; the secret of an access key is stored as it is in the database, sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from daypass.crypto.seal import Sealer
from daypass.domain.directory import AccessKey, Account, Grant, OAuthClient, Revocation, Role, User
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import PolicyDocument
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.session import FeedPosition
from daypass.ports.directory import (
    AccountView,
    KeyView,
    ManagedPolicyView,
    PolicyContentView,
    PrincipalView,
    RoleView,
    TrustAnchorView,
)
from daypass.stores.entities import ENTITY_TABLES

Policy: TypeAlias = tuple[str, PolicyKind, str]
"""Name, kind and text."""
Policies: TypeAlias = tuple[Policy, ...]
_encode = msgspec.msgpack.Encoder().encode


class _User(msgspec.Struct, array_like=True):
    user: User
    identity: Policies
    boundary: Policies | None


class _Role(msgspec.Struct, array_like=True):
    role: Role
    trust: Policy
    bindings: dict[str, str]
    identity: Policies
    boundary: Policies | None
    grants: tuple[Grant, ...]


class _Key(msgspec.Struct, array_like=True):
    key: AccessKey
    user: User | None


class _Account(msgspec.Struct, array_like=True):
    account: Account
    guardrails: tuple[Policies, ...]
    issuers: tuple[str, ...] | None


class _Content(msgspec.Struct, array_like=True):
    policy: Policy
    keep_until: int


_ENTITIES: Final[dict[str, type[Any]]] = {
    table.feed_keys[0].kind: entity for entity, table in ENTITY_TABLES.items() if table.cached
}
_STORED: Final[dict[str, Any]] = {
    "user": _User,
    "user_name": _User,
    "role": _Role,
    "role_name": _Role,
    "access_key": _Key,
    "account": _Account,
    "content": _Content,
    "policy": ManagedPolicyView,
    "x509_anchor": TrustAnchorView,
    "document_clients": tuple[OAuthClient, ...],
    **_ENTITIES,
}
_DECODERS: Final = {kind: msgspec.msgpack.Decoder(stored) for kind, stored in _STORED.items()}


def can_decode(key: str) -> bool:
    """Whether a view that is cached under this key can be made from bytes."""
    return key.partition(":")[0] in _DECODERS


def encode_view(view: Any) -> bytes:
    """The view as bytes. Raises TypeError for one that cannot be encoded."""
    return _encode(_stored(view))


def _stored(view: Any) -> Any:
    match view:
        case PrincipalView():
            return _User(view.entity, _texts(view.identity), _optional(view.boundary))  # type: ignore[arg-type]  # roles are in a RoleView
        case RoleView():
            principal = view.principal
            texts, boundary = _texts(principal.identity), _optional(principal.boundary)
            return _Role(view.role, _text(view.trust), view.bindings, texts, boundary, view.grants)
        case KeyView():
            return _Key(view.key, view.user)
        case AccountView():
            return _Account(view.account, tuple(map(_texts, view.guardrails)), view.issuers)
        case PolicyContentView():
            return _Content(_text(view.policy), view.keep_until)
        case _:
            return view


def _text(policy: NamedPolicy) -> Policy:
    return policy.name, policy.document.kind, policy.document.text


def _texts(policies: tuple[NamedPolicy, ...]) -> Policies:
    return tuple(map(_text, policies))


def _optional(policies: tuple[NamedPolicy, ...] | None) -> Policies | None:
    return None if policies is None else _texts(policies)


class ViewDecoder:
    """Makes views from bytes.

    Args:
        secrets: opens the secrets of access keys.
        compile_policy: compiles the text of a stored policy, as for views that are loaded.
    """

    def __init__(self, secrets: Sealer, compile_policy: Callable[[str, PolicyKind], PolicyDocument]) -> None:
        self._secrets = secrets
        self._compile = compile_policy

    def decode(self, key: str, data: bytes) -> Any:
        """The view that was cached under this key. Raises ValueError: the bytes are of another form, or a secret does
        not open.
        """
        decoder = _DECODERS.get(key.partition(":")[0])
        if decoder is None:
            raise ValueError(f"views of the kind {key.partition(':')[0]} are not known")
        stored = decoder.decode(data)
        match stored:
            case _User():
                return PrincipalView(stored.user, self._policies(stored.identity), self._boundary(stored.boundary))
            case _Role():
                principal = PrincipalView(stored.role, self._policies(stored.identity), self._boundary(stored.boundary))
                return RoleView(stored.role, self._policy(stored.trust), stored.bindings, principal, stored.grants)
            case _Key():
                key_ = stored.key
                secret = self._secrets.open_secret(key_.sealed_secret, key_.account, key_.owner_id).decode("ascii")
                return KeyView(key_, secret, stored.user)
            case _Account():
                return AccountView(stored.account, tuple(map(self._policies, stored.guardrails)), stored.issuers)
            case _Content():
                return PolicyContentView(self._policy(stored.policy), stored.keep_until)
            case _:
                return stored

    def _policy(self, stored: Policy) -> NamedPolicy:
        name, kind, text = stored
        return NamedPolicy(name, self._compile(text, kind))

    def _policies(self, stored: Policies) -> tuple[NamedPolicy, ...]:
        return tuple(map(self._policy, stored))

    def _boundary(self, stored: Policies | None) -> tuple[NamedPolicy, ...] | None:
        return None if stored is None else self._policies(stored)


# --- Image


class CachedView(NamedTuple):
    """A view with its cache key and the other feed keys that it depends on."""

    key: str
    view: Any
    depends_on: tuple[str, ...]


class DirectoryImage(NamedTuple):
    """Views and revocations as of one successful poll of the change feed.

    Attributes:
        position: of the change feed.
        as_of: when that poll began, ms.
        changes: grows when a cached view may have changed; compare it with that of an earlier image.
        views: the most recently used last.
        revocations: all that may match a session.
        others: the other processes that the registry listed.
    """

    position: FeedPosition
    as_of: int
    changes: int
    views: Sequence[CachedView]
    revocations: Sequence[Revocation]
    others: frozenset[str]
