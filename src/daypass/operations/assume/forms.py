"""The forms of a session's credential. A form never changes the session.

`render` runs before the session is recorded, so that a session that does not fit its form is never recorded as issued.
`issue` returns its result only after the event is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from msgspec import Struct

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionClaims
from daypass.ports import Env

C_co = TypeVar("C_co", covariant=True)
T = TypeVar("T")


class Form(Protocol[C_co]):
    """How a wire returns a session: as AWS credentials or as an access token.

    `record`: what the session's event says about the form. `listed`: whether the session gets a status index, because
    the credential refers to a status list.
    """

    @property
    def listed(self) -> bool: ...

    @property
    def record(self) -> Mapping[str, Any]: ...

    async def render(self, env: Env, session: SessionClaims) -> tuple[C_co, Callable[[], object] | None]:
        """The credential, and work on it for the time in which its session is recorded (`Journal.commit`).

        Raises DaypassError: PACKED_POLICY_TOO_LARGE when it does not fit, UNAVAILABLE. The work raises nothing.
        """
        ...


class Deferred(Generic[T]):
    """A value that is made by its first use, or by `make` in the time in which its session is recorded."""

    __slots__ = ("_function", "_value")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function: Callable[[], T] | None = function
        self._value: T

    def make(self) -> T:
        """The value."""
        function = self._function
        if function is not None:
            self._value, self._function = function(), None
        return self._value


class AwsCredentials(Struct, frozen=True):
    """Temporary credentials. `size` is the number of characters of the token, `utilization` the same in percent of the limit,
    rounded up.
    """

    access_key_id: str
    size: int
    utilization: int
    made: Deferred[tuple[str, str]]

    def __repr__(self) -> str:
        return f"AwsCredentials({self.access_key_id})"

    @property
    def token(self) -> str:
        """The sealed session."""
        return self.made.make()[0]

    @property
    def secret(self) -> str:
        """The secret access key."""
        return self.made.make()[1]


def unsealed(env: Env, session: SessionClaims, minimum_size: int = 0) -> tuple[int, Callable[[], str]]:
    """The session that every form contains: its size, and the function that seals it. Raises DaypassError:
    PACKED_POLICY_TOO_LARGE, UNAVAILABLE.
    """
    size, seal = env.sealer.unsealed(session, minimum_size)
    cap = env.limits.token_bytes
    if size > cap:
        raise DaypassError(
            ErrorKind.PACKED_POLICY_TOO_LARGE,
            f"The session token size of {size} bytes exceeds the maximum allowed size of {cap} bytes.",
        )
    return size, seal


def sealed(env: Env, session: SessionClaims) -> str:
    """The sealed session. Raises what `unsealed` raises."""
    return unsealed(env, session)[1]()


class AwsForm(Struct, frozen=True):
    """A sealed session token with an access key. `minimum_size`: minimum number of characters of the token."""

    minimum_size: int = 0
    listed: ClassVar[bool] = False
    record: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    async def render(self, env: Env, session: SessionClaims) -> tuple[AwsCredentials, Callable[[], tuple[str, str]]]:
        """Finds the keys. What is left is to seal the session and to derive its secret key."""
        size, seal = unsealed(env, session, self.minimum_size)
        derive = await env.sealer.underived(session)
        made = Deferred(lambda: (seal(), derive()))
        utilization = -(-size * 100 // env.limits.token_bytes)
        return AwsCredentials(session.hops[-1].access_key_id, size, utilization, made), made.make


class AnswerForm(Struct, Generic[T], frozen=True):
    """What a wire makes of AWS credentials, as a rule the body of its answer: it is made while the session is recorded."""

    credentials: AwsForm
    answer: Callable[[SessionClaims, AwsCredentials], T]
    listed: ClassVar[bool] = False
    record: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    async def render(self, env: Env, session: SessionClaims) -> tuple[Deferred[T], Callable[[], T]]:
        """Prepares the credentials. The work that is left includes the answer."""
        credentials, _ = await self.credentials.render(env, session)
        made = Deferred(partial(self.answer, session, credentials))
        return made, made.make


AWS_FORM = AwsForm()
