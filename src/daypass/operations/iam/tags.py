"""Tags of IAM resources. Each key is replaced separately; a request applies completely or not at all.

The keys of users and roles ignore ASCII case; those of all other resources are case-sensitive. Condition keys ignore
ASCII case too, and nothing else: no other letter may stand for one of them (attack A199).
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
from daypass.domain.policy.pattern import fold as ascii_fold
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import documents, faults, find, paging
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import page_of

Tagged: TypeAlias = User | Role | ManagedPolicy | MfaDevice | InstanceProfile | OidcProvider | SamlProvider
FindTagged: TypeAlias = Callable[[ReadContext, Params], Tagged]
Fold: TypeAlias = Callable[[str], str]

_PLACE = 40


def by(finder: Callable[[ReadContext, str], Tagged], parameter: str) -> FindTagged:
    """The entity that a parameter names."""
    return lambda ctx, p: finder(ctx, p[parameter])


def policy(ctx: ReadContext, p: Params) -> ManagedPolicy:
    """A policy whose tags are listed. Only the account's own policies have tags."""
    if find.policy_account(p["PolicyArn"]) != ctx.account:
        raise faults.invalid_input("Tags not supported for policies in this domain")
    return find.policy(ctx, p["PolicyArn"])


def policy_to_tag(ctx: ReadContext, p: Params) -> ManagedPolicy:
    return find.own_policy(ctx, p["PolicyArn"], "tag policies")


def policy_to_untag(ctx: ReadContext, p: Params) -> ManagedPolicy:
    return find.own_policy(ctx, p["PolicyArn"], "untag policies")


def exact(key: str) -> str:
    return key


def _fold(entity: Tagged) -> Fold:
    return ascii_fold if isinstance(entity, (User, Role)) else exact


def first(p: Params, fold: Fold = ascii_fold) -> Tags:
    """The tags of an entity that is being created."""
    return merged((), documents.tags_of(p.get("Tags")), fold)


def first_exact(p: Params) -> Tags:
    """The same, for an entity with case-sensitive keys."""
    return first(p, exact)


def merged(old: Tags, new: Tags, fold: Fold) -> Tags:
    """`old` with `new` merged in. Raises INVALID_INPUT for duplicate and reserved keys, LIMIT_EXCEEDED over the quota."""
    keys = [fold(key) for key, _ in new]
    if len(set(keys)) != len(keys):
        insensitive = "" if fold is exact else " Please note that Tag keys are case insensitive."
        raise faults.invalid_input(f"Duplicate tag keys found.{insensitive}")
    if any(key.lower().startswith("aws:") for key, _ in new):
        raise faults.invalid_input("Tag keys beginning with aws: are reserved for system use.")
    whole = {fold(key): (key, value) for key, value in old} | {fold(key): (key, value) for key, value in new}
    if len(whole) > paging.TAGS_PER_ENTITY:
        raise faults.over_limit("The number of tags has reached the maximum limit.")
    return tuple(whole.values())


def tag(find_entity: FindTagged, ctx: WriteContext, p: Params) -> Answer:
    entity = find_entity(ctx, p)
    ctx.tx.replace(replace(entity, tags=merged(entity.tags, documents.tags_of(p["Tags"]), _fold(entity))))
    return {}


def untag(find_entity: FindTagged, ctx: WriteContext, p: Params) -> Answer:
    """Missing keys are not an error."""
    entity = find_entity(ctx, p)
    fold = _fold(entity)
    removed = {fold(key) for key in p["TagKeys"]}
    ctx.tx.replace(replace(entity, tags=tuple(pair for pair in entity.tags if fold(pair[0]) not in removed)))
    return {}


def list_tags(find_entity: FindTagged, ctx: ReadContext, p: Params) -> Answer:
    """Sorts by tag key. Case-sensitive keys are sorted with shorter keys first, as recorded from AWS."""
    entity = find_entity(ctx, p)
    longer_later = _fold(entity) is exact

    def place(pair: tuple[str, str]) -> str:
        return f"{len(pair[0]):03d}{_place(pair[0])}" if longer_later else _place(pair[0])

    shown, more = page_of(p, "tags", entity.tags, place)
    return {"Tags": documents.tags(shown), **more}


def _place(key: str) -> str:
    """A key's position in the list, short enough for a marker in any script."""
    if len(key) <= _PLACE:
        return key
    return key[:_PLACE] + hashlib.sha256(key.encode()).hexdigest()[:_PLACE]
