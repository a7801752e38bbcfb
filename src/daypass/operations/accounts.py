"""Creates accounts, the first ones of a new installation: from DAYPASS_BOOTSTRAP, `serve --dev`, or in a browser (`serve --setup`).

It acts only while the database has no account, in one transaction with its event, so that two processes that start at the
same time create one installation. It must never change an existing installation.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from daypass.domain.arn import is_account_id
from daypass.domain.directory import AccessKey, Account, Attachment, InlinePolicy, KeyStatus, LoginProfile, Role, User
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.operations import heavy
from daypass.operations.iam import faults, login_profiles
from daypass.operations.management import allow_operator, read_page
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Tx

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
OWN_DAYPASS = "arn:aws:iam::aws:policy/DaypassAdministratorAccess"  # AWS's policies grant no action of Daypass
OPERATOR = "arn:aws:iam::aws:policy/DaypassOperatorAccess"  # every account's
_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")  # STS's accessKeyIdType
_ACCOUNT = re.compile(r"[0-9]{12}")
_USER = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_MAX_PASSWORD: Final = 128  # characters (IAM API, passwordType)
_LANE: Final = "set-up"  # of its reads and its heavy work


class BootstrapError(Exception):
    """The bootstrap text is not valid. The message never repeats a secret."""


@dataclass(frozen=True, slots=True)
class FirstKey:
    """One entry: a root key of `account` or, with `user`, the key of an administrator with that name."""

    key_id: str
    secret: str
    account: str
    user: str = ""

    def __repr__(self) -> str:
        return f"FirstKey({self.key_id!r}, account={self.account!r}, user={self.user!r})"


def parse(text: str) -> tuple[FirstKey, ...]:
    """Parses KEYID:SECRET:ACCOUNT[:USER][,…]. Raises BootstrapError that gives the number of the invalid entry."""
    entries = []
    for number, entry in enumerate((e.strip() for e in text.split(",")), 1):
        if not entry:
            continue
        parts = entry.split(":")
        if len(parts) not in (3, 4):
            raise BootstrapError(f"DAYPASS_BOOTSTRAP: entry {number} is not of the form KEYID:SECRET:ACCOUNT[:USER].")
        first = FirstKey(*parts)
        if not _KEY_ID.fullmatch(first.key_id):
            raise BootstrapError(f"DAYPASS_BOOTSTRAP: entry {number}: a key id is 16 to 128 letters, digits and _.")
        if not first.secret or not first.secret.isascii():
            raise BootstrapError(f"DAYPASS_BOOTSTRAP: entry {number}: the secret is empty or not ASCII.")
        if not _ACCOUNT.fullmatch(first.account):
            raise BootstrapError(f"DAYPASS_BOOTSTRAP: entry {number}: an account id is 12 digits.")
        if len(parts) == 4 and not _USER.fullmatch(first.user):  # the form above
            raise BootstrapError(f"DAYPASS_BOOTSTRAP: entry {number}: this is not a user name.")
        entries.append(first)
    ids = [e.key_id for e in entries]
    if len(set(ids)) != len(ids):
        raise BootstrapError("DAYPASS_BOOTSTRAP: a key id is given twice.")
    return tuple(entries)


async def bootstrap(env: Env, entries: tuple[FirstKey, ...], *, examples: str = "") -> bool:
    """Creates the accounts and keys if the installation has none. Returns whether it did.

    The first account becomes the operator account. The account `examples`, if among them, gets two example roles.
    """
    now = env.clock.now()
    accounts = tuple(dict.fromkeys(entry.account for entry in entries))

    def change(tx: Tx) -> tuple[bool, Event]:
        made = bool(entries) and not tx.find(Account, limit=1)
        if made:
            for account in accounts:
                tx.insert(Account(account, account, operator=account == accounts[0], created_at=now))
            for entry in entries:
                _insert_key(env, tx, entry, now)
            if examples in accounts:
                _insert_examples(env, tx, examples, now)
        detail = {"accounts": sorted(accounts), "keys": [e.key_id for e in entries], "made": made}
        return made, Event(EventType.BOOTSTRAPPED, now, account=accounts[0] if accounts else "", detail=detail)

    return await env.journal.write(change)


def _insert_key(env: Env, tx: Tx, entry: FirstKey, now: int) -> None:
    owner = entry.account
    if entry.user:
        owner = _administrator(env, tx, entry, now)
    sealed = env.sealer.seal_secret(entry.secret.encode("ascii"), entry.account, owner)
    tx.insert(AccessKey(entry.key_id, entry.account, owner, KeyStatus.ACTIVE, sealed, now, now))


def _administrator(env: Env, tx: Tx, entry: FirstKey, now: int) -> str:
    user = tx.get(User, account=entry.account, name=entry.user)
    return user.id if user is not None else _insert_administrator(env, tx, entry.account, entry.user, now)


def _insert_administrator(env: Env, tx: Tx, account_id: str, name: str, now: int) -> str:
    """The id of the new user."""
    user = User(env.ids.unique("AIDA"), account_id, name, "/", now)
    tx.insert(user)
    for policy in (ADMINISTRATOR, OWN_DAYPASS):
        tx.insert(Attachment(account_id, user.id, policy, now))
    account = tx.get(Account, id=account_id)
    if account is not None and account.operator:
        tx.insert(Attachment(account_id, user.id, OPERATOR, now))
    return user.id


# --- In a browser ----------------------------------------------------------------------------------------------------


class FirstAdministrator(NamedTuple):
    """The administrator that a person with the set-up code asks for, unverified: an account id, a user name, a password."""

    account: str
    user: str
    password: str


async def awaits_first_administrator(env: Env) -> bool:
    """Whether the installation has no account yet."""
    return await env.directory.read(lambda tx: not tx.find(Account, limit=1), account=_LANE)


async def create_first_administrator(
    env: Env, call: Call, code: str, unverified_code: str, new: FirstAdministrator
) -> None:
    """daypass:CreateFirstAdministrator: the operator account, and its administrator with a password.

    `code`: the set-up code of this installation. It works while there is no account, so it works once.

    Raises DaypassError: NOT_FOUND (there is an account, or no code), ACCESS_DENIED (another code), VALIDATION, PASSWORD_POLICY.
    """
    if not code or not await awaits_first_administrator(env):
        raise _set_up_already()
    if not hmac.compare_digest(code.encode(), unverified_code.encode("utf-8", "surrogatepass")):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED, "This is not the set-up code.", private={"reason": "wrong set-up code"}
        )
    if not _ACCOUNT.fullmatch(new.account):
        raise DaypassError(ErrorKind.VALIDATION, "An account id is 12 digits.")
    if not _USER.fullmatch(new.user):
        raise DaypassError(ErrorKind.VALIDATION, "A user name is 1 to 64 letters, digits and _+=,.@-")
    if len(new.password) > _MAX_PASSWORD or not login_profiles.conforms(new.password, None, new.account):
        raise faults.password_policy()
    hashed = await heavy.compute(env, _LANE, login_profiles.hashed, new.password, env.ids.secret())

    def change(tx: Tx) -> tuple[None, Event]:
        if tx.find(Account, limit=1):
            raise _set_up_already()
        tx.insert(Account(new.account, new.account, operator=True, created_at=call.now))
        user_id = _insert_administrator(env, tx, new.account, new.user, call.now)
        tx.insert(LoginProfile(user_id, new.account, call.now, hashed, call.now))
        detail = {"accounts": [new.account], "keys": [], "user": new.user, "made": True}
        return None, served(call, kind=EventType.BOOTSTRAPPED, account=new.account, detail=detail)

    await env.journal.write(change)


def _set_up_already() -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, "This installation is set up already.")


_TRUST_ACCOUNT = """{{
  "Version": "2012-10-17",
  "Statement": [
    {{
      "Effect": "Allow",
      "Principal": {{"AWS": "arn:aws:iam::{account}:root"}},
      "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    }}
  ]
}}"""
_READ_ORDERS = """{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "ReadOwnTeamsOrders", "Effect": "Allow", "Action": "orders:Read*", "Resource": "arn:aws:orders:::*"},
    {"Sid": "LookAround", "Effect": "Allow", "Action": ["iam:Get*", "iam:List*"], "Resource": "*"}
  ]
}"""


def _insert_examples(env: Env, tx: Tx, account: str, now: int) -> None:
    """Two roles that any principal of the account may assume if its own policies allow it."""
    trust = _TRUST_ACCOUNT.format(account=account)
    for name, description in (("reader", "Example: reads, changes nothing."), ("deployer", "Example: may do all.")):
        role = Role(env.ids.unique("AROA"), account, name, "/", now, trust, description=description)
        tx.insert(role)
        if name == "reader":
            tx.insert(InlinePolicy(account, role.id, "read", _READ_ORDERS, now))
        else:
            tx.insert(Attachment(account, role.id, ADMINISTRATOR, now))


# --- Creates and lists the installation's accounts, for principals of the operator account


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
