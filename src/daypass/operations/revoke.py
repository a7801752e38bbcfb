"""Revoking: a fact on the record and on the feed that ends sessions everywhere within a second.

The owner of a revocation is the account whose hops it can end. It is written once and never taken back; a block is given
an end when it is made, or has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from daypass.domain.arn import is_account_id
from daypass.domain.directory import AccessKey, Revocation, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.operations.management import EVERY_ACCOUNT, allow, is_operator
from daypass.operations.outcome import served
from daypass.operations.sessions import find_session, no_such_session
from daypass.ports import Call, Env, Reader, Tx

MAX_REASON = 256
_SESSION = re.compile(r"[0-9a-f]{32}")
_ROLE_ID = re.compile(r"AROA[A-Z2-7]{17}")
# Whom a provider or a trust anchor vouches for: its ARN, a colon, the subject (`Proof.principal_id`).
_FEDERATED = re.compile(
    r"arn:aws:(?:iam::(?P<iam>[0-9]{12}):(?:oidc|saml)-provider|rolesanywhere:[a-z0-9-]*:(?P<x509>[0-9]{12}):trust-anchor)"
    r"/[^\s:][^\s]*:.+"
)
_PRINCIPAL_ID = re.compile(r"(?:AROA|AIDA)[A-Z2-7]{17}|[0-9]{12}(?::[A-Za-z0-9_+=,.@-]{2,32})?")
_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")  # STS's accessKeyIdType
_IDENTITY = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """What to revoke. `subject` is a key of SUBJECTS; roles and principals may be given by id, ARN or name.

    `account`: the owner; "" is the caller's own (for the operator: that of what is named, where it can be found).
    `block_until` in ms; it implies `block`.
    """

    subject: str
    value: str
    account: str = ""
    block: bool = False
    block_until: int | None = None
    reason: str = ""


async def revoke(env: Env, call: Call, request: RevocationRequest) -> Revocation:
    """daypass:RevokeSession on `KIND/VALUE`. Raises DaypassError: ACCESS_DENIED, VALIDATION, NOT_FOUND."""
    _check(call, request)
    owner, value, fault = await _subject_of(env, call, request)
    kind = request.subject.replace("_", "-")
    decision = await allow(env, call, "RevokeSession", kind, value or request.value, owner)
    if fault is not None:
        raise fault
    revocation = Revocation(
        id=env.ids.session(),
        account=owner,
        subject=request.subject,
        value=value,
        issued_before=call.now,
        created_at=call.now,
        block=request.block or request.block_until is not None,
        block_until=request.block_until,
        reason=request.reason,
        created_by=call.caller.arn,
    )

    def change(tx: Tx) -> tuple[Revocation, Event]:
        tx.insert(revocation)
        detail = {
            "revocation": revocation.id,
            "subject": revocation.subject,
            "value": value,
            "block": revocation.block,
            "block_until": revocation.block_until,
            "reason": revocation.reason,
        }
        session_id = value if request.subject == "session" else ""
        return revocation, served(
            call,
            kind=EventType.SESSION_REVOKED,
            account=owner,
            session_id=session_id,
            decision=decision,
            detail=detail,
        )

    return await env.journal.write(change)


async def list_revocations(
    env: Env, call: Call, account: str = "", after: str = "", limit: int = 100
) -> tuple[list[Revocation], str]:
    """daypass:ListRevocations of one account, oldest first; and the `after` of the next page, "" at the end."""
    owner = account or call.caller.account
    if owner == EVERY_ACCOUNT:
        raise DaypassError(ErrorKind.VALIDATION, "Revocations are listed account by account.")
    decision = await allow(env, call, "ListRevocations", "revocation", "*", owner)
    found = await env.directory.read(
        lambda tx: tx.find(Revocation, account=owner, order="position", after=after, limit=limit + 1)
    )
    await env.journal.commit(served(call, account=owner, decision=decision))
    return found[:limit], str(found[limit - 1].position) if len(found) > limit else ""


# --- What is meant ---------------------------------------------------------------------------------------------------


def _check(call: Call, request: RevocationRequest) -> None:
    if request.subject not in SUBJECTS:
        raise DaypassError(ErrorKind.VALIDATION, f"The subject must be one of: {', '.join(SUBJECTS)}.")
    if request.account and not is_account_id(request.account):
        raise DaypassError(ErrorKind.VALIDATION, "An account id is 12 digits.")
    if request.block_until is not None and request.block_until <= call.now:
        raise DaypassError(ErrorKind.VALIDATION, "block_until must be in the future.")
    if len(request.reason) > MAX_REASON or not (request.reason.isprintable() or not request.reason):
        raise DaypassError(ErrorKind.VALIDATION, f"A reason is at most {MAX_REASON} printable characters.")


@dataclass(frozen=True, slots=True)
class _Found:
    """Whom a request means. `value` is "" when there is nobody like that; `owner` is "" when nothing tells."""

    value: str
    owner: str = ""


async def _subject_of(env: Env, call: Call, request: RevocationRequest) -> tuple[str, str, DaypassError | None]:
    """Owner, canonical value, and what to answer, once authorized, if it names nobody."""
    own = call.caller.account
    account = request.account or own
    if request.subject == "session":
        if not _SESSION.fullmatch(request.value):
            raise _invalid("session", "32 hex digits")
        session = await find_session(env, call, request.value)
        if session is None or request.account not in ("", session.claims.account):
            return account, "", no_such_session(request.value)
        return session.claims.account, request.value, None
    found = await env.directory.read(lambda tx: SUBJECTS[request.subject](tx, account, request.value))
    if not request.account and found.owner and await is_operator(env, call.caller):
        account = found.owner
    if found.value:
        return account, found.value, None
    fault = DaypassError(ErrorKind.NOT_FOUND, f"The {request.subject} with name {request.value} cannot be found.")
    return account, "", fault


def _role(tx: Reader, account: str, value: str) -> _Found:
    if _ROLE_ID.fullmatch(value):  # also one that is deleted: its sessions may live
        known = tx.get(Role, id=value)
        return _Found(value, known.account if known is not None else "")
    return _Found(_named(tx, Role, account, value))


def _principal(tx: Reader, account: str, value: str) -> _Found:
    if _PRINCIPAL_ID.fullmatch(value):
        if value[0].isdigit():
            return _Found(value, value[:12])
        kind: type[Role | User] = Role if value.startswith("AROA") else User
        entity = tx.get(kind, id=value)
        return _Found(value, entity.account if entity is not None else "")
    if value == f"arn:aws:iam::{account}:root":
        return _Found(account)
    if federated := _FEDERATED.fullmatch(value):
        return _Found(value, federated["iam"] or federated["x509"])
    return _Found(_named(tx, User, account, value) or _named(tx, Role, account, value))


def _named(tx: Reader, kind: type[Role | User], account: str, value: str) -> str:
    """The unique id of an entity of this account, by ARN or by name."""
    found = tx.get(kind, account=account, name=value.rpartition("/")[2])
    return found.id if found is not None and value in (found.arn, found.name) else ""


def _access_key(tx: Reader, _account: str, value: str) -> _Found:
    if not _KEY_ID.fullmatch(value):
        raise _invalid("access key", "16 to 128 letters, digits and _")
    known = tx.get(AccessKey, id=value)
    return _Found(value, known.account if known is not None else "")


def _source_identity(_tx: Reader, _account: str, value: str) -> _Found:
    if not _IDENTITY.fullmatch(value):
        raise _invalid("source identity", "2 to 64 letters, digits and +=,.@_-")
    return _Found(value)


def _whole_account(_tx: Reader, account: str, value: str) -> _Found:
    if not is_account_id(value):
        raise _invalid("account", "12 digits")
    return _Found(value, value) if value == account else _Found("", value)


def _unused(_tx: Reader, _account: str, _value: str) -> _Found:
    return _Found("")


def _invalid(what: str, form: str) -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, f"A {what} is named by {form}.")


SUBJECTS: dict[str, Callable[[Reader, str, str], _Found]] = {
    "session": _unused,  # looked up in the record
    "role": _role,
    "principal": _principal,
    "access_key": _access_key,
    "source_identity": _source_identity,
    "account": _whole_account,
}
