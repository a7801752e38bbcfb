"""Sessions, revocations, offboarding, browsers."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta

from daypass.api.operation import After, Command, Empty, Input, Limit, Millis, OnePage, Operation, Output


class ListSessionsInput(OnePage):
    principal_id: Annotated[str, Meta(max_length=2048, description="A role or user, by unique id, name or ARN.")] = ""
    root_principal_id: Annotated[
        str, Meta(max_length=2048, description="The principal that began the chain, likewise.")
    ] = ""
    active: bool | None = None
    revoked: bool | None = None


class HopOut(Output):
    session_id: str
    account: str
    principal_id: str
    access_key_id: str
    name: str
    issued_at: int


class SessionOut(Output):
    session_id: str
    kind: str
    state: Annotated[str, Meta(description="active, expired or revoked.")]
    account: str
    access_key_id: str
    principal_id: str
    arn: str
    name: str
    issued_at: int
    expires_at: int
    source_identity: str
    depth: int
    revoked_by: Annotated[str, Meta(description="Id of the revocation that ended it; empty if none did.")]
    hops: Annotated[
        list[HopOut], Meta(description="The chain of custody, from the original principal to the session itself.")
    ]
    log: str
    seq: int


class CallerSessionOut(Output):
    session_id: str
    account: str
    principal_id: str
    arn: str
    name: str
    issued_at: int
    expires_at: int
    source_identity: str
    hops: Annotated[
        list[HopOut], Meta(description="The chain of custody, from the original principal to the session itself.")
    ]


class ListAssumableRolesInput(Input):
    after: After = ""
    limit: Limit = 1000


class RoleOut(Output):
    arn: str
    name: str
    id: str
    description: str
    max_session_seconds: int


SubjectValue = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2048,
        description="An id; roles and users also by ARN or name; whom a provider or trust anchor vouches for by its ARN, a colon and the subject.",
    ),
]


class RevokeSessionInput(Input):
    subject: Annotated[
        str,
        Meta(
            max_length=32,
            description="session, role, principal, access_key, source_identity, account, grant or client.",
        ),
    ]
    value: SubjectValue
    account: Annotated[str, Meta(max_length=12, description="The owning account; empty: your own.")] = ""
    block: Annotated[bool, Meta(description="Also keep it from getting new sessions.")] = False
    block_until: Annotated[Millis | None, Meta(description="End of the block; it implies `block`.")] = None
    reason: Annotated[str, Meta(max_length=256, description="For the record.")] = ""
    force: Annotated[bool, Meta(description="Also a value that is not known in the account.")] = False
    dry_run: Annotated[bool, Meta(description="Count the sessions that would end, and revoke nothing.")] = False


class RevocationOut(Output):
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
    sessions_ended: Annotated[
        int | None, Meta(description="Active sessions that it ended; null when they could not be counted.")
    ]
    sessions_complete: Annotated[bool, Meta(description="Whether all active sessions were counted.")]
    last_expiry: Annotated[
        int | None, Meta(description="The latest expiry of these sessions; null for none, or when unknown.")
    ]
    dry_run: bool = False


class ListRevocationsInput(OnePage):
    blocks: Annotated[bool, Meta(description="Only those that block their subject now.")] = False


class LiftBlockInput(Input):
    reason: Annotated[str, Meta(max_length=256, description="For the record.")] = ""


class PrincipalIn(Input):
    kind: Annotated[str, Meta(max_length=32, description="principal, source_identity or access_key.")]
    value: SubjectValue


class OffboardInput(Input):
    user: Annotated[str, Meta(max_length=64, description="The name of a user; empty for none.")] = ""
    also: Annotated[list[PrincipalIn], Meta(max_length=20, description="Other subjects that are the same person.")] = []
    account: Annotated[str, Meta(max_length=12, description="Account id; empty: your own.")] = ""
    reason: Annotated[str, Meta(max_length=256, description="For the record.")] = ""
    dry_run: Annotated[bool, Meta(description="Report what would be done, and do nothing.")] = False
    delete: Annotated[bool, Meta(description="Also delete the user, with its keys, memberships and policies.")] = False


class OutstandingTokenOut(Output):
    jti: str
    subject: Annotated[str, Meta(description="The ARN of the principal that it was issued to.")]
    audiences: list[str]
    expires_at: int


class OffboardOut(Output):
    account: str
    user: Annotated[str, Meta(description="The ARN of the user; empty for none.")]
    keys_disabled: list[str]
    password_removed: bool
    mfa_devices_deactivated: list[str]
    passkeys_removed: Annotated[list[str], Meta(description="Names of passkeys.")]
    access_requests_cancelled: Annotated[list[str], Meta(description="Ids of access requests that were not decided.")]
    grants_ended: Annotated[list[str], Meta(description="Ids of access grants.")]
    scim_tokens_deleted: Annotated[list[str], Meta(description="Names of SCIM tokens that acted as the user.")]
    consents_removed: Annotated[
        list[str], Meta(description="Ids of OAuth clients with a remembered consent of the user.")
    ]
    chat_users_unlinked: Annotated[list[str], Meta(description="Names of chat users who could vote as the user.")]
    revocations: Annotated[list[RevocationOut], Meta(description="Made by this call.")]
    already_blocked: Annotated[
        list[RevocationOut], Meta(description="Revocations of earlier calls that block a subject.")
    ]
    sessions_ended: Annotated[
        int | None, Meta(description="Active sessions that end; null when they could not be counted.")
    ]
    sessions_complete: Annotated[bool, Meta(description="Whether all active sessions were counted.")]
    last_expiry: Annotated[
        int | None,
        Meta(
            description="The latest expiry of these sessions: a verifier that does not follow revocations accepts access tokens until then."
        ),
    ]
    outstanding_tokens: Annotated[
        list[OutstandingTokenOut] | None,
        Meta(description="Tokens for other clouds: no revocation reaches them. Null when they could not be listed."),
    ]
    outstanding_complete: Annotated[bool, Meta(description="Whether these are all.")]
    dry_run: bool


class BrowserSessionOut(Output):
    session_id: str
    created_at: int
    used_at: Annotated[
        int, Meta(description="With a resolution of a tenth of the time after which an idle browser is signed out.")
    ]
    expires_at: int
    source_ip: str
    user_agent: Annotated[str, Meta(description="As the browser says.")]


operation = partial(Operation, section="sessions")

LIST_SESSIONS = operation(
    "ListSessions",
    "GET /sessions",
    "Sessions, newest first. A page may hold fewer than `limit` and still have a `next`.",
    ListSessionsInput,
    SessionOut,
    items="sessions",
    paged=True,
)
GET_SESSION = operation(
    "GetSession",
    "GET /sessions/{session_id}",
    "One session, with its chain of custody.",
    Empty,
    SessionOut,
)
GET_CALLER_SESSION = operation(
    "GetCallerSession",
    "GET /session",
    "The session that signed this request, with its chain. No permission is needed.",
    output=CallerSessionOut,
)
LIST_ASSUMABLE_ROLES = operation(
    "ListAssumableRoles",
    "GET /roles/assumable",
    "Roles of your account that you could assume now. A page may hold fewer than `limit` and still have a `next`.",
    ListAssumableRolesInput,
    RoleOut,
    items="roles",
    paged=True,
)
REVOKE_SESSION = operation(
    "RevokeSession",
    "POST /revocations",
    "Ends sessions, everywhere within a second. With `block`, no new ones may begin either. Only a block can be lifted. A value that is unknown in the account and that no active session has is refused unless `force` is set. With `dry_run`, the answer is the same, but nothing is revoked.",
    RevokeSessionInput,
    NewRevocationOut,
    status=201,
    query=(),
)
LIST_REVOCATIONS = operation(
    "ListRevocations",
    "GET /revocations",
    "Revocations of one account, oldest first.",
    ListRevocationsInput,
    RevocationOut,
    items="revocations",
    paged=True,
    command=Command(
        "revocations ls",
        "List revocations, oldest first.",
        columns=(
            *("MADE=created_at", "SUBJECT=subject:word", "VALUE", "BLOCKS=block", "UNTIL=block_until", "BY=created_by"),
            *("ID", "REASON"),
        ),
    ),
)
LIFT_BLOCK = operation(
    "LiftBlock",
    "POST /revocations/{revocation_id}/lift",
    "Lifts the block of a revocation, everywhere within a second. Sessions that it ended stay ended.",
    LiftBlockInput,
    RevocationOut,
    command=Command(
        "revocations lift REVOCATION_ID",
        "Lift the block of revocation REVOCATION_ID: its subject may get sessions again.",
        says=("The block of {subject:word} {value} is lifted.",),
        help="Sessions that the revocation has ended stay ended. `daypass revocations ls` shows the ids.",
    ),
)
OFFBOARD = operation(
    "Offboard",
    "POST /offboardings",
    "Ends and blocks every session of a person, disables the user's keys, removes its password, MFA devices and passkeys, and ends its access requests and grants. With `delete`, the user is deleted as well. A second call changes only what has come back.",
    OffboardInput,
    OffboardOut,
    query=(),
)
LIST_BROWSER_SESSIONS = operation(
    "ListBrowserSessions",
    "GET /browser-sessions",
    "The browsers in which you are signed in, newest first. No permission is needed.",
    output=BrowserSessionOut,
    items="browser_sessions",
    command=Command(
        "browser ls",
        "List the browsers in which you are signed in, newest first.",
        columns=(
            *("SESSION=session_id", "SIGNED IN=created_at", "LAST USED=used_at", "UNTIL=expires_at"),
            *("ADDRESS=source_ip", "BROWSER=user_agent"),
        ),
    ),
)
SIGN_OUT = operation(
    "SignOut",
    "DELETE /browser-sessions/{session_id}",
    "Signs one of your browsers out. Sessions that were made from it stay valid. No permission is needed.",
    Empty,
    status=204,
    command=Command(
        "browser end SESSION_ID",
        "Sign one of your browsers out. Sessions made from it stay valid; `daypass revoke session` ends these too.",
        says=("Signed out {session_id}.",),
    ),
)
