"""Managed policies attached to users, groups and roles: one set of operations for the three."""

from __future__ import annotations

from daypass.domain.directory import Attachment
from daypass.operations.iam import changes, faults, find, quotas, shapes
from daypass.operations.iam.owners import Owner, OwnerKind
from daypass.operations.iam.paging import page_of
from daypass.operations.iam.work import Answer, Look, Params, Work

_ALL = 1000  # more than the quota lets any owner have


def attach(kind: OwnerKind, work: Work, p: Params) -> Answer:
    """Attaching again changes nothing."""
    owner = kind.find(work, p)
    policy = find.attachable(work, p["PolicyArn"])
    if work.tx.get(Attachment, owner_id=owner.id, policy_arn=policy.arn) is None:
        quota = f"PoliciesPer{kind.noun}"
        changes.within_quota(work, Attachment, quota, quotas.POLICIES_PER_ENTITY, owner_id=owner.id)
        work.tx.insert(Attachment(work.account, owner.id, policy.arn, work.now))
    return {}


def detach(kind: OwnerKind, work: Work, p: Params) -> Answer:
    owner = kind.find(work, p)
    find.policy_account(p["PolicyArn"])
    attachment = work.tx.get(Attachment, owner_id=owner.id, policy_arn=p["PolicyArn"])
    if attachment is None:
        raise faults.no_such_policy(p["PolicyArn"])
    work.tx.delete(attachment)
    return {}


def of_owner(look: Look, owner: Owner) -> list[str]:
    """The ARNs attached to an owner."""
    attachments = look.tx.find(Attachment, order="policy_arn", limit=_ALL, account=look.account, owner_id=owner.id)
    return [attachment.policy_arn for attachment in attachments]


def names(kind: OwnerKind, look: Look, p: Params) -> Answer:
    """By policy name, and of one name the account's own first."""
    prefix = p.get("PathPrefix") or "/"
    arns = [arn for arn in of_owner(look, kind.find(look, p)) if arn.split(":policy", 1)[1].startswith(prefix)]
    shown, more = page_of(p, f"{kind.word}-attached", arns, _place)
    return {"AttachedPolicies": [shapes.attached(arn) for arn in shown], **more}


def _place(arn: str) -> str:
    """Short enough for a marker, whatever the path."""
    return f"{arn.rpartition('/')[2].lower()} {arn.split(':')[4]}"
