"""The forms of a session's credential. A form never changes the session.

`prepare` runs before the session is recorded, so that a session that does not fit its form is never recorded as issued.
The function that it returns runs while the session is recorded, and `issue` returns the credential only after the event
is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from msgspec import Struct

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import IDENTITY_ONLY, SessionClaims
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

    async def prepare(self, env: Env, session: SessionClaims) -> Callable[[], C_co]:
        """The function that makes the credential. It raises nothing.

        Raises DaypassError: PACKED_POLICY_TOO_LARGE when the session does not fit, UNAVAILABLE.
        """
        ...


class Deferred(Generic[T]):
    """A value that `make` makes once: in the time in which its session is recorded, or else afterwards."""

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
    """Temporary credentials. `token` is the sealed session, `utilization` its size in percent of the limit, rounded up."""

    access_key_id: str
    secret: str
    token: str
    utilization: int

    def __repr__(self) -> str:
        return f"AwsCredentials({self.access_key_id})"


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

    async def prepare(self, env: Env, session: SessionClaims) -> Callable[[], AwsCredentials]:
        """Finds the keys. Sealing the session and deriving its secret key are left.

        Also raises ACCESS_DENIED for a session that only says who a person is.
        """
        if IDENTITY_ONLY in session.policies:
            public = "This session only says who the person is: it has no AWS credentials."
            raise DaypassError(ErrorKind.ACCESS_DENIED, public, private={"session_id": session.session_id})
        size, seal = unsealed(env, session, self.minimum_size)
        derive = await env.sealer.underived(session)
        utilization = -(-size * 100 // env.limits.token_bytes)
        return lambda: AwsCredentials(session.hops[-1].access_key_id, derive(), seal(), utilization)


class AnswerForm(Struct, Generic[T], frozen=True):
    """A wire's rendering of AWS credentials, usually the body of its answer, made while the session is recorded."""

    credentials: AwsForm
    answer: Callable[[SessionClaims, AwsCredentials], T]
    listed: ClassVar[bool] = False
    record: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    async def prepare(self, env: Env, session: SessionClaims) -> Callable[[], T]:
        """Prepares the credentials. The work that is left includes the answer."""
        make = await self.credentials.prepare(env, session)
        return lambda: self.answer(session, make())


AWS_FORM = AwsForm()
