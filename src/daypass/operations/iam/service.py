"""IAM as a service of the directory."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from daypass.domain.policy.lint.finding import LintFinding
from daypass.operations.crud import Params
from daypass.operations.crud_engine import Service
from daypass.operations.iam import (
    builtin,
    documents,
    faults,
    find,
    granting,
    mfa,
    owners,
    resources,
    roles,
    service_last_accessed,
    tables,
    tags,
)
from daypass.operations.iam.context import Operation, ReadContext, WriteContext
from daypass.operations.iam.lint import findings_of
from daypass.ports import Call, Env, Ids, Scene, Tx


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

    def reading(self, scene: Scene, call: Call) -> ReadContext:
        known, url = builtin.Catalog(scene.builtin), scene.public_url
        return ReadContext(scene.tx, call.caller, call.facts, call.now, known, scene.saml_metadata, public_url=url)

    def writing(self, env: Env, tx: Tx, call: Call, gathered: Any) -> WriteContext:
        known = builtin.Catalog(env.builtin)
        caller, facts, metadata = call.caller, call.facts, env.saml_metadata
        return WriteContext(tx, caller, facts, call.now, known, metadata, env.ids, env.sealer, gathered)

    def check(self, context: ReadContext, operation: Operation, params: Params) -> tuple[LintFinding, ...]:
        """Parses the document, which must be done first, and lints it."""
        findings = super().check(context, operation, params)
        if operation.document is None:
            return findings
        name, kind = operation.document
        documents.check(params[name], kind)
        role = params.get("RoleName", "")
        return (*findings_of(context.tx, context.account, context.builtin, params[name], kind, role), *findings)

    def checked(self, operation: Operation, params: Params) -> documents.Checked | None:
        if operation.document is None:
            return None
        name, kind = operation.document
        return documents.check(params[name], kind) if documents.is_checked(params[name], kind) else None

    def remember(self, operation: Operation, params: Params, checked: documents.Checked | None) -> None:
        if operation.document is not None and checked is not None:
            name, kind = operation.document
            documents.remember(params[name], kind, checked)


IAM = Iam()
"""For `crud_engine.perform`."""


# --- Every IAM operation of Daypass by name; `tables` has the rows


def _gather_last_accessed(ctx: ReadContext, p: Params, ids: Ids) -> bytes:
    return service_last_accessed.gather(sorted(OPERATIONS), ctx, p, ids)


_LAST_ACCESSED = Operation(
    "GenerateServiceLastAccessedDetails",
    granting.arn_resource,
    write=service_last_accessed.generate_service_last_accessed_details,
    gather=_gather_last_accessed,
    heavy=True,
)

_ALL = (
    *tables.USERS,
    *tables.GROUPS,
    *tables.ROLES,
    *roles.SERVICE_LINKED,
    *tables.POLICIES,
    *tables.ACCOUNT,
    *tables.INSTANCE_PROFILES,
    *tables.PROVIDERS,
    *tables.PASSWORDS,
    *tables.MFA,
    *tables.REPORTS,
    _LAST_ACCESSED,
    *tables.ABSENT,
    *tables.OUTBOUND,
    *tables.SIMULATIONS,
    *tables.of_owner(owners.USER, resources.user),
    *tables.of_owner(owners.GROUP, resources.group),
    *tables.of_owner(owners.ROLE, resources.role),
    *tables.bounded_by(owners.USER, resources.user),
    *tables.bounded_by(owners.ROLE, resources.role),
    *tables.tagged("User", resources.user, tags.by(find.user, "UserName")),
    *tables.tagged("Role", resources.role, tags.by(find.role, "RoleName")),
    *tables.tagged("Policy", resources.policy, tags.policy, tags.policy_to_tag, tags.policy_to_untag),
    *tables.tagged(
        "InstanceProfile", resources.instance_profile, tags.by(find.instance_profile, "InstanceProfileName")
    ),
    *tables.tagged(
        "OpenIDConnectProvider", resources.oidc_provider, tags.by(find.oidc_provider, "OpenIDConnectProviderArn")
    ),
    *tables.tagged("SAMLProvider", resources.saml_provider, tags.by(find.saml_provider, "SAMLProviderArn")),
    *tables.tagged("MFADevice", mfa.device_resource, mfa.tagged),
)

OPERATIONS: Final = MappingProxyType({operation.name: roles.protecting(operation) for operation in _ALL})
"""Operations by name."""
