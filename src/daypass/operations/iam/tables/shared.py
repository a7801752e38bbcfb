"""Operations that several kinds of entity share: inline and attached policies, permissions boundaries, tags."""

from __future__ import annotations

from functools import partial

from daypass.domain.policy.document import PolicyKind
from daypass.operations.iam import attachments, inline, lint, owners, resources, tags
from daypass.operations.iam.context import Operation, ResourceOf


def of_owner(kind: owners.OwnerKind, resource: ResourceOf) -> tuple[Operation, ...]:
    """Inline and attached policies: the same operations for users, groups and roles."""
    noun = kind.noun
    attaching = (resources.policy_arn, resources.boundary)
    bounded = (resources.boundary,)
    inlined = ("PolicyDocument", PolicyKind.IDENTITY)
    attach, detach = partial(attachments.attach, kind), partial(attachments.detach, kind)
    put_warns, attach_warns = (lint.inlined, lint.attached) if kind is owners.ROLE else (None, None)
    return (
        Operation(
            f"Put{noun}Policy",
            resource,
            write=partial(inline.put, kind),
            keys=bounded,
            document=inlined,
            check=put_warns,
        ),
        Operation(f"Get{noun}Policy", resource, read=partial(inline.get, kind)),
        Operation(f"List{noun}Policies", resource, read=partial(inline.names, kind)),
        Operation(f"Delete{noun}Policy", resource, write=partial(inline.delete, kind), keys=bounded, urgent=True),
        Operation(f"Attach{noun}Policy", resource, write=attach, keys=attaching, check=attach_warns),
        Operation(f"Detach{noun}Policy", resource, write=detach, keys=attaching, urgent=True),
        Operation(f"ListAttached{noun}Policies", resource, read=partial(attachments.names, kind)),
    )


def bounded_by(kind: owners.OwnerKind, resource: ResourceOf) -> tuple[Operation, ...]:
    keys = (resources.boundary,)
    put, delete = partial(attachments.put, kind), partial(attachments.delete, kind)
    resource = resources.by_arn(resource)
    return (
        Operation(f"Put{kind.noun}PermissionsBoundary", resource, write=put, keys=keys),
        Operation(f"Delete{kind.noun}PermissionsBoundary", resource, write=delete, keys=keys),
    )


def tagged(
    noun: str,
    resource: ResourceOf,
    to_list: tags.FindTagged,
    to_tag: tags.FindTagged | None = None,
    to_untag: tags.FindTagged | None = None,
) -> tuple[Operation, ...]:
    """The three operations on tags. `to_tag` and `to_untag`: for entities with a different look-up or refusal."""
    tag, untag = partial(tags.tag, to_tag or to_list), partial(tags.untag, to_untag or to_list)
    tagged = resources.by_arn(resource)
    return (
        Operation(f"Tag{noun}", tagged, write=tag, keys=(resources.request_tags,)),
        Operation(f"Untag{noun}", tagged, write=untag, keys=(resources.request_tag_keys,)),
        Operation(f"List{noun}Tags", resource, read=partial(tags.list_tags, to_list)),
    )
