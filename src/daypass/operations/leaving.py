"""Takes from a user everything that still works, in the transaction of an operation whose caller may do it.

The user stays, unless it is to be deleted: then everything that IAM would require to be removed before goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from daypass.domain.directory import (
    AccessKey,
    Attachment,
    ChatLink,
    Consent,
    InlinePolicy,
    KeyStatus,
    LoginProfile,
    Membership,
    MfaDevice,
    ScimResource,
    ScimToken,
    User,
)
from daypass.domain.ssf import CredentialChange
from daypass.operations.grants.use import end_access, open_access
from daypass.operations.iam.granting import ACCESS_KEY, MFA_DEVICE, PASSWORD, SCIM_TOKEN
from daypass.operations.iam.mfa import end_browsers, of_user, open_seed, remove_all, seal_seed
from daypass.operations.oauth import consent
from daypass.operations.revocation import Block, lift_blocks, new_revocation, store
from daypass.operations.ssf.push import announce
from daypass.ports import Call, Env, Reader, Tx

BLOCK: Final = Block(blocks=True)
_BATCH: Final = 1_000
Owned: TypeAlias = Sequence[tuple[type[Any], str]]
_OWNED: Final[Owned] = (
    (Membership, "user_id"),
    (Attachment, "owner_id"),
    (InlinePolicy, "owner_id"),
    (AccessKey, "owner_id"),
    (ScimResource, "id"),
)
"""Entities that are deleted with a user, by the field that has the user's id."""


class ActiveCredentials(NamedTuple):
    """Active credentials and open requests of a user: active keys, a password, MFA devices, the names of passkeys, the ids of open
    access requests and grants, the names of SCIM tokens, the ids of clients with a remembered consent, and the names of
    linked chat users.
    """

    keys: tuple[str, ...] = ()
    password: bool = False
    devices: tuple[str, ...] = ()
    passkeys: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    scim_tokens: tuple[str, ...] = ()
    consents: tuple[str, ...] = ()
    chat_users: tuple[str, ...] = ()


def holdings_of(tx: Reader, user: User) -> ActiveCredentials:
    """Reads the user's current credentials."""
    access = open_access(tx, user.id)
    return ActiveCredentials(
        tuple(key.id for key in _keys(tx, user) if key.status is KeyStatus.ACTIVE),
        tx.get(LoginProfile, user_id=user.id) is not None,
        tuple(device.serial for device in _devices(tx, user)),
        tuple(passkey.name for passkey in of_user(tx, user.id)),
        tuple(request.id for request in access.requests),
        tuple(grant.id for grant in access.grants),
        tuple(token.name for token in _scim_tokens(tx, user)),
        tuple(sorted({each.client_id for each in tx.find(Consent, account=user.account, person_id=user.id)})),
        tuple(link.name for link in _chat_links(tx, user)),
    )


def _keys(tx: Reader, user: User) -> list[AccessKey]:
    return tx.find(AccessKey, account=user.account, owner_id=user.id)


def _devices(tx: Reader, user: User) -> list[MfaDevice]:
    return tx.find(MfaDevice, account=user.account, owner_id=user.id)


def _scim_tokens(tx: Reader, user: User) -> list[ScimToken]:
    return [token for token in tx.find(ScimToken, account=user.account, order="name") if token.user_id == user.id]


def _chat_links(tx: Reader, user: User) -> list[ChatLink]:
    return tx.find(ChatLink, account=user.account, user_id=user.id)


def end_user(env: Env, call: Call, tx: Tx, user: User, reason: str) -> None:
    """Disables a user, and ends and blocks its sessions. Raises DaypassError(LIMIT_EXCEEDED)."""
    disable(env, call, tx, user)
    wanted = new_revocation(
        env.ids, user.account, ("principal", user.id), now=call.now, by=call.caller.arn, reason=reason, block=BLOCK
    )
    store(tx, wanted, call.caller.account)


def disable(env: Env, call: Call, tx: Tx, user: User) -> None:
    """Takes every credential from the user and announces it; ends its access requests and grants."""
    changes: list[CredentialChange] = []

    def changed(kind: str, change: str, name: str = "") -> None:
        changes.append(CredentialChange(user.account, user.id, kind, change, name))

    for key in _keys(tx, user):
        if key.status is KeyStatus.ACTIVE:
            tx.replace(replace(key, status=KeyStatus.INACTIVE, status_changed_at=call.now))
            changed(ACCESS_KEY, "revoke", key.id)
    profile = tx.get(LoginProfile, user_id=user.id)
    if profile is not None:
        tx.delete(profile)
        changed(PASSWORD, "delete")
    for token in _scim_tokens(tx, user):
        tx.delete(token)
        changed(SCIM_TOKEN, "delete", token.name)
    for link in _chat_links(tx, user):
        tx.delete(link)
    changes += remove_all(tx, user)
    end_browsers(env.ids, tx, user, call.now)
    for device in _devices(tx, user):
        freed = seal_seed(env.sealer, open_seed(env.sealer, device), user.account, None, device.serial)
        tx.replace(replace(device, owner_id=None, enabled_at=None, sealed_seed=freed))
        changed(MFA_DEVICE, "revoke", device.serial)
    announce(env, tx, changes, call.now, actor_id=call.caller.principal_id)
    end_access(env, call, tx, user.id)


def delete_disabled(env: Env, call: Call, tx: Tx, user: User) -> None:
    """Deletes a user that has been disabled, with its keys, memberships, policies and blocks."""
    keys = [CredentialChange(user.account, user.id, ACCESS_KEY, "delete", key.id) for key in _keys(tx, user)]
    announce(env, tx, keys, call.now, actor_id=call.caller.principal_id)
    consent.delete_all(tx, user.account, user.id)
    delete_owned(tx, user.account, user.id, _OWNED)
    lift_blocks(tx, user, call.now)
    tx.delete(user)


def delete_owned(tx: Tx, account: str, owner_id: str, owned: Owned) -> None:
    """Deletes what belongs to a user or group, in batches. `owned`: entities, with the field that has the owner's id."""
    for entity, name in owned:
        while found := tx.find(entity, account=account, limit=_BATCH, **{name: owner_id}):
            for each in found:
                tx.delete(each)
