"""Lists of credentials that nobody has here: SSH keys, certificates and passwords of single services.

Tools that delete a user ask for them first, and go on when there are none. Nothing makes such credentials: the operations
that would are not supported.
"""

from __future__ import annotations

from daypass.operations.iam import find
from daypass.operations.iam.paging import page_of
from daypass.operations.iam.work import Answer, Look, Params


def list_of_user(members: str, look: Look, p: Params) -> Answer:
    """The empty list, under the answer's member `members`, of a user who must exist; by default of the caller."""
    if not p.get("AllUsers"):
        find.user_or_caller(look, p)
    return list_of_account(members, look, p)


def list_of_account(members: str, _look: Look, p: Params) -> Answer:
    shown, more = page_of(p, members, (), str)
    return {members: shown, **more}
