"""The first accounts and keys of a new installation, from DAYPASS_BOOTSTRAP or `serve --dev`.

It acts only while there is no account at all, in one transaction with its event, so that two processes that start at
once make one installation. It must never change an installation that exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from daypass.domain.directory import AccessKey, Account, Attachment, InlinePolicy, KeyStatus, Role, User
from daypass.domain.events import Event, EventType
from daypass.ports import Env, Tx

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")  # STS's accessKeyIdType
_ACCOUNT = re.compile(r"[0-9]{12}")
_USER = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")


class BootstrapError(Exception):
    """The bootstrap text is not usable. The message never repeats a secret."""


@dataclass(frozen=True, slots=True)
class FirstKey:
    """One entry: a root key of `account`, or with `user` the key of an administrator of that name."""

    key_id: str
    secret: str
    account: str
    user: str = ""

    def __repr__(self) -> str:
        return f"FirstKey({self.key_id!r}, account={self.account!r}, user={self.user!r})"


def parse(text: str) -> tuple[FirstKey, ...]:
    """KEYID:SECRET:ACCOUNT[:USER][,…]. Raises BootstrapError that names the entry by number."""
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
        raise BootstrapError("DAYPASS_BOOTSTRAP: a key id is there twice.")
    return tuple(entries)


async def bootstrap(env: Env, entries: tuple[FirstKey, ...], *, examples: bool = False) -> bool:
    """Makes the accounts and keys if the installation has none; True when it did.

    The first account becomes the operator's. With `examples`, the first account also gets two roles to try.
    """
    now = env.clock.now()

    def change(tx: Tx) -> tuple[bool, Event]:
        made = bool(entries) and not tx.find(Account, limit=1)
        if made:
            for account in dict.fromkeys(e.account for e in entries):
                tx.insert(Account(account, account, operator=account == entries[0].account, created_at=now))
            for entry in entries:
                _insert_key(env, tx, entry, now)
            if examples:
                _insert_examples(env, tx, entries[0], now)
        detail = {"accounts": sorted({e.account for e in entries}), "keys": [e.key_id for e in entries], "made": made}
        return made, Event(EventType.BOOTSTRAPPED, now, account=entries[0].account if entries else "", detail=detail)

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


def _insert_examples(env: Env, tx: Tx, first: FirstKey, now: int) -> None:
    """Two roles that everyone in the account may assume whose own policies say so."""
    trust = _TRUST_ACCOUNT.format(account=first.account)
    for name, description in (("reader", "Example: reads, changes nothing."), ("deployer", "Example: may do all.")):
        role = Role(env.ids.unique("AROA"), first.account, name, "/", now, trust, description=description)
        tx.insert(role)
        if name == "reader":
            tx.insert(InlinePolicy(first.account, role.id, "read", _READ_ORDERS, now))
        else:
            tx.insert(Attachment(first.account, role.id, ADMINISTRATOR, now))
