"""IAM as a service of the directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from daypass.domain.policy.lint.finding import Finding
from daypass.operations.crud.engine import Service
from daypass.operations.crud.operation import Params
from daypass.operations.iam import builtin, documents, faults
from daypass.operations.iam.context import Operation, ReadContext, WriteContext
from daypass.operations.iam.lint import findings_of
from daypass.operations.iam.table import OPERATIONS
from daypass.ports import Call, Env, Reader, Scene, Tx


class Iam(Service[ReadContext, WriteContext]):
    """AWS IAM, 2010-05-08."""

    prefix: ClassVar = "iam"
    instance: ClassVar = "IAM"
    tag_prefixes: ClassVar = ("aws:resourcetag/", "iam:resourcetag/")
    identifiers: ClassVar = (
        *("UserId", "GroupId", "RoleId", "PolicyId", "InstanceProfileId", "AccessKeyId", "VersionId", "Arn"),
        "SerialNumber",
    )
    changed: ClassVar = faults.CONCURRENT

    @property
    def operations(self) -> Mapping[str, Operation]:
        return OPERATIONS

    def reading(self, env: Env, tx: Reader, call: Call) -> ReadContext:
        known, url = builtin.Catalog(env.builtin), env.limits.public_url
        return ReadContext(tx, call.caller, call.facts, call.now, known, env.saml_metadata, public_url=url)

    def writing(self, env: Env, tx: Tx, call: Call, gathered: Any) -> WriteContext:
        known = builtin.Catalog(env.builtin)
        caller, facts, metadata = call.caller, call.facts, env.saml_metadata
        return WriteContext(tx, caller, facts, call.now, known, metadata, env.ids, env.sealer, gathered)

    def reading_heavily(self, scene: Scene, call: Call) -> ReadContext:
        known = builtin.Catalog(scene.builtin)
        return ReadContext(scene.tx, call.caller, call.facts, call.now, known, scene.saml_metadata)

    def check(self, context: ReadContext, operation: Operation, params: Params) -> tuple[Finding, ...]:
        """Parses the document, which must be done first, and lints it."""
        findings = super().check(context, operation, params)
        if operation.document is None:
            return findings
        name, kind = operation.document
        documents.check(params[name], kind)
        role = params.get("RoleName", "")
        return (*findings_of(context.tx, context.account, context.builtin, params[name], kind, role), *findings)

    def checked(self, operation: Operation, params: Params) -> documents.Checked | None:
        assert operation.document is not None
        name, kind = operation.document
        return documents.check(params[name], kind) if documents.is_checked(params[name], kind) else None

    def remember(self, operation: Operation, params: Params, checked: documents.Checked | None) -> None:
        assert operation.document is not None
        name, kind = operation.document
        if checked is not None:
            documents.remember(params[name], kind, checked)


IAM = Iam()
"""For `crud.engine.perform`."""
