"""Creates and lists the installation's accounts, for principals of the operator account.

A new account is empty except for a root key if one was requested. Only the response contains the key's secret.
"""

from __future__ import annotations

from typing import NamedTuple

from daypass.domain.arn import is_account_id
from daypass.domain.directory import AccessKey, Account, KeyStatus
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.operations.management import allow_operator, read_page
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Tx

_ATTEMPTS = 8  # attempts to find a free number of twelve digits
_MAX_NAME = 50


class NewAccount(NamedTuple):
    """A new account. Key id and secret are "" when no root key was requested."""

    account: Account
    access_key_id: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"NewAccount({self.account.id}, access_key_id={self.access_key_id!r})"


async def create_account(
    env: Env, call: Call, name: str, account_id: str = "", *, root_key: bool = False
) -> NewAccount:
    """daypass:CreateAccount, with organizations:CreateAccount. Chooses a free id when `account_id` is empty.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, ALREADY_EXISTS.
    """
    decision = await allow_operator(env, call, "CreateAccount", "account", account_id or "*")
    if account_id and not is_account_id(account_id):
        raise DaypassError(ErrorKind.VALIDATION, "An account id is 12 digits.")
    if not 1 <= len(name) <= _MAX_NAME or not name.isprintable() or name != name.strip():
        raise DaypassError(ErrorKind.VALIDATION, f"An account's name is 1 to {_MAX_NAME} printable characters.")
    for _ in range(1 if account_id else _ATTEMPTS):
        made = _draft(env, call, name, account_id or _number(env), root_key=root_key)

        def change(tx: Tx, made: NewAccount = made) -> tuple[NewAccount, Event]:
            _insert(env, tx, made, call.now)
            detail = {"account": made.account.id, "name": name, "root_key": made.access_key_id}
            kind = EventType.ACCOUNT_CREATED
            return made, served(call, kind=kind, account=made.account.id, decision=decision, detail=detail)

        with ignored(ErrorKind.ALREADY_EXISTS):
            return await env.journal.write(change, account=call.caller.account)
    raise DaypassError(ErrorKind.ALREADY_EXISTS, "There is an account of this id already.")


async def list_accounts(env: Env, call: Call, after: str = "", limit: int = 100) -> tuple[list[Account], str]:
    """daypass:ListAccounts. Accounts after `after`, by id, and the `after` of the next page, "" at the end."""
    decision = await allow_operator(env, call, "ListAccounts", "account", "*")
    page = await env.directory.read(lambda tx: read_page(tx, Account, "id", after, limit), account=call.caller.account)
    await env.journal.commit(served(call, decision=decision, detail={"after": after, "limit": limit}))
    return page


def _number(env: Env) -> str:
    return f"{int(env.ids.session(), 16) % 10**12:012d}"


def _draft(env: Env, call: Call, name: str, account_id: str, *, root_key: bool) -> NewAccount:
    account = Account(account_id, name, operator=False, created_at=call.now)
    if not root_key:
        return NewAccount(account)
    return NewAccount(account, env.ids.access_key("AKIA"), env.ids.secret())


def _insert(env: Env, tx: Tx, new_account: NewAccount, now: int) -> None:
    account = new_account.account.id
    tx.insert(new_account.account)
    if new_account.access_key_id:
        sealed = env.sealer.seal_secret(new_account.secret.encode("ascii"), account, account)
        tx.insert(AccessKey(new_account.access_key_id, account, account, KeyStatus.ACTIVE, sealed, now, now))
