"""Tags of whatever in IAM has them: replaced key by key, all or nothing.

Of users and roles keys are one without regard to case; of everything else case tells them apart.
Source: IAM User Guide, "Tags for AWS Identity and Access Management resources".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from daypass.domain.directory import (
    InstanceProfile,
    ManagedPolicy,
    MfaDevice,
    OidcProvider,
    Role,
    SamlProvider,
    Tags,
    User,
)
from daypass.operations.iam import faults, find, quotas, shapes
from daypass.operations.iam.paging import page_of
from daypass.operations.iam.work import Answer, Look, Params, Work

Tagged: TypeAlias = User | Role | ManagedPolicy | MfaDevice | InstanceProfile | OidcProvider | SamlProvider
FindTagged: TypeAlias = Callable[[Look, Params], Tagged]
Fold: TypeAlias = Callable[[str], str]

_PLACE = 40


def user(look: Look, p: Params) -> User:
    return find.user(look, p["UserName"])


def role(look: Look, p: Params) -> Role:
    return find.role(look, p["RoleName"])


def policy(look: Look, p: Params) -> ManagedPolicy:
    """Built-in policies have no tags, and take none."""
    if find.policy_account(p["PolicyArn"]) != look.account:
        raise faults.no_such_policy(p["PolicyArn"])
    return find.policy(look, p["PolicyArn"])


def instance_profile(look: Look, p: Params) -> InstanceProfile:
    return find.instance_profile(look, p["InstanceProfileName"])


def oidc_provider(look: Look, p: Params) -> OidcProvider:
    return find.oidc_provider(look, p["OpenIDConnectProviderArn"])


def saml_provider(look: Look, p: Params) -> SamlProvider:
    return find.saml_provider(look, p["SAMLProviderArn"])


def _exact(key: str) -> str:
    return key


def _fold(entity: Tagged) -> Fold:
    return str.lower if isinstance(entity, (User, Role)) else _exact


def first(p: Params, fold: Fold = str.lower) -> Tags:
    """The tags of an entity that is being made."""
    return merged((), shapes.tags_of(p.get("Tags")), fold)


def first_exact(p: Params) -> Tags:
    """The same, of one whose keys case tells apart."""
    return first(p, _exact)


def merged(old: Tags, new: Tags, fold: Fold) -> Tags:
    """`old` with `new` in it. Raises INVALID_INPUT for twins and reserved keys, LIMIT_EXCEEDED over the quota."""
    keys = [fold(key) for key, _ in new]
    if len(set(keys)) != len(keys):
        insensitive = "" if fold is _exact else " Please note that Tag keys are case insensitive."
        raise faults.invalid_input(f"Duplicate tag keys found.{insensitive}")
    if any(key.lower().startswith("aws:") for key, _ in new):
        raise faults.invalid_input("Tag keys beginning with aws: are reserved for system use.")
    whole = {fold(key): (key, value) for key, value in old} | {fold(key): (key, value) for key, value in new}
    if len(whole) > quotas.TAGS_PER_ENTITY:
        raise faults.over_limit("The number of tags has reached the maximum limit.")
    return tuple(whole.values())


def tag(find_entity: FindTagged, work: Work, p: Params) -> Answer:
    entity = find_entity(work, p)
    work.tx.replace(replace(entity, tags=merged(entity.tags, shapes.tags_of(p["Tags"]), _fold(entity))))
    return {}


def untag(find_entity: FindTagged, work: Work, p: Params) -> Answer:
    """Keys that are not there are no error."""
    entity = find_entity(work, p)
    fold = _fold(entity)
    gone = {fold(key) for key in p["TagKeys"]}
    work.tx.replace(replace(entity, tags=tuple(pair for pair in entity.tags if fold(pair[0]) not in gone)))
    return {}


def list_tags(find_entity: FindTagged, look: Look, p: Params) -> Answer:
    """By tag key; where case tells keys apart, shorter keys first, as AWS was recorded."""
    entity = find_entity(look, p)
    longer_later = _fold(entity) is _exact

    def place(pair: tuple[str, str]) -> str:
        return f"{len(pair[0]):03d}{_place(pair[0])}" if longer_later else _place(pair[0])

    shown, more = page_of(p, "tags", entity.tags, place)
    return {"Tags": shapes.tags(shown), **more}


def _place(key: str) -> str:
    """A key's place in the list, short enough for a marker in whatever script it is written."""
    if len(key) <= _PLACE:
        return key
    return key[:_PLACE] + hashlib.sha256(key.encode()).hexdigest()[:_PLACE]
