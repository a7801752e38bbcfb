"""The sessions of AWS Sign-In: what a person's AWS CLI can renew without the person, listed and revoked.

A session is a family of refresh tokens of one of AWS's tools. Who may see another identity's sessions is decided by its
policies; one's own need no permission.
Source: AWS Sign-In API Reference, "ListSessions", "GetSession", "BatchRevokeSessions", "RevokeOAuth2TokenWithIAM".
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

from daypass.domain import payload
from daypass.domain.arn import read_arn
from daypass.domain.directory import RefreshFamily, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import AWS_TOOLS
from daypass.domain.policy.model import Decision
from daypass.domain.session import SessionClaims
from daypass.operations.authorize import Own, authorize, authorize_own
from daypass.operations.oauth.access_token import session_arn
from daypass.operations.oauth.jwt_form import IssuedToken, issue_token
from daypass.operations.oauth.parties import subject_of_caller
from daypass.operations.oauth.refresh_families import end_family
from daypass.operations.oauth.refresh_family import content_of, is_authentic, parse_token
from daypass.operations.oauth.request import TokenRequest
from daypass.operations.outcome import actor_of, served
from daypass.operations.principals import find_by_arn
from daypass.ports import Call, Env, Reader

MAX_RESULTS: Final = 100
_LOOKED_AT: Final = 1_000  # rows of one page
_EVERYBODY: Final = "*"


class SignInSession(NamedTuple):
    """A session: its family, its ARN and that of its person."""

    family: RefreshFamily
    arn: str
    principal_arn: str

    @property
    def active(self) -> bool:
        return not self.family.ended_at


class SessionQuery(NamedTuple):
    """Which sessions: of `principal_arn` ("" for the caller), made by `client_id`, between two times (ms), active or not."""

    principal_arn: str = ""
    after: str = ""
    most: int = MAX_RESULTS
    active: bool | None = None
    client_id: str = ""
    since: int = 0
    before: int = 2**62


class _Owner(NamedTuple):
    """Whose sessions a request may touch. `principal_id`: "*" for everybody in the account. `person`: the one person, of
    several who share the role of their identity provider; "" for all.
    """

    account: str
    principal_id: str
    decision: Decision
    person: str = ""

    def has(self, env: Env, family: RefreshFamily) -> bool:
        if family.client_id not in AWS_TOOLS or self.principal_id not in (_EVERYBODY, family.principal_id):
            return False
        return self.person in ("", _session(env, family).hops[0].principal_id)


async def list_sessions(env: Env, call: Call, query: SessionQuery) -> tuple[list[SignInSession], str]:
    """signin:ListSessions: a page, and the `after` of the next one. Raises DaypassError: ACCESS_DENIED, UNAVAILABLE."""
    owner = await _owner(env, call, "ListSessions", query.principal_arn)
    rows, after = await env.directory.read(lambda tx: _page(env, tx, owner, query), account=call.caller.account)
    detail = {"principal": owner.principal_id, "found": len(rows)}
    await env.journal.commit(served(call, account=owner.account, decision=owner.decision, detail=detail))
    return [_shown(env, row) for row in rows], after


def _page(env: Env, tx: Reader, owner: _Owner, query: SessionQuery) -> tuple[list[RefreshFamily], str]:
    one = {} if owner.principal_id == _EVERYBODY else {"principal_id": owner.principal_id}
    rows = tx.find(RefreshFamily, account=owner.account, order="id", after=query.after, limit=_LOOKED_AT, **one)
    found: list[RefreshFamily] = []
    for row in rows:
        if _matches(row, query) and owner.has(env, row):
            found.append(row)
        if len(found) == query.most:
            return found, row.id
    return found, rows[-1].id if len(rows) == _LOOKED_AT else ""


def _matches(row: RefreshFamily, query: SessionQuery) -> bool:
    return (
        query.client_id in ("", row.client_id)
        and query.active in (None, not row.ended_at)
        and query.since <= row.created_at < query.before
    )


async def get_session(env: Env, call: Call, principal_arn: str, unverified_arn: str) -> SignInSession:
    """signin:GetSession. Raises DaypassError: ACCESS_DENIED, NOT_FOUND, UNAVAILABLE."""
    owner = await _owner(env, call, "GetSession", principal_arn)
    family = await _family(env, call, owner, unverified_arn)
    await env.journal.commit(served(call, account=owner.account, decision=owner.decision, detail={"family": family.id}))
    return _shown(env, family)


async def revoke_sessions(
    env: Env, call: Call, principal_arn: str, unverified_arns: Sequence[str], reason: str
) -> tuple[list[str], list[str]]:
    """signin:BatchRevokeSessions: the ARNs that are revoked, and those that name no session of that identity.

    Everything that a session has given ends with it. Raises DaypassError: ACCESS_DENIED, UNAVAILABLE.
    """
    owner = await _owner(env, call, "BatchRevokeSessions", principal_arn)
    revoked: list[str] = []
    unknown: list[str] = []
    for arn in unverified_arns:
        try:
            family = await _family(env, call, owner, arn)
        except DaypassError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            unknown.append(arn)
            continue
        if not family.ended_at:
            await end_family(env, call, family, actor_of(call.caller), reason or "revoked by AWS Sign-In")
        revoked.append(arn)
    detail = {"revoked": revoked, "unknown": len(unknown)}
    await env.journal.commit(served(call, account=owner.account, decision=owner.decision, detail=detail))
    return revoked, unknown


async def revoke_refresh_token(env: Env, call: Call, unverified_token: str) -> None:
    """signin:RevokeOAuth2TokenWithIAM: as `revoke_sessions`, by a refresh token of the session. An invalid token is ignored.

    Raises DaypassError: ACCESS_DENIED, UNAVAILABLE.
    """
    owner = await _owner(env, call, "RevokeOAuth2TokenWithIAM", "")
    family = await _authentic_family(env, call, unverified_token)
    if family is None or family.account != owner.account or not owner.has(env, family):
        event = served(call, account=owner.account, decision=owner.decision, detail={"active": False})
        await env.journal.commit(event)
        return
    await end_family(env, call, family, actor_of(call.caller), "revoked by AWS Sign-In")


async def issue_for_resource(env: Env, call: Call, request: TokenRequest) -> IssuedToken:
    """signin:CreateOAuth2TokenWithIAM: an access token of the caller, at most as wide as the caller is.

    Raises DaypassError: see `issue_token`.
    """
    await authorize_own(env, call, "signin:CreateOAuth2TokenWithIAM", "*", Own.RESTRICTED)
    return await issue_token(env, call, request, subject_of_caller(env, call, call.caller))


async def check_introspection(env: Env, call: Call) -> None:
    """signin:IntrospectOAuth2TokenWithIAM, before `introspect_token`. Raises DaypassError(ACCESS_DENIED)."""
    await authorize_own(env, call, "signin:IntrospectOAuth2TokenWithIAM", "*", Own.RESTRICTED)


async def _authentic_family(env: Env, call: Call, unverified_token: str) -> RefreshFamily | None:
    try:
        token = parse_token(unverified_token)
        family = await env.directory.read(
            lambda tx: tx.get(RefreshFamily, id=token.family), account=call.caller.account
        )
        return family if family is not None and is_authentic(token, content_of(env, family)) else None
    except DaypassError as error:
        if error.kind is not ErrorKind.INVALID_GRANT:
            raise
        return None


async def _family(env: Env, call: Call, owner: _Owner, unverified_arn: str) -> RefreshFamily:
    """A session of an identity other than `owner` is not found, as AWS does."""
    text = unverified_arn.rpartition(":session/")[2].replace("-", "")
    family = await env.directory.read(
        lambda tx: tx.get(RefreshFamily, id=text, account=owner.account), account=call.caller.account
    )
    if family is None or not owner.has(env, family) or _arn(family) != unverified_arn:
        raise DaypassError(ErrorKind.NOT_FOUND, "There is no such session of this identity.")
    return family


async def _owner(env: Env, call: Call, operation: str, principal_arn: str) -> _Owner:
    """The identity that a request is about, if the caller may do this. Raises DaypassError: ACCESS_DENIED, VALIDATION."""
    caller, action = call.caller, f"signin:{operation}"
    account = caller.account
    resource = f"arn:aws:signin::{account}:session/*"
    if not principal_arn:
        decision = await authorize_own(env, call, action, resource)
        return _Owner(account, caller.principal_id, decision, caller.hops[0].principal_id)
    decision = await authorize(env, call, action, resource)
    if principal_arn == f"arn:aws:iam::{account}:*":
        return _Owner(account, _EVERYBODY, decision)
    parsed = read_arn(principal_arn)
    user = None
    if parsed is not None and parsed.account == account:
        user = await env.directory.read(lambda tx: find_by_arn(tx, User, principal_arn), account=account)
    if user is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "There is no such user in this account.")
    return _Owner(account, user.id, decision)


def _shown(env: Env, family: RefreshFamily) -> SignInSession:
    return SignInSession(family, _arn(family), session_arn(_session(env, family)))


def _session(env: Env, family: RefreshFamily) -> SessionClaims:
    return payload.decode(content_of(env, family).session)


def _arn(family: RefreshFamily) -> str:
    return f"arn:aws:signin::{family.account}:session/{uuid.UUID(family.id)}"
