"""Revocations and offboarding over the management API: the shapes, and one function for each path. Nothing is decided
here.
"""

from __future__ import annotations

from pydantic import Field

from daypass.operations.offboarding import offboard as offboarding
from daypass.operations.sessions import lift, revoke
from daypass.operations.sessions.revoke import Revoked
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()
_VALUE_IS = "An id; roles and users also by ARN or name; whom a provider or trust anchor vouches for by its ARN, a colon and the subject."
_SUBJECTS = "session, role, principal, access_key, source_identity, account, grant or client."


class RevocationIn(s.In):
    subject: str = Field(description=_SUBJECTS, max_length=32)
    value: str = Field(min_length=1, max_length=2048, description=_VALUE_IS)
    account: str = Field("", max_length=12, description="The owning account; empty: your own.")
    block: bool = Field(False, description="Also keep it from getting new sessions.")
    block_until: s.Millis | None = Field(None, description="End of the block; it implies `block`.")
    reason: str = Field("", max_length=256)
    force: bool = Field(False, description="Also a value that is not known in the account.")
    dry_run: bool = Field(False, description="Count the sessions that would end, and revoke nothing.")


class LiftIn(s.In):
    reason: str = Field("", max_length=256)


class RevocationOut(s.EntityOut):
    id: str
    account: str
    subject: str
    value: str
    issued_before: int
    created_at: int
    block: bool
    block_until: int | None
    reason: str
    created_by: str


class NewRevocationOut(RevocationOut):
    sessions_ended: int | None = Field(
        description="Active sessions that it ended; null when they could not be counted."
    )
    sessions_complete: bool = Field(description="Whether all active sessions were counted.")
    last_expiry: int | None = Field(description="The latest expiry of these sessions; null for none, or when unknown.")
    dry_run: bool = False

    @classmethod
    def made(cls, revoked: Revoked, *, dry_run: bool = False) -> NewRevocationOut:
        ended = revoked.ended
        return cls.copied(
            revoked.revocation,
            sessions_ended=ended.sessions if ended is not None else None,
            sessions_complete=ended is not None and ended.complete,
            last_expiry=(ended.last_expiry or None) if ended is not None else None,
            dry_run=dry_run,
        )


class RevocationsOut(s.Out):
    revocations: list[RevocationOut]
    next: str = ""


class PrincipalIn(s.In):
    kind: str = Field(description="principal, source_identity or access_key.", max_length=32)
    value: str = Field(min_length=1, max_length=2048, description=_VALUE_IS)


class OffboardIn(s.In):
    user: str = Field("", max_length=64, description="The name of a user; empty for none.")
    also: list[PrincipalIn] = Field(
        default=[], max_length=offboarding.MAX_SUBJECTS, description="Other subjects that are the same person."
    )
    account: str = Field("", max_length=12, description="Account id; empty: your own.")
    reason: str = Field("", max_length=256)
    dry_run: bool = Field(False, description="Report what would be done, and do nothing.")
    delete: bool = Field(False, description="Also delete the user, with its keys, memberships and policies.")


class OutstandingTokenOut(s.EntityOut):
    jti: str
    subject: str = Field(description="The ARN of the principal that it was issued to.")
    audiences: list[str]
    expires_at: int


