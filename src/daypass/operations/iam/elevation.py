"""What the linter says when a role gets more powers or longer sessions: its trust policy may no longer be fit for it.

Warnings alone; nothing here refuses a request.
"""

from __future__ import annotations

from daypass.domain.directory import ManagedPolicy, PolicyVersion, Role
from daypass.domain.policy.lint.finding import Finding
from daypass.operations.iam.work import Look, Params
from daypass.operations.lint import findings_of_role


def longer(look: Look, p: Params) -> tuple[Finding, ...]:
    """UpdateRole, when it sets MaxSessionDuration."""
    role = _role(look, p)
    if role is None or p.get("MaxSessionDuration") is None:
        return ()
    return findings_of_role(look.tx, role, look.builtin, seconds=p["MaxSessionDuration"])


def attached(look: Look, p: Params) -> tuple[Finding, ...]:
    """AttachRolePolicy."""
    role, arn = _role(look, p), p["PolicyArn"]
    version = look.builtin.version(arn) or _own(look, arn)
    if role is None or version is None:
        return ()
    return findings_of_role(look.tx, role, look.builtin, seconds=role.max_session_seconds, more=(version.document,))


def inlined(look: Look, p: Params) -> tuple[Finding, ...]:
    """PutRolePolicy."""
    role = _role(look, p)
    if role is None:
        return ()
    seconds, name = role.max_session_seconds, p["PolicyName"]
    return findings_of_role(look.tx, role, look.builtin, seconds=seconds, more=(p["PolicyDocument"],), without=name)


def _role(look: Look, p: Params) -> Role | None:
    return look.tx.get(Role, account=look.account, name=p["RoleName"])


def _own(look: Look, arn: str) -> PolicyVersion | None:
    policy = look.tx.get(ManagedPolicy, account=look.account, arn=arn)
    return look.tx.get(PolicyVersion, policy_id=policy.id, version=policy.default_version) if policy else None
