"""The form of a session as an access token: the one place where access tokens are made.

No token is made for a resource server without its permission.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.resource_server import Binding
from daypass.domain.session import SessionClaims
from daypass.operations.assume.forms import sealed
from daypass.operations.authenticate import caller_of_session
from daypass.operations.oauth.access_token import SESSION, AccessToken, claims_of
from daypass.operations.oauth.targets import TokenTarget, check_permission
from daypass.ports import Call, Env


class JwtForm(Struct, frozen=True):
    """An access token for `target`; `jti` must be unique. `binding`: the key that its holder must prove to have.

    No token is made for a resource server without a permission: of `caller`, whose own session it is in another form, or of
    the new session.
    """

    target: TokenTarget
    jti: str
    facts: RequestFacts
    binding: Binding | None = None
    caller: Caller | None = None

    @property
    def audiences(self) -> tuple[str, ...]:
        return self.target.audiences

    @property
    def listed(self) -> bool:
        return True

    @property
    def record(self) -> Mapping[str, Any]:
        bound = {"cnf": self.binding.claim} if self.binding is not None else {}
        return {"form": "access_token", "jti": self.jti, "audience": self.audiences, **bound}

    async def prepare(self, env: Env, session: SessionClaims) -> Callable[[], AccessToken]:
        """Seals the session and makes the claims. Only their signature is left.

        Also raises ACCESS_DENIED without the permission, INVALID_TARGET for audiences with different algorithms.
        """
        server, now = env.oauth, env.clock.now()
        if self.target.servers:
            caller = self.caller or await caller_of_session(env, session, now)
            await check_permission(env, Call(caller, self.facts, now), self.target, session.client_id)
        if session.binding or session.principal_id == session.account:
            raise DaypassError(ErrorKind.INVALID_TARGET, "This kind of session gets no access tokens.")
        try:
            algorithm = server.algorithm_for(self.audiences, self.target.algorithms)
        except ValueError as error:
            raise DaypassError(ErrorKind.INVALID_TARGET, f"No token can be issued: {error}.") from None
        claims = claims_of(server, session, self.audiences, self.jti, now)
        if self.target.servers:
            claims[SESSION]["resource_servers"] = [each.arn for each in self.target.servers]
        claims[SESSION]["sealed"] = sealed(env, session)
        if (reference := env.statuses.reference(session.status_index)) is not None:
            uri, place = reference
            claims["status"] = {"status_list": {"idx": place, "uri": uri}}
        if self.binding is not None:
            claims["cnf"] = self.binding.claim
        sign, scope = server.signer.unsigned(claims, algorithm), session.scopes or ()
        return lambda: AccessToken(self.audiences, scope, session.expires_at, self.binding, sign())