class OffboardOut(s.Out):
    account: str
    user: str = Field(description="The ARN of the user; empty for none.")
    keys_disabled: list[str]
    password_removed: bool
    mfa_devices_deactivated: list[str]
    passkeys_removed: list[str] = Field(description="Names of passkeys.")
    access_requests_cancelled: list[str] = Field(description="Ids of access requests that were not decided.")
    grants_ended: list[str] = Field(description="Ids of access grants.")
    scim_tokens_deleted: list[str] = Field(description="Names of SCIM tokens that acted as the user.")
    consents_removed: list[str] = Field(description="Ids of OAuth clients with a remembered consent of the user.")
    chat_users_unlinked: list[str] = Field(description="Names of chat users who could vote as the user.")
    revocations: list[RevocationOut] = Field(description="Made by this call.")
    already_blocked: list[RevocationOut] = Field(description="Revocations of earlier calls that block a subject.")
    sessions_ended: int | None = Field(description="Active sessions that end; null when they could not be counted.")
    sessions_complete: bool = Field(description="Whether all active sessions were counted.")
    last_expiry: int | None = Field(
        description="The latest expiry of these sessions: a verifier that does not follow revocations accepts access tokens until then."
    )
    outstanding_tokens: list[OutstandingTokenOut] | None = Field(
        description="Tokens for other clouds: no revocation reaches them. Null when they could not be listed."
    )
    outstanding_complete: bool = Field(description="Whether these are all.")
    dry_run: bool

    @classmethod
    def of(cls, report: offboarding.Offboarded, *, dry_run: bool) -> OffboardOut:
        ended = report.ended
        return cls(
            account=report.account,
            user=report.user.arn if report.user is not None else "",
            keys_disabled=list(report.removed.keys),
            password_removed=report.removed.password,
            mfa_devices_deactivated=list(report.removed.devices),
            passkeys_removed=list(report.removed.passkeys),
            access_requests_cancelled=list(report.removed.requests),
            grants_ended=list(report.removed.grants),
            scim_tokens_deleted=list(report.removed.scim_tokens),
            consents_removed=list(report.removed.consents),
            chat_users_unlinked=list(report.removed.chat_users),
            revocations=[RevocationOut.of(revocation) for revocation in report.made],
            already_blocked=[RevocationOut.of(revocation) for revocation in report.already_blocked],
            sessions_ended=ended.sessions if ended is not None else None,
            sessions_complete=ended is not None and ended.complete,
            last_expiry=(ended.last_expiry or None) if ended is not None else None,
            outstanding_tokens=_outstanding(report),
            outstanding_complete=report.outstanding is not None and report.outstanding.complete,
            dry_run=dry_run,
        )


def _outstanding(report: offboarding.Offboarded) -> list[OutstandingTokenOut] | None:
    if report.outstanding is None:
        return None
    return [OutstandingTokenOut.of(token) for token in report.outstanding.tokens]


@router.post("/revocations", name="RevokeSession", tags=["sessions"], status_code=201)
async def revoke_session(env: s.EnvDep, call: s.CallDep, body: RevocationIn) -> NewRevocationOut:
    """Ends sessions, everywhere within a second. With `block`, no new ones may begin either. Only a block can be
    lifted.

    A value that is unknown in the account and that no active session has is refused unless `force` is set. With
    `dry_run`, the answer is the same, but nothing is revoked.
    """
    request = revoke.RevocationRequest(**body.fields())
    return NewRevocationOut.made(await revoke.revoke(env, call, request), dry_run=body.dry_run)


@router.get("/revocations", name="ListRevocations", tags=["sessions"])
async def list_revocations(
    env: s.EnvDep,
    call: s.CallDep,
    account: s.AccountQuery = "",
    after: s.AfterQuery = "",
    limit: s.LimitQuery = 100,
) -> RevocationsOut:
    """Revocations of one account, oldest first."""
    revocations, following = await revoke.list_revocations(env, call, account, after, limit)
    return RevocationsOut(revocations=[RevocationOut.of(revocation) for revocation in revocations], next=following)


@router.post("/revocations/{revocation_id}/lift", name="LiftBlock", tags=["sessions"])
async def lift_block(
    env: s.EnvDep, call: s.CallDep, revocation_id: s.IdPath, body: LiftIn | None = None
) -> RevocationOut:
    """Lifts the block of a revocation, everywhere within a second. Sessions that it ended stay ended."""
    reason = body.reason if body is not None else ""
    return RevocationOut.of(await lift.lift_block(env, call, revocation_id, reason))


@router.post("/offboardings", name="Offboard", tags=["sessions"])
async def offboard(env: s.EnvDep, call: s.CallDep, body: OffboardIn) -> OffboardOut:
    """Ends and blocks every session of a person, disables the user's keys, removes its password, MFA devices and passkeys, and
    ends its access requests and grants. With `delete`, the user is deleted as well. A second call changes only what has come back.
    """
    request = offboarding.OffboardRequest(**body.fields("also"), also=[(each.kind, each.value) for each in body.also])
    return OffboardOut.of(await offboarding.offboard(env, call, request), dry_run=body.dry_run)
