"""`daypass trust new --apply`: create a role, or change the trust policy of one, after showing what would change.

It must never remove a statement unless the user named the option that replaces the policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from daypass.cli import iam, output
from daypass.cli.options import confirmed
from daypass.cli.replacing import show, unless_absent
from daypass.client.errors import ClientError
from daypass.client.http import Connection


def apply(
    connection: Connection, role: str, document: Mapping[str, Any], *, replace: bool = False, agreed: bool = False
) -> str:
    """Makes `role` trust `document`; a sentence that says what was done.

    A role that exists keeps its statements and gets those of `document`; `replace` drops the others. The change is shown
    and confirmed on the terminal unless `agreed`. Raises ClientError, UsageError (no terminal to confirm on), Abort.
    """
    stored = _stored(connection, role)
    if stored is None:
        connection.iam("CreateRole", RoleName=role, AssumeRolePolicyDocument=json.dumps(document))
        return f"Created role {output.safe(role)}. It has no permissions until policies are attached to it."
    wanted = document if replace else added(stored, document)
    if not show(f"Trust policy of role {output.safe(role)}", stored, wanted):
        return f"Role {output.safe(role)} has this statement already; nothing was changed."
    confirmed("Change it?", yes=agreed, why=iam.WHY_TRUST)
    connection.iam("UpdateAssumeRolePolicy", RoleName=role, PolicyDocument=json.dumps(wanted))
    done = "Replaced the trust policy" if replace else "Added the statement to the trust policy"
    return f"{done} of role {output.safe(role)}."


def has_provider(connection: Connection, document: Mapping[str, Any]) -> bool:
    """Whether the account accepts tokens of the issuer that `document` trusts; True when the caller may not know."""
    provider = _statements(document)[0]["Principal"]["Federated"]
    try:
        connection.iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=provider)
    except ClientError as error:
        return error.code != "NoSuchEntity"
    return True


def added(stored: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`stored` with those statements of `document` that it lacks, at the end; `stored` itself when it has them all."""
    present = _statements(stored)
    new = [statement for statement in _statements(document) if statement not in present]
    return {**stored, "Statement": [*present, *new]} if new else stored


def _statements(document: Mapping[str, Any]) -> list[Any]:
    found = document["Statement"]
    return found if isinstance(found, list) else [found]


def _stored(connection: Connection, role: str) -> Mapping[str, Any] | None:
    """The trust policy of a role; None when there is no such role."""
    document = unless_absent(lambda: iam.trust_policy(connection, role))
    if document is None:
        return None
    try:
        _statements(document)
    except (TypeError, KeyError):
        raise ClientError("", f"the server's answer holds no trust policy for role {role}") from None
    return document
