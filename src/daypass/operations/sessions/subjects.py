"""The subjects of revocations: the forms in which they are named, their owners and their canonical values.

It finds and checks; authorization is left to the operation that revokes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from daypass.domain.arn import is_account_id
from daypass.domain.directory import AccessKey, Account, Grant, OAuthClient, Role, Tags, User
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.operations.management import is_operator
from daypass.operations.principals import find_by_id
from daypass.operations.sessions.list_sessions import find_session, no_such_session
from daypass.ports import Call, Env, Reader, RoleView

_SESSION = re.compile(r"[0-9a-f]{32}")
_ROLE_ID = re.compile(r"AROA[A-Z2-7]{17}")
# A subject of a provider or trust anchor: its ARN, a colon, the subject (`Proof.principal_id`).
_FEDERATED = re.compile(
    r"arn:aws:(?:iam::(?P<iam>[0-9]{12}):(?:oidc|saml)-provider|rolesanywhere:[a-z0-9-]*:(?P<x509>[0-9]{12}):trust-anchor)"
    r"/[^\s:][^\s]*:.+"
)
_PRINCIPAL_ID = re.compile(r"(?:AROA|AIDA)[A-Z2-7]{17}|[0-9]{12}(?::[A-Za-z0-9_+=,.@-]{2,32})?")
_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")  # STS's accessKeyIdType
_IDENTITY = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_TOKEN_ID = re.compile(r"[!-~]{1,256}")  # ids of grants and OAuth clients


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A subject of revocations, resolved."""

    value: str  # its canonical form; "" if the entity does not exist
    owner: str = ""  # the account; "" when it is unknown
    known: bool = False  # whether the entity exists in this installation
    # tags, arn: of the user or role.
    tags: Tags = ()
    arn: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedSubject:
    """Owner and canonical value of the subject. `tags`: of the user or role that it names, or whose session or key it is.
    `arn`: of the user, role or session.
    `fault`: the error to raise after authorization when the value is unknown; a value is then set only where it is an id.
    """

    owner: str
    value: str
    known: bool = False
    fault: DaypassError | None = None
    tags: Tags = ()
    arn: str = ""


def resource_of(subject: str, value: str) -> tuple[str, str]:
    """The kind and name of a subject in policies: "role", "AROA…".

    A role is one resource, whether it is revoked as a role or as a principal: a Deny that names it covers both.
    """
    if subject == "principal" and _ROLE_ID.fullmatch(value):
        subject = "role"
    return subject.replace("_", "-"), value


async def subject_of(env: Env, call: Call, kind: str, value: str, account: str = "") -> ResolvedSubject:
    """The subject of this kind (a key of SUBJECTS) and name. `account`: its owner, "" for the default.

    The default is the caller's account; for the operator, the account of the subject when it can be found. Raises
    DaypassError(VALIDATION) for a value that has not the form of its kind.
    """
    own = call.caller.account
    owner = account or own
    if kind == "session":
        if not _SESSION.fullmatch(value):
            raise _invalid("session", "32 hex digits")
        session = await find_session(env, call, value)
        if session is None or account not in ("", session.claims.account):
            return ResolvedSubject(owner, value, fault=no_such_session(value))
        holder = session.claims.principal_id
        tags = await env.directory.read(lambda tx: tags_of_principal(tx, holder), account=own, urgent=True)
        return ResolvedSubject(session.claims.account, value, known=True, tags=tags, arn=session.claims.arn)
    resolved = await env.directory.read(lambda tx: SUBJECTS[kind](tx, owner, value), account=own, urgent=True)
    if not account and resolved.owner and await is_operator(env, call.caller):
        owner = resolved.owner
    if resolved.value and (kind != "account" or resolved.value == owner):
        tags, arn = (resolved.tags, resolved.arn) if resolved.owner == owner else ((), "")
        known = resolved.known and resolved.owner in ("", owner)
        return ResolvedSubject(owner, resolved.value, known=known, tags=tags, arn=arn)
    fault = DaypassError(ErrorKind.NOT_FOUND, f"The {kind} with name {value} cannot be found.")
    return ResolvedSubject(owner, "", fault=fault)


_BY_ID = {
    "session": _SESSION,
    "role": _ROLE_ID,
    "principal": re.compile(f"{_PRINCIPAL_ID.pattern}|{_FEDERATED.pattern}"),
    "access_key": _KEY_ID,
    "source_identity": _IDENTITY,
    "account": re.compile(r"[0-9]{12}"),
    "grant": _TOKEN_ID,
    "client": _TOKEN_ID,
}


