"""Provisioning: users and groups that a directory manages, in the account of its token.

Every request needs daypass:Provision on `directory/scim`. A directory sees and changes only what it has created: a user
or group that an administrator made is neither shown nor taken over, and its name is refused as taken.
A user who is deactivated or deleted loses keys, password and devices, and its sessions end (`leaving`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from daypass.domain.directory import Attachment, Group, InlinePolicy, Membership, Revocation, ScimResource, User
from daypass.domain.errors import DaypassError, ErrorKind, ignored, replaced
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.domain.scim import Filter, ScimError, group_name, group_of, indexed, matches, user_name, user_of
from daypass.domain.scim_patch import apply_patch
from daypass.operations import heavy
from daypass.operations.iam import paging
from daypass.operations.leaving import Owned, delete_disabled, delete_owned, end_user
from daypass.operations.management import allow, fitting
from daypass.operations.outcome import served
from daypass.operations.revocation import DEPROVISIONED
from daypass.operations.scim_tokens import (
    MAX_MEMBER_CHANGES,
    UNASSIGNED,
    USER,
    Resource,
    attributes_of,
    bytes_of,
    etag,
    resource_of,
    set_members,
)
from daypass.ports import Call, Env, Reader, Scene, Tx

T = TypeVar("T")

GROUP: Final = "Group"
MAX_PAGE: Final = 200
SCIM_TYPE: Final = "scim_type"
_SCANNED: Final = 5_000  # resources that a filter which no index serves looks at
_INDEXED: Final = {
    USER: frozenset({"id", "externalid", "username"}),
    GROUP: frozenset({"id", "externalid", "displayname", "members.value", "members"}),
}
"""Attributes by which `_candidates` finds resources without a look at all of them."""
_COMPUTED: Final = frozenset({"username", "groups", "members"})
"""Attributes that other tables have. Looking at them takes some statements for each resource."""
_MOST_COMPUTED: Final = 200
_STEPS_OF_LOOP, _STEPS_OF_WRITER = 10_000, 100_000  # of a patch: a millisecond, and ten
_MOST_ATTEMPTS: Final = 4  # of a patch of a resource that others change at the same time
_OF_GROUP: Final[Owned] = ((Membership, "group_id"), (Attachment, "owner_id"), (InlinePolicy, "owner_id"))


class ResourcePage(NamedTuple):
    """A page, and the number of all resources that match."""

    resources: list[Resource]
    total: int


def _refusing(work: Callable[[], T]) -> T:
    """The result, with a ScimError as the refusal of an operation."""
    try:
        return work()
    except ScimError as error:
        raise refusal_of(error) from None


def refusal_of(error: ScimError) -> DaypassError:
    """The refusal for the client; its scimType is a private fact."""
    return DaypassError(ErrorKind.VALIDATION, str(error), private={SCIM_TYPE: error.kind})


async def _allowed(env: Env, call: Call) -> Decision:
    return await allow(env, call, "Provision", "directory", "scim")


# --- Reading -----------------------------------------------------------------------------------------------------------


async def get(env: Env, call: Call, kind: str, identity: str) -> Resource:
    """Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    decision = await _allowed(env, call)
    account = call.caller.account
    found = await env.directory.read(lambda tx: _existing(tx, account, kind, identity), account=account)
    await env.journal.commit(served(call, decision=decision, detail={kind.lower(): identity}))
    return found


async def find(env: Env, call: Call, kind: str, wanted: Filter | None, start: int, count: int) -> ResourcePage:
    """A page of the resources that match. `start` counts from 1. Raises DaypassError: ACCESS_DENIED, VALIDATION when a
    filter would look at too many.
    """
    decision = await _allowed(env, call)
    account = call.caller.account
    start, count = max(1, start), min(max(0, count), MAX_PAGE)
    page = (account, kind, wanted, start, count)
    if wanted is not None and not indexed(wanted.terms).keys() & _INDEXED[kind]:
        found = await heavy.read(env, call, _scan, *page)
    else:
        found = await env.directory.read(lambda tx: _refusing(lambda: _find(tx, *page)), account=account)
    await env.journal.commit(served(call, decision=decision, detail={"kind": kind, "found": found.total}))
    return found


def _scan(scene: Scene, account: str, kind: str, wanted: Filter | None, start: int, count: int) -> ResourcePage:
    """As `_find`, in another process: reading thousands of documents would hold up the event loop (attack A393)."""
    return _refusing(lambda: _find(scene.tx, account, kind, wanted, start, count))


