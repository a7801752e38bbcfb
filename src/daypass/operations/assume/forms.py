"""The forms of a session's credential. A form never changes the session.

`render` runs before the session is recorded, so that a session that does not fit its form is never recorded as issued.
`issue` returns its result only after the event is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, TypeVar

from msgspec import Struct

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionClaims
from daypass.ports import Env

C_co = TypeVar("C_co", covariant=True)


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


class AwsCredentials(Struct, frozen=True):
    """Temporary credentials. `utilization` is the size of the token in percent of the limit, rounded up."""

    access_key_id: str
    secret: str
    token: str
    utilization: int

    def __repr__(self) -> str:
        return f"AwsCredentials({self.access_key_id})"


def sealed(env: Env, session: SessionClaims, minimum_size: int = 0) -> str:
    """The sealed session, which every form contains. Raises DaypassError: PACKED_POLICY_TOO_LARGE, UNAVAILABLE."""
    token = env.sealer.seal(session, minimum_size)
    size, cap = len(token), env.limits.token_bytes
    if size > cap:
        raise DaypassError(
            ErrorKind.PACKED_POLICY_TOO_LARGE,
            f"The session token size of {size} bytes exceeds the maximum allowed size of {cap} bytes.",
        )
    return token


class AwsForm(Struct, frozen=True):
    """A sealed session token with an access key. `minimum_size`: minimum number of characters of the token."""

    minimum_size: int = 0
    listed: ClassVar[bool] = False
    record: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    async def render(self, env: Env, session: SessionClaims) -> tuple[AwsCredentials, None]:
        """Seals the session and derives its secret key."""
        token, cap = sealed(env, session, self.minimum_size), env.limits.token_bytes
        secret = await env.sealer.session_secret(session)
        return AwsCredentials(session.hops[-1].access_key_id, secret, token, -(-len(token) * 100 // cap)), None


AWS_FORM = AwsForm()
