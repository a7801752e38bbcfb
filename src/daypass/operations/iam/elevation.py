"""The linter's warnings when a role gets more permissions or longer sessions: its trust policy may then be too wide.

These are warnings only; this module refuses no requests.
"""

from __future__ import annotations

from daypass.domain.directory import Role
from daypass.domain.policy.lint.finding import Finding
from daypass.operations.crud.operation import Params
from daypass.operations.iam.builtin import policy_text
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.lint import findings_of_role


def longer(ctx: ReadContext, p: Params) -> tuple[Finding, ...]:
    """UpdateRole, when it sets MaxSessionDuration."""
    role = _role(ctx, p)
    if role is None or p.get("MaxSessionDuration") is None:
        return ()
    return findings_of_role(ctx.tx, role, ctx.builtin, seconds=p["MaxSessionDuration"])


def attached(ctx: ReadContext, p: Params) -> tuple[Finding, ...]:
    """AttachRolePolicy."""
    role, arn = _role(ctx, p), p["PolicyArn"]
    text = policy_text(ctx.tx, ctx.builtin.texts, arn, account=ctx.account)
    if role is None or not text:
        return ()
    return findings_of_role(ctx.tx, role, ctx.builtin, seconds=role.max_session_seconds, more=(text,))


def inlined(ctx: ReadContext, p: Params) -> tuple[Finding, ...]:
    """PutRolePolicy."""
    role = _role(ctx, p)
    if role is None:
        return ()
    seconds, name = role.max_session_seconds, p["PolicyName"]
    return findings_of_role(ctx.tx, role, ctx.builtin, seconds=seconds, more=(p["PolicyDocument"],), without=name)


def _role(ctx: ReadContext, p: Params) -> Role | None:
    return ctx.tx.get(Role, account=ctx.account, name=p["RoleName"])