def _find(tx: Reader, account: str, kind: str, wanted: Filter | None, start: int, count: int) -> ResourcePage:
    if wanted is None:
        total = tx.count(ScimResource, account=account, resource_type=kind)
        if start > total:
            return ResourcePage([], total)
        of_kind = {"account": account, "resource_type": kind}
        after = tx.value_at(ScimResource, "id", start - 2, **of_kind) if start > 1 else ""
        rows = tx.find(ScimResource, order="id", after=after, limit=count, **of_kind)
        return ResourcePage(_shown(tx, rows), total)
    rows = _candidates(tx, account, kind, wanted)
    if wanted.attributes & _COMPUTED:
        stored = Filter("and", tuple(part for part in _parts(wanted) if not part.attributes & _COMPUTED))
        rows = [row for row in rows if matches(stored, _filtered(row, attributes_of(row.document)))]
        if len(rows) > _MOST_COMPUTED:
            raise ScimError("tooMany", "Filter by id, externalId, userName, displayName or members.value, too.")
        loaded = [each for row in rows if (each := resource_of(tx, row)) is not None]
        rows = [each.row for each in loaded if matches(wanted, _filtered(each.row, each.document))]
    else:
        rows = [row for row in rows if matches(wanted, _filtered(row, attributes_of(row.document)))]
    if len(rows) == 1 and tx.get(User if kind == USER else Group, id=rows[0].id) is None:
        rows = []  # an administrator has deleted it
    return ResourcePage(_shown(tx, rows[start - 1 : start - 1 + count]), len(rows))


def _parts(wanted: Filter) -> tuple[Filter, ...]:
    """The parts that must all hold."""
    return wanted.parts if wanted.kind == "and" else (wanted,)


def _filtered(row: ScimResource, document: Mapping[str, Any]) -> dict[str, Any]:
    """The representation that filters test."""
    times = {"created": _moment(row.created_at), "lastModified": _moment(row.updated_at)}
    return {**document, "id": row.id, "meta": {"resourceType": row.resource_type, **times}}


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _shown(tx: Reader, rows: Sequence[ScimResource]) -> list[Resource]:
    """The resources of a page. It ends early when groups have many members (attack A353)."""
    return fitting((each for row in rows if (each := resource_of(tx, row)) is not None), bytes_of)


def _candidates(tx: Reader, account: str, kind: str, wanted: Filter) -> list[ScimResource]:
    """The resources that can match: by an index where a term has one. Raises ScimError(tooMany)."""
    exact = indexed(wanted.terms)
    if "id" in exact:
        return _one(tx.get(ScimResource, account=account, resource_type=kind, id=exact["id"]))
    if "externalid" in exact:
        return tx.find(ScimResource, account=account, resource_type=kind, external_id=exact["externalid"], order="id")
    if kind == USER and "username" in exact:
        user = tx.get(User, account=account, name=user_name(exact["username"]))
        return _one(tx.get(ScimResource, account=account, resource_type=kind, id=user.id) if user is not None else None)
    if kind == GROUP and "displayname" in exact:
        try:
            group = tx.get(Group, account=account, name=group_name(str(exact["displayname"])))
        except ScimError:
            return []
        return _one(tx.get(ScimResource, account=account, resource_type=kind, id=group.id) if group else None)
    member = exact.get("members.value", exact.get("members"))
    if kind == GROUP and member is not None:
        of = tx.find(Membership, account=account, user_id=member, order="group_id")
        return tx.find_among(ScimResource, "id", [each.group_id for each in of], order="id")
    if tx.count(ScimResource, account=account, resource_type=kind) > _SCANNED:
        raise ScimError("tooMany", "Filter by id, externalId, userName or displayName: there are too many resources.")
    return tx.find(ScimResource, account=account, resource_type=kind, order="id", limit=_SCANNED)


def _one(row: ScimResource | None) -> list[ScimResource]:
    return [row] if row is not None else []


def _existing(tx: Reader, account: str, kind: str, identity: str) -> Resource:
    row = tx.get(ScimResource, account=account, resource_type=kind, id=identity)
    found = resource_of(tx, row) if row is not None else None
    if found is None:
        raise _no_such(kind, identity)
    return found


def _no_such(kind: str, identity: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"There is no {kind} with id {identity[:64]}.")


# --- Changing ----------------------------------------------------------------------------------------------------------


