"""Cached views as bytes, and back: for a snapshot of the directory on disk. Policies are stored as text and compiled
again; the secret of an access key is stored as it is in the database, sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from daypass.crypto.seal import Sealer
from daypass.domain.directory import Grant, OAuthClient, Revocation, Role, User
from daypass.domain.policy.compiled import PolicyDocument, PolicyKind
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

Policies = tuple[NamedPolicy, ...]


class _User(msgspec.Struct, array_like=True):
    user: User
    identity: Policies
    boundary: Policies | None


class _Role(msgspec.Struct, array_like=True):
    role: Role
    trust: NamedPolicy
    bindings: dict[str, str]
    identity: Policies
    boundary: Policies | None
    grants: tuple[Grant, ...]


_STORED: Final[dict[str, Any]] = {
    "user": _User,
    "user_name": _User,
    "role": _Role,
    "role_name": _Role,
    "access_key": KeyView,
    "account": AccountView,
    "content": PolicyContentView,
    "policy": ManagedPolicyView,
    "x509_anchor": TrustAnchorView,
    "document_clients": tuple[OAuthClient, ...],
    **{table.feed_keys[0].kind: entity for entity, table in ENTITY_TABLES.items() if table.cached},
}
"""The form of each kind of view. A principal says which of the two it is."""


def _policy_out(document: Any) -> Any:
    if not isinstance(document, PolicyDocument):
        raise TypeError(type(document).__name__)
    return document.kind, document.text


_encode = msgspec.msgpack.Encoder(enc_hook=_policy_out).encode


def can_decode(key: str) -> bool:
    """Whether a view that is cached under this key can be made from bytes."""
    return key.partition(":")[0] in _STORED


def encode_view(view: Any) -> bytes:
    """The view as bytes. Raises TypeError for one that cannot be encoded."""
    match view:
        case PrincipalView():
            return _encode(_User(view.entity, view.identity, view.boundary))  # type: ignore[arg-type]  # roles are in a RoleView
        case RoleView():
            of = view.principal
            return _encode(_Role(view.role, view.trust, view.bindings, of.identity, of.boundary, view.grants))
        case KeyView():
            return _encode(msgspec.structs.replace(view, secret=""))
        case _:
            return _encode(view)


class ViewDecoder:
    """Makes views from bytes."""

    def __init__(self, secrets: Sealer, compile_policy: Callable[[str, PolicyKind], PolicyDocument]) -> None:
        self._secrets = secrets

        def policy_in(_: type[Any], stored: Any) -> PolicyDocument:
            kind, text = stored
            return compile_policy(text, PolicyKind(kind))

        self._decoders = {kind: msgspec.msgpack.Decoder(form, dec_hook=policy_in) for kind, form in _STORED.items()}

    def decode(self, key: str, data: bytes) -> Any:
        """The view that was cached under this key. Raises ValueError: the bytes are of another form, or a secret does
        not open.
        """
        if not can_decode(key):
            raise ValueError(f"views of the kind {key.partition(':')[0]} are not known")
        stored = self._decoders[key.partition(":")[0]].decode(data)
        match stored:
            case _User():
                return PrincipalView(stored.user, stored.identity, stored.boundary)
            case _Role():
                principal = PrincipalView(stored.role, stored.identity, stored.boundary)
                return RoleView(stored.role, stored.trust, stored.bindings, principal, stored.grants)
            case KeyView():
                of = stored.key
                secret = self._secrets.open_secret(of.sealed_secret, of.account, of.owner_id).decode("ascii")
                return KeyView(of, secret, stored.user)
            case _:
                return stored


# --- Image


class CachedView(NamedTuple):
    """A view with its cache key and the other feed keys that it depends on."""

    key: str
    view: Any
    depends_on: tuple[str, ...]


class DirectoryImage(NamedTuple):
    """Views and revocations as of one successful poll of the change feed."""

    position: FeedPosition  # of the change feed
    as_of: int  # when that poll began, ms
    changes: int  # grows when a cached view may have changed; compare it with that of an earlier image
    views: Sequence[CachedView]  # the most recently used last
    revocations: Sequence[Revocation]  # all that may match a session
    others: frozenset[str]  # the other processes that the registry listed
