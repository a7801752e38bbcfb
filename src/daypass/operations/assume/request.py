"""The request for a new session, independent of the protocol, and the checks that need no directory."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from daypass.domain.arn import is_account_id, read_arn
from daypass.domain.directory import Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.assume.session_policies import check_policies
from daypass.ports import Env


class RequestedRole(Struct, frozen=True):
    """A role by its ARN. Path and spelling are checked when the role is looked up."""

    arn: str
    account: str
    name: str


class SessionRequest(Struct, frozen=True):
    """The requested session. `duration` in seconds; None: the default. `policy` is the text of a session policy, or "".

    `scope_policy`: the session policy of the granted scopes, which limits the session in addition. `max_seconds`: of its
    lifetime, which is shortened to it; 0: no limit. Both come from resource servers, not from the caller.
    """

    name: str
    duration: int | None = None
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    source_identity: str = ""
    scope_policy: str = ""
    max_seconds: int = 0


class AssumeRequest(Struct, frozen=True):
    """A role and the requested session. `action`: what the trust policy must allow."""

    role_arn: str
    session: SessionRequest
    external_id: str = ""
    action: str = ASSUME_ROLE


async def check(env: Env, account: str, request: AssumeRequest) -> RequestedRole:
    """The requested role, if the request itself is valid. `account` is the applicant's.

    Raises DaypassError: VALIDATION, MALFORMED_POLICY.
    """
    role = requested_role(request.role_arn)
    session = request.session
    if session.policy or session.policy_arns:
        await check_policies(env, account, session.policy, session.policy_arns)
    return role


@lru_cache(maxsize=4096)  # only well-formed ARNs are cached
def requested_role(text: str) -> RequestedRole:
    """Account and name from a role's ARN. Raises DaypassError(VALIDATION)."""
    arn = read_arn(text)
    if arn is None or (arn.partition, arn.service, arn.region) != ("aws", "iam", "") or not is_account_id(arn.account):
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    if not arn.resource.startswith("role/") or not arn.name:
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    return RequestedRole(text, arn.account, arn.name)
