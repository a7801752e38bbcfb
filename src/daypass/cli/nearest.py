"""The nearest name for a user, group, role or policy that does not exist, from the list of those that do."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import click

from daypass.cli.failures import suggestion
from daypass.cli.iam import listed
from daypass.cli.options import CONNECTION
from daypass.client.errors import ClientError
from daypass.client.http import Connection

_MISSING = re.compile(r"(?:The (user|role|group) with name |(Policy) arn:\S*:policy/(?:\S*/)?)([^\s/]{1,128}) ")
_LISTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "user": ("ListUsers", "Users/member", "UserName", {}),
    "role": ("ListRoles", "Roles/member", "RoleName", {}),
    "group": ("ListGroups", "Groups/member", "GroupName", {}),
    "Policy": ("ListPolicies", "Policies/member", "Arn", {"Scope": "All"}),
}
"""Kind of object, as refusals name it → the IAM action that lists it, the members, theirs with the name or ARN, and parameters."""
_PAGE = 1000
_MAX_NAMES = 3 * _PAGE  # names that are looked at; AWS has more policies than a page holds


def add_suggestion(error: Exception, context: click.Context) -> None:
    """Adds "Did you mean …?" to a refusal that says that a name does not exist. It is silent
    where the caller may not list names, and where none is near.
    """
    missing, connection = _MISSING.match(str(error)), context.meta.get(CONNECTION)
    if missing is None or not isinstance(connection, Connection):
        return
    action, path, name, parameters = _LISTS[missing[1] or missing[2]]
    try:
        found = [*islice(listed(connection, action, path, MaxItems=_PAGE, **parameters), _MAX_NAMES)]
    except ClientError:
        return
    if close := suggestion(missing[3], [_as_given(each.get(name, "")) for each in found]):
        error.add_note(close.strip())


def _as_given(name: str) -> str:
    """How commands take a name: that of a policy of AWS after `aws/`."""
    owner, is_policy, path = name.partition(":policy/")
    if not is_policy:
        return name
    return f"aws/{path}" if owner.endswith(":aws") else path.rpartition("/")[2]