async def create(env: Env, call: Call, kind: str, unverified: Mapping[str, Any]) -> Resource:
    """Raises DaypassError: ACCESS_DENIED, ALREADY_EXISTS, LIMIT_EXCEEDED, VALIDATION."""
    decision = await _allowed(env, call)
    account, now = call.caller.account, call.now

    def change(tx: Tx) -> tuple[Resource, Event]:
        if kind == USER:
            document = user_of(unverified)
            made: User | Group = User(env.ids.unique("AIDA"), account, user_name(document["userName"]), "/", now)
            _within(tx, User, account, paging.USERS_PER_ACCOUNT)
        else:
            document, members = group_of(unverified)
            made = Group(env.ids.unique("AGPA"), account, group_name(document["displayName"]), "/", now)
            _within(tx, Group, account, paging.GROUPS_PER_ACCOUNT)
        _write(tx.insert, made)
        row = ScimResource(made.id, account, kind, document.get("externalId", ""), json.dumps(document), 1, now, now)
        tx.insert(row)
        if isinstance(made, Group):
            set_members(tx, row, [], members, now)
        elif not document["active"]:
            end_user(env, call, tx, made, DEPROVISIONED)
        shown = _existing(tx, account, kind, made.id)
        return shown, _event(call, decision, kind, made.arn, "created")

    return await env.journal.write(lambda tx: _refusing(lambda: change(tx)), account=account)


async def replace_resource(
    env: Env, call: Call, kind: str, identity: str, unverified: Mapping[str, Any], if_match: str
) -> Resource:
    """PUT. Raises DaypassError: ACCESS_DENIED, NOT_FOUND, ALREADY_EXISTS, CONCURRENT_MODIFICATION, VALIDATION."""
    return await _changed(env, call, kind, identity, if_match, lambda _: unverified)


async def patch(
    env: Env, call: Call, kind: str, identity: str, unverified: Mapping[str, Any], if_match: str
) -> Resource:
    """PATCH. Raises as `replace_resource`.

    The work is done before the transaction, for which all writers wait (attack A350). If the resource has changed since, it
    is done again in the transaction, within a small limit. Beyond that, the whole is tried again, a few times.
    """
    await _allowed(env, call)
    for _ in range(_MOST_ATTEMPTS - 1):
        with ignored(ErrorKind.CONCURRENT_MODIFICATION):
            return await _try_patch(env, call, kind, identity, unverified, if_match)
    return await _try_patch(env, call, kind, identity, unverified, if_match)


async def _try_patch(
    env: Env, call: Call, kind: str, identity: str, unverified: Mapping[str, Any], if_match: str
) -> Resource:
    account = call.caller.account
    known = await env.directory.read(lambda tx: _existing(tx, account, kind, identity), account=account)
    _check_version(known, if_match)
    document = known.document
    try:
        wanted = apply_patch(document, unverified, _STEPS_OF_LOOP)
    except ScimError as error:
        if error.kind != "tooMany":
            raise refusal_of(error) from None
        wanted = await heavy.compute(env, account, _patched, document, unverified)

    def edit(current: Mapping[str, Any]) -> Mapping[str, Any]:
        if current == document:
            return wanted
        try:
            return apply_patch(current, unverified, _STEPS_OF_WRITER)
        except ScimError as error:
            raise _has_changed() if error.kind == "tooMany" else error from None

    return await _changed(env, call, kind, identity, if_match, edit, patched=True)


def _patched(document: Mapping[str, Any], unverified: Mapping[str, Any]) -> dict[str, Any]:
    return _refusing(lambda: apply_patch(document, unverified))


async def _changed(
    env: Env,
    call: Call,
    kind: str,
    identity: str,
    if_match: str,
    edit: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    *,
    patched: bool = False,
) -> Resource:
    decision = await _allowed(env, call)
    account = call.caller.account

    def change(tx: Tx) -> tuple[Resource, Event]:
        known = _existing(tx, account, kind, identity)
        _check_version(known, if_match)
        wanted = edit(known.document)
        members: list[str] = []
        if kind == USER:
            was = bool(attributes_of(known.row.document)["active"])
            document = user_of(wanted, active=was)  # absent: it stays as it is
            if patched and not any(name.lower() == "active" for name in wanted):
                document[UNASSIGNED] = True
        else:
            document, members = group_of(wanted)
        row = replace(
            known.row,
            document=json.dumps(document),
            external_id=document.get("externalId", ""),
            version=known.row.version + 1,
            updated_at=call.now,
        )
        tx.replace(row)
        if kind == USER:
            arn, what = _set_user(env, call, tx, known, document)
            shown_user = {name: value for name, value in document.items() if name != UNASSIGNED}
            if UNASSIGNED in document:
                del shown_user["active"]
            changed = Resource(row, {**shown_user, "groups": known.document["groups"]})
        else:
            arn, what = _set_group(tx, known, document), "changed"
            shown = set_members(tx, row, known.document["members"], members, call.now)
            changed = Resource(row, {**document, "members": shown})
        return changed, _event(call, decision, kind, arn, what)

    return await env.journal.write(lambda tx: _refusing(lambda: change(tx)), account=account)


