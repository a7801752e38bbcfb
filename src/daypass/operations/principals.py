"""Principals by id, ARN or alias, the groups of a user, compiled policy documents cached by their content, and polls of the
change feed before a refusal.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Generic, TypeVar

from daypass.domain.arn import is_account_id, read_arn, root_arn
from daypass.domain.directory import AccountAlias, Group, Membership, Role, User
from daypass.domain.errors import ErrorKind, ignored
from daypass.domain.jws import text_digest
from daypass.domain.policy.document import PolicyDocument, PolicyKind, compile_stored
from daypass.ports import Env, Reader

T = TypeVar("T")
V = TypeVar("V")


class SizedCache(Generic[V]):
    """Calls `make` once per text while the result is cached.

    Threads may share it; two threads that miss the same text at the same time both compute it. A compiled policy takes
    up to twenty times the memory of its text. Exceptions from `make` are not cached.

    Args:
        make: computes the value of a text.
        characters: maximum characters of all texts together; the least recently used are removed first. A text longer
            than a sixteenth of that is not cached, so that one caller cannot empty the cache with a few requests.
    """

    def __init__(self, make: Callable[[str], V], characters: int) -> None:
        self._make = make
        self._limit = characters
        self._size = 0
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def characters(self) -> int:
        """The characters of all cached texts."""
        return self._size

    def __call__(self, text: str) -> V:
        with self._lock:
            value = self._values.get(text)
            if value is not None:
                self._values.move_to_end(text)
                return value[0]
        made = self._make(text)
        self.add(text, made)
        return made

    def __contains__(self, text: str) -> bool:
        return text in self._values

    def add(self, text: str, made: V) -> None:
        """Caches a value that was computed elsewhere."""
        if len(text) * 16 > self._limit:
            return
        with self._lock:
            if text not in self._values:
                self._size += len(text)
            self._values[text] = (made,)
            while self._size > self._limit:
                oldest, _ = self._values.popitem(last=False)
                self._size -= len(oldest)


# --- Users and roles, found by unique id or ARN, the groups of a user, and accounts by alias


U = TypeVar("U", User, Role)


def find_by_id(tx: Reader, unique_id: str) -> User | Role | None:
    """The user or role with this unique id. It is None for the ids of other principals too."""
    return tx.get(Role, id=unique_id) if unique_id.startswith("AROA") else tx.get(User, id=unique_id)


def find_by_arn(tx: Reader, kind: type[U], arn: str) -> U | None:
    """The user or role with exactly this ARN."""
    parsed = read_arn(arn)
    if parsed is None:
        return None
    principal = tx.get(kind, account=parsed.account, name=parsed.name)
    return principal if principal is not None and principal.arn == arn else None


def account_by_alias(tx: Reader, text: str) -> str:
    """The id of the account that an id or alias names; "" for an unknown alias."""
    if is_account_id(text):
        return text
    alias = tx.get(AccountAlias, alias=text)
    return alias.account if alias is not None else ""


def groups_of(tx: Reader, user_id: str) -> list[Group]:
    """The groups of a user. The quota keeps their number small."""
    memberships = tx.find(Membership, user_id=user_id, order="group_id")
    return [group for each in memberships if (group := tx.get(Group, id=each.group_id)) is not None]


def arn_of_principal(tx: Reader, principal_id: str) -> str:
    """The ARN of a principal of `session.Hop`; "" when it has been deleted."""
    if principal_id.startswith(("AIDA", "AROA")):
        entity = find_by_id(tx, principal_id)
        return entity.arn if entity is not None else ""
    if principal_id.startswith("arn:"):
        return principal_id
    return root_arn(principal_id) if principal_id.isdigit() else ""


def principal_behind(tx: Reader, principal_id: str, arn: str) -> str:
    """The ARN of the principal whose session `arn` is, for people to read; "" when it is `arn` itself.

    A person chooses the name of a session, and could choose that of somebody else (attack A290).
    """
    found = arn_of_principal(tx, principal_id) or principal_id
    return found if found != arn else ""


def subject_id(account: str, principal_id: str) -> str:
    """The `sub` of a person in tokens: the unique id of a user, a digest of the principal of a provider."""
    return principal_id if not principal_id.startswith("arn:") else text_digest(f"{account}\0{principal_id}")


# --- Stored policy documents, compiled and cached by their content


_COMPILED: Final = {kind: SizedCache(partial(compile_stored, kind=kind), 2_000_000) for kind in PolicyKind}


def compiled(text: str, kind: PolicyKind) -> PolicyDocument:
    """A stored document, by its content."""
    return _COMPILED[kind](text)


# --- The cached directory, when it may be stale


async def refresh_if_changed(env: Env) -> bool:
    """Polls the change feed before a refusal. While the database is unavailable, the cached state is used."""
    with ignored(ErrorKind.UNAVAILABLE):
        return await env.directory.refresh()
    return False


async def find_current(env: Env, find: Callable[[], Awaitable[T | None]]) -> T | None:
    """Looks up by `find` in the cached directory, and if nothing is found again after a poll: a stale cache refuses nothing."""
    found = await find()
    if found is None and await refresh_if_changed(env):
        found = await find()
    return found
