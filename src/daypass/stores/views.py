"""Reads the views of `ports` from one snapshot: entities gathered, policies compiled, secrets opened.

Runs on store threads. A view says which feed keys it rests on; one key too few would be a view that never learns of a
change. It must not read through anything but the Reader it is given.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from daypass.domain.directory import (
    AccessKey,
    Account,
    Attachment,
    Crl,
    Group,
    Guardrail,
    InlinePolicy,
    IssuerAllowList,
    ManagedPolicy,
    Membership,
    OidcProvider,
    PolicyContent,
    PolicyVersion,
    Role,
    SamlProvider,
    TrustAnchor,
    User,
    X509Profile,
)
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import PolicyDocument, compile_stored
from daypass.domain.policy.model import NamedPolicy
from daypass.ports import (
    AccountView,
    KeyView,
    ManagedPolicyView,
    PolicyContentView,
    PrincipalView,
    Reader,
    RoleView,
    TrustAnchorView,
)
from daypass.stores.entities import ascii_lower

_ALL = 100_000
"""More policies or groups than one principal can have."""


class OpensSecrets(Protocol):
    """The part of `ports.Sealer` that is needed here."""

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes: ...


class Loaded(NamedTuple):
    """A view (None: it does not exist), the keys it rests on besides its own, and a second key it is found under."""

    view: Any
    keys: tuple[str, ...] = ()
    alias: str = ""


class Views:
    """Loaders of every view.

    Args:
        secrets: opens the secrets of access keys.
        builtin: text of the managed policies that come with Daypass, by ARN.
        compiled: compiled documents kept, by their content.
    """

    def __init__(self, secrets: OpensSecrets, builtin: Mapping[str, str], compiled: int) -> None:
        self._secrets = secrets
        self._builtin = builtin
        self._compile: Callable[[str, PolicyKind], PolicyDocument] = lru_cache(maxsize=compiled)(compile_stored)

    def access_key(self, reader: Reader, key_id: str) -> Loaded:
        """Raises ValueError when the stored secret does not open."""
        key = reader.get(AccessKey, id=key_id)
        if key is None:
            return Loaded(None)
        root = key.owner_id == key.account
        user = None if root else reader.get(User, id=key.owner_id)
        if not root and user is None:
            return Loaded(None)  # the key of a user who is gone is no key
        secret = self._secrets.open_secret(key.sealed_secret, key.account, key.owner_id).decode("ascii")
        return Loaded(KeyView(key, secret, user), () if root else (f"user:{key.owner_id}",))

    def user(self, reader: Reader, user_id: str) -> Loaded:
        user = reader.get(User, id=user_id)
        if user is None:
            return Loaded(None)
        keys: dict[str, None] = {}
        policies = [*self._policies_of(reader, user.id, keys)]
        for membership in reader.find(Membership, user_id=user.id, order="group_id", limit=_ALL):
            keys[f"group:{membership.group_id}"] = None
            if reader.get(Group, id=membership.group_id) is not None:
                policies += self._policies_of(reader, membership.group_id, keys)
        view = PrincipalView(user, tuple(policies), self._boundary(reader, user.boundary_arn, keys))
        return Loaded(view, tuple(keys))

    def role(self, reader: Reader, account: str, name: str) -> Loaded:
        role = reader.get(Role, account=account, name=name)
        return self._role(reader, role, by_name=True) if role is not None else Loaded(None)

    def role_by_id(self, reader: Reader, role_id: str) -> Loaded:
        role = reader.get(Role, id=role_id)
        return self._role(reader, role, by_name=False) if role is not None else Loaded(None)

    def _role(self, reader: Reader, role: Role, *, by_name: bool) -> Loaded:
        keys: dict[str, None] = {}
        policies = tuple(self._policies_of(reader, role.id, keys))
        principal = PrincipalView(role, policies, self._boundary(reader, role.boundary_arn, keys))
        trust = NamedPolicy("trust", self._compile(role.trust_document, PolicyKind.TRUST))
        other = f"role:{role.id}" if by_name else f"role_name:{role.account}:{ascii_lower(role.name)}"
        return Loaded(RoleView(role, trust, dict(role.trust_bindings), principal), tuple(keys), other)

    def account(self, reader: Reader, account_id: str) -> Loaded:
        account = reader.get(Account, id=account_id)
        if account is None:
            return Loaded(None)
        guardrails = tuple(
            NamedPolicy(guardrail.name, self._compile(guardrail.document, PolicyKind.GUARDRAIL))
            for guardrail in reader.find(Guardrail, account=account_id, order="name", limit=_ALL)
        )
        # One level: as with AWS's SCPs on one node, any guardrail may allow and any may deny.
        listed = reader.get(IssuerAllowList, account=account_id)
        view = AccountView(account, (guardrails,) if guardrails else (), listed.issuers if listed is not None else None)
        return Loaded(view, (f"guardrails:{account_id}", f"issuers:{account_id}"))

    def managed_policy(self, reader: Reader, arn: str) -> Loaded:
        if arn in self._builtin:
            text = self._builtin[arn]
            return Loaded(ManagedPolicyView(_builtin_entity(arn), text, _digest(text)))
        found = _managed(reader, arn)
        if found is None:
            return Loaded(None)
        policy, text = found
        return Loaded(ManagedPolicyView(policy, text, _digest(text)), (f"policy_id:{policy.id}",))

    def oidc_provider(self, reader: Reader, account: str, url: str) -> Loaded:
        return Loaded(reader.get(OidcProvider, account=account, url=url))

    def saml_provider(self, reader: Reader, account: str, name: str) -> Loaded:
        return Loaded(reader.get(SamlProvider, account=account, name=name))

    def trust_anchor(self, reader: Reader, anchor_id: str) -> Loaded:
        anchor = reader.get(TrustAnchor, id=anchor_id)
        if anchor is None:
            return Loaded(None)
        crls = reader.find(Crl, trust_anchor_id=anchor_id, account=anchor.account, order="id", limit=_ALL)
        return Loaded(TrustAnchorView(anchor, tuple(crl for crl in crls if crl.enabled)))

    def x509_profile(self, reader: Reader, profile_id: str) -> Loaded:
        return Loaded(reader.get(X509Profile, id=profile_id))

    def policy_content(self, reader: Reader, content_hash: str) -> Loaded:
        content = reader.get(PolicyContent, hash=content_hash)
        if content is None:
            return Loaded(None)
        policy = NamedPolicy(f"session:{content_hash[:12]}", self._compile(content.document, PolicyKind.SESSION))
        return Loaded(PolicyContentView(policy, content.keep_until))

    def _policies_of(self, reader: Reader, owner_id: str, keys: dict[str, None]) -> list[NamedPolicy]:
        keys[f"owner:{owner_id}"] = None
        policies = [
            NamedPolicy(inline.name, self._compile(inline.document, PolicyKind.IDENTITY))
            for inline in reader.find(InlinePolicy, owner_id=owner_id, order="name", limit=_ALL)
        ]
        for attachment in reader.find(Attachment, owner_id=owner_id, order="policy_arn", limit=_ALL):
            policies += self._managed(reader, attachment.policy_arn, keys)
        return policies

    def _boundary(self, reader: Reader, arn: str | None, keys: dict[str, None]) -> tuple[NamedPolicy, ...] | None:
        """A boundary that is set and missing denies: a grant that reaches past a silent layer must not pass it."""
        if arn is None:
            return None
        return self._managed(reader, arn, keys) or (NamedPolicy(arn, self._compile("", PolicyKind.IDENTITY)),)

    def _managed(self, reader: Reader, arn: str, keys: dict[str, None]) -> tuple[NamedPolicy, ...]:
        """The compiled default version; () when the policy is missing, which allows nothing."""
        if arn in self._builtin:
            return (NamedPolicy(arn, self._compile(self._builtin[arn], PolicyKind.IDENTITY)),)
        keys[f"policy:{arn}"] = None
        found = _managed(reader, arn)
        if found is None:
            return ()
        policy, text = found
        keys[f"policy_id:{policy.id}"] = None
        return (NamedPolicy(arn, self._compile(text, PolicyKind.IDENTITY)),)


def _managed(reader: Reader, arn: str) -> tuple[ManagedPolicy, str] | None:
    policy = reader.get(ManagedPolicy, arn=arn)
    if policy is None:
        return None
    version = reader.get(PolicyVersion, policy_id=policy.id, version=policy.default_version)
    return None if version is None else (policy, version.document)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _builtin_entity(arn: str) -> ManagedPolicy:
    """A policy that comes with Daypass is not stored; its id is made from its ARN, so it is the same everywhere."""
    path, _, name = arn.split(":policy", 1)[1].rpartition("/")
    digest = base64.b32encode(hashlib.sha256(arn.encode()).digest()).decode()
    return ManagedPolicy(f"ANPA{digest[:17]}", "aws", arn, name, f"{path}/", 0, 0)
