"""The paths of users, groups, roles, policies and instance profiles: those reserved by AWS are refused.

Source: IAM User Guide, "IAM identifiers"; the message is AWS's for roles.
"""

from __future__ import annotations

from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud.operation import Params

_RESERVED: Final = {
    "/aws-service-role/": "AWS Service linked Roles",
    "/aws-reserved/": "AWS reserved entities",
}


def path_of(p: Params, member: str = "Path", default: str = "/") -> str:
    """The path of a new or renamed entity, from the request. Raises DaypassError(INVALID_INPUT) for a path reserved by AWS."""
    path: str = p.get(member) or default
    for prefix, owners in _RESERVED.items():
        if path.lower().startswith(prefix) and path != default:
            raise DaypassError(ErrorKind.INVALID_INPUT, f"Path prefix '{prefix}' can only be used for {owners}")
    return path