async def subject_in_memory(env: Env, call: Call, kind: str, value: str, account: str = "") -> ResolvedSubject:
    """The same without the database: by id alone, and by name for roles that are cached.

    A value that is not known here counts as known, because a revocation must be possible. Raises
    DaypassError(UNAVAILABLE) for a name that cannot be looked up.
    """
    owner = account or call.caller.account
    if kind == "account" and not account and await is_operator(env, call.caller):
        owner = value
    if kind == "account" and value != owner:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The account with name {value} cannot be found.")
    if _BY_ID[kind].fullmatch(value):
        return ResolvedSubject(owner, value, known=True)
    if kind in ("role", "principal"):
        view = await _cached_role(env, owner, value.rpartition("/")[2])
        if view is not None and value in (view.role.arn, view.role.name):
            return ResolvedSubject(owner, view.role.id, known=True, tags=view.role.tags, arn=view.role.arn)
    raise DaypassError(ErrorKind.UNAVAILABLE, "The database is unavailable: name the subject by its unique id.")


async def _cached_role(env: Env, account: str, name: str) -> RoleView | None:
    """The role of this name, if this process has it in memory."""
    with ignored(ErrorKind.UNAVAILABLE):
        return await env.directory.role(account, name)
    return None


def _role(tx: Reader, account: str, value: str) -> _Resolved:
    if _ROLE_ID.fullmatch(value):  # also a deleted one: its sessions may still be valid
        return _entity(value, tx.get(Role, id=value))
    return _named(tx, Role, account, value) or _Resolved("")


def _principal(tx: Reader, account: str, value: str) -> _Resolved:
    if _PRINCIPAL_ID.fullmatch(value):
        if value[0].isdigit():
            return _Resolved(value, value[:12], known=value == account)
        return _entity(value, find_by_id(tx, value))
    if value == f"arn:aws:iam::{account}:root":
        return _Resolved(account, known=True)
    if federated := _FEDERATED.fullmatch(value):
        return _Resolved(value, federated["iam"] or federated["x509"])
    return _named(tx, User, account, value) or _named(tx, Role, account, value) or _Resolved("")


def _entity(value: str, found: Role | User | None) -> _Resolved:
    """A unique id. A deleted or unknown one is accepted too: its sessions may still be valid."""
    if found is None:
        return _Resolved(value)
    return _Resolved(value, found.account, known=True, tags=found.tags, arn=found.arn)


def _named(tx: Reader, kind: type[Role | User], account: str, value: str) -> _Resolved | None:
    """An entity of this account, by ARN or by name."""
    found = tx.get(kind, account=account, name=value.rpartition("/")[2])
    return _entity(found.id, found) if found is not None and value in (found.arn, found.name) else None


def tags_of_principal(tx: Reader, principal_id: str) -> Tags:
    """The tags of the user or role with this unique id."""
    found = find_by_id(tx, principal_id)
    return found.tags if found is not None else ()


def _access_key(tx: Reader, _account: str, value: str) -> _Resolved:
    if not _KEY_ID.fullmatch(value):
        raise _invalid("access key", "16 to 128 letters, digits and _")
    key = tx.get(AccessKey, id=value)
    if key is None:
        return _Resolved(value)
    return _Resolved(value, key.account, known=True, tags=tags_of_principal(tx, key.owner_id))


def _source_identity(_tx: Reader, _account: str, value: str) -> _Resolved:
    if not _IDENTITY.fullmatch(value):
        raise _invalid("source identity", "2 to 64 letters, digits and +=,.@_-")
    return _Resolved(value)


def _by_id(tx: Reader, kind: type[Grant | OAuthClient], what: str, value: str) -> _Resolved:
    if not _TOKEN_ID.fullmatch(value):
        raise _invalid(what, "its id")
    found = tx.get(kind, id=value)
    return _Resolved(value, found.account, known=True) if found is not None else _Resolved(value)


def _whole_account(tx: Reader, account: str, value: str) -> _Resolved:
    if not is_account_id(value):
        raise _invalid("account", "12 digits")
    known = value == account or tx.get(Account, id=value) is not None
    return _Resolved(value, value, known=True) if known else _Resolved("", value)


def _invalid(what: str, form: str) -> DaypassError:
    article = "An" if what[0] in "aeiou" else "A"
    return DaypassError(ErrorKind.VALIDATION, f"{article} {what} is named by {form}.")


SUBJECTS: dict[str, Callable[[Reader, str, str], _Resolved]] = {
    "session": lambda _tx, _account, _value: _Resolved(""),  # looked up in the record
    "role": _role,
    "principal": _principal,
    "access_key": _access_key,
    "source_identity": _source_identity,
    "account": _whole_account,
    "grant": lambda tx, _account, value: _by_id(tx, Grant, "grant", value),
    "client": lambda tx, _account, value: _by_id(tx, OAuthClient, "client", value),
}
