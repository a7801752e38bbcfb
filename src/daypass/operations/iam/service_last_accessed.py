"""Service last accessed details: which services a principal may use, and when it last used them, at the time of the request.

A job is completed when it is requested, on a read thread, and its results are stored: any process can return them, and
later changes do not affect them. Only the requester of a job can read it.
Source: IAM API, "GenerateServiceLastAccessedDetails", "GetServiceLastAccessedDetails", "…WithEntities".
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from daypass.domain.directory import AccessReport, Attachment, Group, LastUse, ManagedPolicy, Membership, Role, User
from daypass.domain.policy.document import PolicyDocument, PolicyKind
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import access_keys, faults, find, roles
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.granting import entity_of, granted_services
from daypass.operations.iam.holdings import Gatherer
from daypass.operations.iam.paging import page_of
from daypass.operations.principals import compiled
from daypass.ports import Ids

_SERVICES_PER_PAGE: Final = 200
_KEPT_MS: Final = 30 * 86_400_000
_FORGET: Final = 4  # old reports checked with each new one
REPORTS_PER_ACCOUNT: Final = 1_000
"""The oldest is deleted for a new one beyond that."""
_MAX_ENTITIES: Final = 100_000  # attachments and members of one policy or group
_FAR: Final = 2**62
_KINDS: Final = {"AIDA": ("USER", User), "AROA": ("ROLE", Role)}


# --- Generate


def gather(iam_actions: Sequence[str], ctx: ReadContext, p: Params, _ids: Ids) -> bytes:
    """The results of the job, as JSON, deflated: `services` by namespace with their uses, and the ids of all `entities`.

    `iam_actions`: the IAM operations whose use is tracked individually, sorted.
    """
    tracked = {"iam": iam_actions, "sts": roles.STS_ACTIONS} if p.get("Granularity") == "ACTION_LEVEL" else {}
    entity = entity_of(ctx, p["Arn"])
    members = {member.id: member for member in _members(ctx, entity)}
    used = {member.id: access_keys.uses(ctx, member.id) for member in members.values()}
    found = [_service(name, members, used, tracked.get(name, ())) for name in granted_services(_documents(ctx, entity))]
    return zlib.compress(json.dumps({"services": found, "entities": sorted(members)}).encode("ascii"), 6)


def generate_service_last_accessed_details(ctx: WriteContext, p: Params) -> Answer:
    report = AccessReport(
        id=ctx.ids.request(),
        account=ctx.account,
        owner_id=ctx.caller.principal_id,
        arn=p["Arn"],
        granularity=p.get("Granularity") or "SERVICE_LEVEL",
        created_at=ctx.now,
        deflated=ctx.gathered,
    )
    full = ctx.tx.count(AccessReport, account=ctx.account) >= REPORTS_PER_ACCOUNT
    for old in ctx.tx.find(AccessReport, order="created_at", limit=1, account=ctx.account) if full else ():
        ctx.tx.delete(old)
    ctx.tx.insert(report)
    for old in ctx.tx.find(AccessReport, order="created_at", limit=_FORGET):
        if old.created_at < ctx.now - _KEPT_MS:
            ctx.tx.delete(old)
    return {"JobId": report.id}


def _documents(ctx: ReadContext, entity: User | Group | Role | ManagedPolicy) -> list[PolicyDocument]:
    if not isinstance(entity, ManagedPolicy):
        return [source.policy.document for source in Gatherer(ctx).of(entity).identity]
    version = find.version(ctx, entity, f"v{entity.default_version}")
    return [compiled(version.document, PolicyKind.IDENTITY)]


def _members(ctx: ReadContext, entity: User | Group | Role | ManagedPolicy) -> Iterable[User | Role]:
    """The user or role itself, the users of a group, or all entities that have a policy, also through groups."""
    if isinstance(entity, (User, Role)):
        return [entity]
    if isinstance(entity, Group):
        return _users_of(ctx, entity.id)
    owners: list[User | Role] = []
    attached = ctx.tx.find(
        Attachment, order="owner_id", limit=_MAX_ENTITIES, account=ctx.account, policy_arn=entity.arn
    )
    for attachment in attached:
        if attachment.owner_id.startswith("AGPA"):
            owners += _users_of(ctx, attachment.owner_id)
            continue
        kind: type[User | Role] = _KINDS[attachment.owner_id[:4]][1]
        owner = ctx.tx.get(kind, id=attachment.owner_id)
        owners += [owner] if owner is not None else []
    return owners


def _users_of(ctx: ReadContext, group_id: str) -> list[User]:
    memberships = ctx.tx.find(Membership, order="user_id", limit=_MAX_ENTITIES, account=ctx.account, group_id=group_id)
    users = (ctx.tx.get(User, id=membership.user_id) for membership in memberships)
    return [user for user in users if user is not None]


def _service(
    name: str, members: dict[str, User | Role], used: dict[str, list[LastUse]], tracked: Sequence[str]
) -> dict[str, Any]:
    """One service: its row as IAM shows it, and when each entity last used it."""
    uses = [use for last_uses in used.values() for use in last_uses if use.operation.partition(":")[0] == name]
    row: dict[str, Any] = {"ServiceName": roles.name_of(name), "ServiceNamespace": name}
    by_entity: dict[str, int] = {}
    for use in uses:
        by_entity[use.subject] = max(use.at, by_entity.get(use.subject, 0))
    last = access_keys.newest(uses)
    if last is not None:
        row["LastAuthenticated"] = last.at
        row["LastAuthenticatedEntity"] = members[last.subject].arn
        row |= {"LastAuthenticatedRegion": last.region} if last.region else {}
    row["TotalAuthenticatedEntities"] = len(by_entity)
    if tracked:
        row["TrackedActionsLastAccessed"] = [_action(action, name, members, uses) for action in tracked]
    return {"row": row, "by_entity": by_entity}


def _action(action: str, name: str, members: dict[str, User | Role], uses: Iterable[LastUse]) -> dict[str, Any]:
    last = access_keys.newest([use for use in uses if use.operation == f"{name}:{action}"])
    if last is None:
        return {"ActionName": action}
    shown = {"ActionName": action, "LastAccessedEntity": members[last.subject].arn, "LastAccessedTime": last.at}
    return {**shown, **({"LastAccessedRegion": last.region} if last.region else {})}


# --- Get


def get_service_last_accessed_details(ctx: ReadContext, p: Params) -> Answer:
    """Services by namespace."""
    report, content = _report(ctx, p)
    rows = [service["row"] for service in content["services"]]
    sized = {**p, "MaxItems": p.get("MaxItems") or _SERVICES_PER_PAGE}
    shown, more = page_of(sized, f"services {report.id}", rows, lambda row: str(row["ServiceNamespace"]))
    return {**_job_members(report), "JobType": report.granularity, "ServicesLastAccessed": shown, **more}


def get_service_last_accessed_details_with_entities(ctx: ReadContext, p: Params) -> Answer:
    """The users and roles that may use a service: the latest users first, then those who never used it. Omits deleted ones."""
    report, content = _report(ctx, p)
    by_entity: dict[str, int] = {}
    entities: list[str] = []
    for service in content["services"]:
        if service["row"]["ServiceNamespace"] == p["ServiceNamespace"]:
            by_entity, entities = service["by_entity"], content["entities"]

    def place(entity_id: str) -> str:
        return f"{_FAR - by_entity.get(entity_id, 0):020d} {entity_id}"

    ids, more = page_of(p, f"entities {report.id}", entities, place)
    details = [_entity(ctx, entity_id, by_entity.get(entity_id)) for entity_id in ids]
    return {**_job_members(report), "EntityDetailsList": [shown for shown in details if shown is not None], **more}


def _entity(ctx: ReadContext, entity_id: str, used_at: int | None) -> dict[str, Any] | None:
    word, kind = _KINDS[entity_id[:4]]
    entity: User | Role | None = ctx.tx.get(kind, id=entity_id)
    if entity is None:
        return None
    info = {"Arn": entity.arn, "Name": entity.name, "Type": word, "Id": entity.id, "Path": entity.path}
    return {"EntityInfo": info, **({"LastAuthenticated": used_at} if used_at is not None else {})}


def _report(ctx: ReadContext, p: Params) -> tuple[AccessReport, dict[str, Any]]:
    report = ctx.tx.get(AccessReport, id=p["JobId"])
    if report is None or report.account != ctx.account or report.owner_id != ctx.caller.principal_id:
        raise faults.not_found(f"Job {p['JobId']} was not found.")
    content: dict[str, Any] = json.loads(zlib.decompress(report.deflated))
    return report, content


def _job_members(report: AccessReport) -> dict[str, Any]:
    return {"JobStatus": "COMPLETED", "JobCreationDate": report.created_at, "JobCompletionDate": report.created_at}
