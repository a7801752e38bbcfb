"""Access keys. The secret leaves once, in the answer that makes the key; it is stored sealed and never shown again."""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import AccessKey, Account, KeyStatus, User
from daypass.operations.iam import changes, faults, find, quotas, shapes
from daypass.operations.iam.paging import page_of
from daypass.operations.iam.work import Answer, Look, Params, Work


def create_access_key(work: Work, p: Params) -> Answer:
    """For the named user, or by default for the caller (the root too: that is how its key is rotated)."""
    owner = find.user_or_caller(work, p)
    of_owner = {"account": work.account, "owner_id": owner.id}
    changes.within_quota(work, AccessKey, "AccessKeysPerUser", quotas.ACCESS_KEYS_PER_USER, **of_owner)
    secret = work.ids.secret()
    key = AccessKey(
        id=work.ids.access_key("AKIA"),
        account=work.account,
        owner_id=owner.id,
        status=KeyStatus.ACTIVE,
        sealed_secret=work.sealer.seal_secret(secret.encode("ascii"), work.account, owner.id),
        created_at=work.now,
        status_changed_at=work.now,
    )
    work.tx.insert(key)
    return {"AccessKey": {**shapes.access_key(key, owner), "SecretAccessKey": secret}}


def list_access_keys(look: Look, p: Params) -> Answer:
    """Oldest first."""
    owner = find.user_or_caller(look, p)
    keys = look.tx.find(AccessKey, order="id", account=look.account, owner_id=owner.id)
    shown, more = page_of(p, "access-keys", keys, lambda key: f"{key.created_at:020d} {key.id}")
    return {"AccessKeyMetadata": [shapes.access_key(key, owner) for key in shown], **more}


def update_access_key(work: Work, p: Params) -> Answer:
    key, _ = _owned(work, p)
    try:
        status = KeyStatus(p["Status"])
    except ValueError:  # the model's shape is shared with other credentials, which may also expire
        raise faults.invalid(f"The status of an access key must be one of: {', '.join(KeyStatus)}.") from None
    work.tx.replace(replace(key, status=status, status_changed_at=work.now))
    return {}


def delete_access_key(work: Work, p: Params) -> Answer:
    key, _ = _owned(work, p)
    work.tx.delete(key)
    return {}


def _owned(look: Look, p: Params) -> tuple[AccessKey, User | Account]:
    """The key, which must belong to the named user or the caller."""
    owner = find.user_or_caller(look, p)
    key = look.tx.get(AccessKey, id=p["AccessKeyId"])
    if key is None or key.account != look.account or key.owner_id != owner.id:
        raise faults.no_such_key(p["AccessKeyId"])
    return key, owner
