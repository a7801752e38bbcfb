"""Creates the first accounts and keys of a new installation, from DAYPASS_BOOTSTRAP or `serve --dev`.

It acts only while the database has no account, in one transaction with its event, so that two processes that start at the
same time create one installation. It must never change an existing installation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from daypass.domain.directory import AccessKey, Account, Attachment, InlinePolicy, KeyStatus, Role, User
from daypass.domain.events import Event, EventType
from daypass.ports import Env, Tx

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
OPERATOR = "arn:aws:iam::aws:policy/DaypassOperatorAccess"  # on other accounts, where ADMINISTRATOR has no effect
_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")  # STS's accessKeyIdType
_ACCOUNT = re.compile(r"[0-9]{12}")
_USER = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")


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
    found = tx.get(User, account=entry.account, name=entry.user)
    if found is not None:
        return found.id
    user = User(env.ids.unique("AIDA"), entry.account, entry.user, "/", now)
    tx.insert(user)
    tx.insert(Attachment(entry.account, user.id, ADMINISTRATOR, now))
    account = tx.get(Account, id=entry.account)
    if account is not None and account.operator:
        tx.insert(Attachment(entry.account, user.id, OPERATOR, now))
    return user.id


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
