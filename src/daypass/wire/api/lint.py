"""The linter over the management API: paths and shapes. Nothing is decided or stored here."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.lint.finding import Finding, Severity
from daypass.operations.access import lint
from daypass.operations.access.lint import Linted
from daypass.operations.iam.lint import MAX_CHARACTERS
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()

_AFTER = Query(max_length=256, description="`next` of the page before.")


class LintIn(s.In):
    document: str = Field(max_length=MAX_CHARACTERS)
    kind: str = Field("identity", pattern="^(identity|managed|trust|session|guardrail|resource)$")
    role: str = Field("", max_length=64, description="The role that a trust policy is for: its powers are considered.")


class FindingOut(s.Out):
    id: str
    severity: Severity
    title: str
    line: int
    column: int
    end_line: int
    end_column: int
    statement: int = Field(description="Index of the statement; -1: the whole document, or the role.")
    sid: str
    why: str
    fix: str

    @classmethod
    def of(cls, finding: Finding) -> FindingOut:
        return cls(**finding.to_json())


class FindingsOut(s.Out):
    findings: list[FindingOut]


class LintedOut(s.Out):
    arn: str = Field(description="Who owns the policy, or the managed policy itself.")
    policy: str
    kind: str
    findings: list[FindingOut]

    @classmethod
    def of(cls, linted: Linted) -> LintedOut:
        findings = [FindingOut.of(finding) for finding in linted.findings]
        return cls.copied(linted, kind=linted.kind.value, findings=findings)


class LintOut(s.Out):
    policies: list[LintedOut]
    next: str = ""


@router.post("/lint", name="LintPolicies", tags=["policies"])
async def lint_document(env: s.EnvDep, call: s.CallDep, body: LintIn) -> FindingsOut:
    """Findings where a document probably does not say what its author intended. Nothing is stored."""
    findings = await lint.lint_document(env, call, body.document, PolicyKind(body.kind), body.role)
    return FindingsOut(findings=[FindingOut.of(finding) for finding in findings])


@router.get("/lint", name="LintPolicies", tags=["policies"])
async def lint_account(
    env: s.EnvDep,
    call: s.CallDep,
    account: s.AccountQuery = "",
    after: Annotated[str, _AFTER] = "",
    limit: s.LimitQuery = 100,
) -> LintOut:
    """Findings about the stored policies of one account. A page may be empty and still have a `next`."""
    found, following = await lint.lint_account(env, call, account, after, limit)
    return LintOut(policies=[LintedOut.of(linted) for linted in found], next=following)
