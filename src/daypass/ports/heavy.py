"""Long-running work: where it runs, and what it may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from daypass.data import BuiltinPolicies
from daypass.ports.basics import Ids
from daypass.ports.directory import Reader
from daypass.ports.saml import SamlMetadata

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scene:
    """The inputs of heavy work: one snapshot of the database, and constant data."""

    tx: Reader
    ids: Ids
    builtin: BuiltinPolicies  # as `Env.builtin`
    saml_metadata: SamlMetadata


class HeavyWork(Protocol):
    """Runs functions in other processes, fair by account. Unfinished work is abandoned when the caller is cancelled.

    `work` is a function of a module, its arguments and result are values that can be pickled. Both raise the
    DaypassError of `work`, and also THROTTLED (the account has too many entries in the queue) and UNAVAILABLE. `quick`
    work takes some milliseconds and has its own process, so that it never waits for work that takes seconds.
    """

    async def read(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """`work(scene, *args)`."""
        ...

    async def compute(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """`work(*args)`, without a database."""
        ...
