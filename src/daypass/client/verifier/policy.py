"""Decides after verification whether the sender of a token may do something: by the account's policies, here, or at the server.

The policies come as a signed bundle that is updated as they change. A bundle of another issuer, account or service, an altered
one, and an older one than the last are refused. The server decides what a
bundle cannot (conditions on time or network, other accounts), by AuthZEN.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError
from daypass.client.transport import NoAnswer
from daypass.client.verifier.keys import Malformed, split
from daypass.client.verifier.verify import CURRENT, NotCurrent, Verified, Verifier
from daypass.domain.policy.partial_evaluation import PartialOutcome
from daypass.domain.policy_bundle import BUCKETS, READ_SIGNED, TYPE, PolicySet, SignedContent

_LOG: Final = logging.getLogger("daypass.verifier")
_MAX_SIGNED: Final = 262_144
_PATH: Final = "/access/policy-bundle"
_TURN_SECONDS: Final = 0.5
_REFRESH: Final = 3  # times in `limit_seconds`


class RefusedBundle(ValueError):
    """The bundle is not genuine, of another issuer, account or service, or older than the one before."""


class Policies:
    """Decides for one service, the prefix of its actions. `start` keeps the bundle current in the background.

    Without `start`, or with a bundle that is older than `limit_seconds`, the server is asked each time.
    """

    def __init__(self, verifier: Verifier, service: str, *, limit_seconds: float = 30.0) -> None:
        self._verifier = verifier
        self._service = service
        self._limit = limit_seconds
        self._set: PolicySet | None = None
        self._confirmed = float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="daypass-policies", daemon=True)

    def start(self) -> Policies:
        """Starts the thread, and returns this."""
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def allows(self, verified: Verified, action: str, resource: str) -> bool:
        """Whether the policies of the token allow it. `resource`: an ARN, or what stands behind `arn:aws:SERVICE::ACCOUNT:`.

        Raises NotCurrent when neither a current bundle nor the server decides.
        """
        if not resource.startswith("arn:"):
            resource = f"arn:aws:{self._service}::{verified.session['account']}:{resource}"
        held = self._set
        if held is not None and self._verifier.monotonic() - self._confirmed <= self._limit:
            outcome = held.outcome(verified.claims, action, resource)
            if outcome is not PartialOutcome.ALLOWED_IF:
                return outcome is PartialOutcome.ALLOWED
        return self._ask(verified, action, resource)

    def _ask(self, verified: Verified, action: str, resource: str) -> bool:
        audience = {"audience": self._verifier.settings.audience}
        body = {
            "subject": {"type": "access_token", "id": verified.token, "properties": audience},
            "action": {"name": action},
            "resource": {"type": self._service, "id": resource},
        }
        try:
            answer = self._connection().api("POST", "/access/v1/evaluation", body=body, root="")
        except (NoAnswer, ClientError, LocalStateError, ValueError) as error:
            raise NotCurrent(f"the server cannot decide: {error}") from None
        return isinstance(answer, Mapping) and answer.get("decision") is True

    def _connection(self) -> Connection:
        return Connection(self._verifier.settings.current_profile(), deadline=5.0)

    # --- The bundle

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._is_due():
                    self.update()
            except Exception as error:  # noqa: BLE001  # without this thread the bundle would become too old for ever
                _LOG.warning("The policy bundle cannot be updated: %s: %s", type(error).__name__, error)
            self._stopping.wait(_TURN_SECONDS)

    def _is_due(self) -> bool:
        if self._set is None or self._verifier.monotonic() - self._confirmed > self._limit / _REFRESH:
            return True
        signed = self._set.signed
        return self._verifier.revocations.position not in (("", 0), (signed.epoch, signed.position))

    def update(self) -> None:
        """Fetches what has changed. Raises RefusedBundle, and what `Connection.api` raises."""
        asked_at = self._verifier.monotonic()
        held = self._set
        known = "" if held is None else "".join(digest[:8] for digest in held.signed.digests)
        answer = self._connection().api("GET", _PATH, {"service": self._service, "known": known})
        self.accept(answer, asked_at)

    def accept(self, unverified: Mapping[str, Any], at: float) -> None:
        """Takes an answer of the server, which was asked `at`. Raises RefusedBundle."""
        held = self._set
        try:
            signed = self._signed(str(unverified["signed"]))
            self._check(signed, held)
            buckets = list(held.buckets) if held is not None else [""] * BUCKETS
            for number, text in unverified["buckets"].items():
                buckets[int(number)] = text
            texts = {**(held.texts if held is not None else {}), **unverified["policies"]}
            same = held is not None and held.signed.digests == signed.digests
            if held is None or not same or held.signed.guardrails != signed.guardrails:
                self._set = PolicySet(signed, buckets, texts)
            else:
                held.signed = signed
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise RefusedBundle(str(error)) from None
        self._confirmed = at

    def _signed(self, unverified_text: str) -> SignedContent:
        try:
            token = split(unverified_text, TYPE, _MAX_SIGNED)
            self._verifier.keys.verify(token)
        except Malformed as error:
            raise RefusedBundle(str(error)) from None
        return READ_SIGNED.decode(msgspec.json.encode(token.claims))

    def _check(self, signed: SignedContent, held: PolicySet | None) -> None:
        if signed.iss != self._verifier.issuer or signed.service != self._service:
            raise RefusedBundle(f"it is of another issuer or service than {self._verifier.issuer}, {self._service}")
        served = self._verifier.revocations.accounts
        if signed.account not in (served or (signed.account,)) and "*" not in served:
            raise RefusedBundle("it is of another account")
        if held is None:
            return
        last = held.signed
        older = signed.epoch == last.epoch and signed.position < last.position
        if signed.account != last.account or signed.iat < last.iat or older:
            raise RefusedBundle("it is of another account, or older than the one before")


class Guard:
    """Makes decorators for the functions of a web framework.

    `refuse`: called with 401, 403 or 503; it raises the framework's error, or returns its response.
    """

    def __init__(self, policies: Policies, refuse: Callable[[int], Any]) -> None:
        self._policies = policies
        self._refuse = refuse

    def requires(self, action: str, resource: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """The function runs only if the policies of the request's token allow `action` on `resource`, which may have the names
        of keyword arguments in braces: `order/{id}`. The middleware of the verifier must run before.
        """

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            if inspect.iscoroutinefunction(function):

                @functools.wraps(function)
                async def later(*args: Any, **kwargs: Any) -> Any:
                    status = await asyncio.to_thread(self._status, action, resource, kwargs)
                    return self._refuse(status) if status else await function(*args, **kwargs)

                return later

            @functools.wraps(function)
            def now(*args: Any, **kwargs: Any) -> Any:
                status = self._status(action, resource, kwargs)
                return self._refuse(status) if status else function(*args, **kwargs)

            return now

        return decorate

    def dependency(self, action: str, resource: str) -> Callable[..., Any]:
        """For FastAPI's `Depends`: as `requires`, with the parameters of the path. Its value is the verified token. `refuse`
        must raise.
        """
        from starlette.requests import Request  # FastAPI has it

        async def check(request: Any) -> Any:
            status = await asyncio.to_thread(self._status, action, resource, request.path_params)
            if status:
                self._refuse(status)
                raise PermissionError(f"{action} is refused")
            return CURRENT.get()

        check.__annotations__["request"] = Request  # FastAPI finds its argument by it
        return check

    def _status(self, action: str, resource: str, named: Mapping[str, Any]) -> int:
        """0 if it is allowed."""
        verified = CURRENT.get()
        if verified is None:
            return 401
        try:
            return 0 if self._policies.allows(verified, action, resource.format_map(named)) else 403
        except NotCurrent:
            return 503
