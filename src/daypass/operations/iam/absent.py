"""Lists of credential types that Daypass does not have: SSH keys, certificates and service-specific passwords.

Tools list them before they delete a user, and continue when the lists are empty. The operations that create such
credentials are not supported.
"""

from __future__ import annotations

from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import find
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.paging import page_of


def list_of_user(members: str, ctx: ReadContext, p: Params) -> Answer:
    """The empty list, as the answer's member `members`, for a user that must exist; by default the caller."""
    if not p.get("AllUsers"):
        find.user_or_caller(ctx, p)
    return list_of_account(members, ctx, p)


def list_of_account(members: str, _ctx: ReadContext, p: Params) -> Answer:
    shown, more = page_of(p, members, (), str)
    return {members: shown, **more}
