"""The account's alias: at most one, and nobody else's. A new one takes the place of the old.

Source: IAM API Reference, CreateAccountAlias; that it replaces is how the service behaves.
"""

from __future__ import annotations

from daypass.domain.directory import AccountAlias
from daypass.operations.iam import changes, faults
from daypass.operations.iam.paging import page_of
from daypass.operations.iam.work import Answer, Look, Params, Work


def create_account_alias(work: Work, p: Params) -> Answer:
    alias = AccountAlias(p["AccountAlias"], work.account, work.now)
    taken = faults.alias_exists(alias.alias)
    if work.tx.get(AccountAlias, alias=alias.alias) is not None:
        raise taken
    former = work.tx.get(AccountAlias, account=work.account)
    if former is not None:
        work.tx.delete(former)
    changes.insert(work, alias, taken)
    return {}


def list_account_aliases(look: Look, p: Params) -> Answer:
    found = look.tx.find(AccountAlias, account=look.account)
    shown, more = page_of(p, "account-aliases", [alias.alias for alias in found], str)
    return {"AccountAliases": shown, **more}


def delete_account_alias(work: Work, p: Params) -> Answer:
    """The one that the account has must be named."""
    found = work.tx.get(AccountAlias, account=work.account)
    if found is None or found.alias != p["AccountAlias"]:
        raise faults.no_such_alias(p["AccountAlias"])
    work.tx.delete(found)
    return {}
