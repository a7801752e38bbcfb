"""The account's alias: at most one, unique in the installation. A new alias replaces the old one.

Source: IAM API Reference, CreateAccountAlias. The replacement is observed behaviour of AWS.
"""

from __future__ import annotations

from daypass.domain.directory import AccountAlias
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import changes, faults
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import page_of


def create_account_alias(ctx: WriteContext, p: Params) -> Answer:
    alias = AccountAlias(p["AccountAlias"], ctx.account, ctx.now)
    taken = faults.already_exists(f"The account alias {alias.alias} already exists.")
    if ctx.tx.get(AccountAlias, alias=alias.alias) is not None:
        raise taken
    former = ctx.tx.get(AccountAlias, account=ctx.account)
    if former is not None:
        ctx.tx.delete(former)
    changes.insert(ctx, alias, taken)
    return {}


def list_account_aliases(ctx: ReadContext, p: Params) -> Answer:
    account_aliases = ctx.tx.find(AccountAlias, account=ctx.account)
    shown, more = page_of(p, "account-aliases", [alias.alias for alias in account_aliases], str)
    return {"AccountAliases": shown, **more}


def delete_account_alias(ctx: WriteContext, p: Params) -> Answer:
    """The request must name the account's current alias."""
    account_alias = ctx.tx.get(AccountAlias, account=ctx.account)
    if account_alias is None or account_alias.alias != p["AccountAlias"]:
        raise faults.not_found(f"The account alias {p['AccountAlias']} cannot be found.")
    ctx.tx.delete(account_alias)
    return {}
