"""IAM Roles Anywhere as a service of the directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from daypass.operations.crud.engine import Service
from daypass.operations.rolesanywhere import faults
from daypass.operations.rolesanywhere.context import Operation, ReadContext, WriteContext
from daypass.operations.rolesanywhere.table import OPERATIONS
from daypass.ports import Call, Env, Reader, Tx


class RolesAnywhere(Service[ReadContext, WriteContext]):
    """AWS IAM Roles Anywhere, 2018-05-10."""

    prefix: ClassVar = "rolesanywhere"
    instance: ClassVar = "ROLES_ANYWHERE"
    identifiers: ClassVar = (
        *("trustAnchorArn", "trustAnchorId", "profileArn", "profileId", "crlArn", "crlId"),
        *("subjectArn", "subjectId"),
    )
    changed: ClassVar = faults.CHANGED

    @property
    def operations(self) -> Mapping[str, Operation]:
        return OPERATIONS

    def reading(self, env: Env, tx: Reader, call: Call) -> ReadContext:
        return ReadContext(tx, call.caller, call.facts, call.now, env.certificates)

    def writing(self, env: Env, tx: Tx, call: Call, gathered: Any) -> WriteContext:
        del gathered
        return WriteContext(tx, call.caller, call.facts, call.now, env.certificates, env.ids)


ROLES_ANYWHERE = RolesAnywhere()
"""For `crud.engine.perform`."""
