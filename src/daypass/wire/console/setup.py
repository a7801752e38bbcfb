"""The settings of the installation, read-only, and the first role of an account with its approval rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from daypass.domain.arn import root_arn
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.accounts.read_settings import read_settings
from daypass.operations.broker import rules
from daypass.wire.console.iam import iam, iam_part
from daypass.wire.console.visit import ConsoleVisit, to
from daypass.wire.http import Response

PERMISSIONS: Final[Mapping[str, str]] = {
    "read": "ReadOnlyAccess",
    "power": "PowerUserAccess",
    "everything": "AdministratorAccess",
}
"""Managed policies that the first role can have, by the values of the form."""


async def settings_page(visit: ConsoleVisit) -> Response:
    """GET /console/settings."""
    found = await visit.perform("daypass:ReadSettings", read_settings, visit.console.settings)
    return visit.page("settings", "Settings", sections=found)


async def start(visit: ConsoleVisit) -> Response:
    """GET /console/start: an account's first steps, and which of them are done."""
    return await _start_page(visit)


async def first_role(visit: ConsoleVisit) -> Response:
    """POST /console/start/role: makes a role that needs approval, and the rule for it. Then the first request."""
    account, name, approvers = visit.call.caller.account, visit.value("name", 64), visit.value("approvers", 128)
    requesters = visit.value("requesters", 128)
    try:
        permissions = PERMISSIONS.get(visit.value("permissions", 16), "")
        if not (name and approvers and requesters and permissions):
            raise DaypassError(ErrorKind.VALIDATION, "The role, its permissions and both groups are needed.")
        document = _rule(name, requesters, approvers)
        made = await iam(
            visit,
            "CreateRole",
            RoleName=name,
            AssumeRolePolicyDocument=_trust(account),
            Description=visit.value("description", 512),
        )
        policy = f"arn:aws:iam::aws:policy/{permissions}"
        await iam(visit, "AttachRolePolicy", RoleName=name, PolicyArn=policy)
        await visit.perform("daypass:PutApprovalRule", rules.put_rule, "", name, document)
    except DaypassError as error:
        return await _start_page(visit, await visit.problem(error))
    return to("/console/request", role=made["Role"]["Arn"], done="saved")


def _trust(account: str) -> str:
    statement = {
        "Sid": "PeopleWithAnApproval",
        "Effect": "Allow",
        "Principal": {"AWS": root_arn(account)},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        "Condition": {"Bool": {"daypass:Approved": "true"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _rule(name: str, requesters: str, approvers: str) -> str:
    stage = {"name": "approval", "approvers": {"principals": [f"group/{approvers}"]}}
    rule = {"roles": [f"role/{name}"], "requesters": {"principals": [f"group/{requesters}"]}, "stages": [stage]}
    return json.dumps(rule)


async def _start_page(visit: ConsoleVisit, problem: str = "") -> Response:
    groups = await iam_part(visit, "ListGroups", MaxItems=100)
    roles = await iam_part(visit, "ListRoles", MaxItems=1)
    made = await visit.attempt("daypass:ListApprovalRules", rules.list_rules, "")
    names = [(each["GroupName"], each["GroupName"]) for each in (groups.value or {}).get("Groups", ())]
    return visit.page(
        "start",
        "First steps",
        groups=names,
        has_roles=bool((roles.value or {}).get("Roles")),
        rules=made,
        permissions=[(key, policy) for key, policy in PERMISSIONS.items()],
        values=visit.values,
        problem=problem or groups.problem,
    )