async def delete(env: Env, call: Call, kind: str, identity: str, if_match: str) -> None:
    """Deletes a user with everything it has, or a group with its policies. Raises DaypassError: ACCESS_DENIED, NOT_FOUND,
    CONCURRENT_MODIFICATION.
    """
    decision = await _allowed(env, call)
    account = call.caller.account

    def change(tx: Tx) -> tuple[bool, Event]:
        row = tx.get(ScimResource, account=account, resource_type=kind, id=identity)
        entity = tx.get(User, id=identity) if kind == USER else tx.get(Group, id=identity)
        if row is None or entity is None:
            raise _no_such(kind, identity)
        if if_match:
            _check_version(_existing(tx, account, kind, identity), if_match)
        members = tx.find(Membership, account=account, group_id=identity, limit=MAX_MEMBER_CHANGES)
        if len(members) == MAX_MEMBER_CHANGES:  # not all at once: everybody's writes wait
            for each in members:
                tx.delete(each)
            return False, _event(call, decision, kind, entity.arn, "some members removed")
        if isinstance(entity, User):
            end_user(env, call, tx, entity, DEPROVISIONED)
            delete_disabled(env, call, tx, entity)
        else:
            delete_owned(tx, account, entity.id, _OF_GROUP)
            tx.delete(entity)
            tx.delete(row)
        return True, _event(call, decision, kind, entity.arn, "deleted")

    while not await env.journal.write(change, account=account, urgent=True):
        if_match = ""  # the version has changed with the members that are gone


def _set_user(env: Env, call: Call, tx: Tx, known: Resource, document: Mapping[str, Any]) -> tuple[str, str]:
    """Renames, deactivates or reactivates the user. Returns its ARN, and what happened."""
    user = tx.get(User, id=known.row.id)
    if user is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "The user was deleted meanwhile.")
    if user_name(document["userName"]) != user.name:
        user = replace(user, name=user_name(document["userName"]))
        _write(tx.replace, user)
    was, active = bool(attributes_of(known.row.document)["active"]), document["active"]
    if was and not active:
        end_user(env, call, tx, user, DEPROVISIONED)
        return user.arn, "deactivated"
    if active and not was:
        for block in tx.find(Revocation, account=user.account, subject="principal", value=user.id):
            if block.block and block.block_until is None and block.reason == DEPROVISIONED:
                tx.replace(replace(block, block_until=call.now))
        return user.arn, "activated"
    return user.arn, "changed"


def _set_group(tx: Tx, known: Resource, document: Mapping[str, Any]) -> str:
    """Renames the group when the directory does: an administrator may have given it another name (attack A296)."""
    group = tx.get(Group, id=known.row.id)
    if group is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "The group was deleted meanwhile.")
    name = group_name(document["displayName"])
    if name != group_name(known.document["displayName"]):
        group = replace(group, name=name)
        _write(tx.replace, group)
    return group.arn


def _write(write: Callable[[Any], None], entity: User | Group) -> None:
    kind = type(entity).__name__.lower()
    taken = DaypassError(ErrorKind.ALREADY_EXISTS, f"A {kind} with this name exists; case does not matter.")
    with replaced(ErrorKind.ALREADY_EXISTS, taken):
        write(entity)


def _within(tx: Reader, kind: type[User | Group], account: str, quota: int) -> None:
    if tx.count(kind, account=account) >= quota:
        raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"The account has {quota} of these, which is the quota.")


def _check_version(known: Resource, if_match: str) -> None:
    tags = {part.strip() for part in if_match.split(",")}
    if if_match and "*" not in tags and etag(known) not in tags:
        raise _has_changed()


def _has_changed() -> DaypassError:
    return DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The resource has changed. Read it again.")


def _event(call: Call, decision: Decision, kind: str, arn: str, what: str) -> Event:
    detail = {kind.lower(): arn, "scim": what}
    return served(call, kind=EventType.DIRECTORY_CHANGED, decision=decision, detail=detail)
