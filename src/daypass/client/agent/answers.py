"""The agent's answers: container credentials, instance metadata (IMDSv2), its Unix socket, health and metrics.

Sources: AWS SDKs and Tools Reference Guide, "Container credential provider" and "IMDS credential provider"; Amazon EC2 User
Guide, "Use the Instance Metadata Service". It never answers a caller that has not proved its right to a role. IMDSv1 is not served.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from daypass.client import state
from daypass.client.agent.config import AgentRole, uid_of
from daypass.client.agent.endpoints import Endpoints
from daypass.client.agent.keeper import Keeper
from daypass.client.agent.listener import AgentRequest, Answer, Reply, as_json, refused, uid_of_peer
from daypass.client.agent.sealed import Sealed
from daypass.client.credentials import Credentials

_FIRST_SECONDS = 1.5  # that a request waits for the first session of a role: SDKs wait for one or two
_TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_HEADER = "x-aws-ec2-metadata-token"
_LONGEST_TTL = 21_600
_CREDENTIALS = "/latest/meta-data/iam/security-credentials/"
_NOBODY = "You may not have this role."


def container_form(credentials: Credentials) -> dict[str, str]:
    """A session as container credential providers read it."""
    return {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": credentials.expiration_text(),
    }


def counted(name: str, answer: Answer, seen: Counter[tuple[str, int]]) -> Answer:
    """The same answers, counted by listener and status."""

    async def count(asked: AgentRequest) -> Reply:
        reply = await answer(asked)
        seen[name, reply.status] += 1
        return reply

    return count


async def _session(keeper: Keeper) -> Credentials | Reply:
    """The session of a role, or why there is none."""
    held = keeper.held
    if held is None and not keeper.attempted.is_set():
        await asyncio.to_thread(keeper.attempted.wait, _FIRST_SECONDS)
        held = keeper.held
    return held or refused(503, f"The role has no session: {keeper.why or 'the server has not answered yet'}")


def users_of(role: AgentRole) -> frozenset[int]:
    """The ids of the users who may have a role."""
    return frozenset({uid_of(user) for user in role.users})


class Users:
    """Which user may have which role over a Unix socket. The agent's own user and root may have every role."""

    def __init__(self, keepers: Mapping[str, Keeper]) -> None:
        self._users = {name: users_of(keeper.role) for name, keeper in keepers.items()}

    def roles_of(self, uid: int) -> list[str]:
        return [name for name, users in self._users.items() if is_whole(uid) or uid in users]


def is_whole(uid: int) -> bool:
    """Whether a user may have and see everything."""
    return uid in (0, os.geteuid())


class ContainerEndpoint:
    """`AWS_CONTAINER_CREDENTIALS_FULL_URI`: each role at /roles/NAME, for the holder of its authorization token."""

    def __init__(
        self, keepers: Mapping[str, Keeper], tokens: Mapping[str, str], open_: Mapping[str, Callable[[], Reply]]
    ) -> None:
        """`tokens`: the authorization token of each role that has one. `open_`: paths that answer anyone."""
        self._keepers, self._tokens, self._open = keepers, tokens, open_

    async def __call__(self, asked: AgentRequest) -> Reply:
        if asked.path in self._open:
            return self._open[asked.path]()
        name = asked.path.removeprefix("/roles/")
        expected = self._tokens.get(name, "")
        given = asked.headers.get("authorization", "")
        if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
            return refused(401, "The authorization token is not that of this role.")
        found = await _session(self._keepers[name])
        return found if isinstance(found, Reply) else as_json(container_form(found))


class SocketEndpoint:
    """The Unix socket: the kernel says who asks."""

    def __init__(self, keepers: Mapping[str, Keeper], status: Callable[[], dict[str, Any]]) -> None:
        self._keepers, self._status, self._users = keepers, status, Users(keepers)

    async def __call__(self, asked: AgentRequest) -> Reply:
        allowed = self._users.roles_of(asked.uid)
        if asked.path == "/status":
            roles = [self._keepers[name].report() for name in allowed]
            return as_json({"roles": roles, **(self._status() if is_whole(asked.uid) else {})})
        name = asked.path.removeprefix("/roles/")
        if name not in allowed:
            return refused(403, _NOBODY)
        found = await _session(self._keepers[name])
        return found if isinstance(found, Reply) else as_json(container_form(found))


class MetadataEndpoint:
    """The instance metadata of one role. A token is proof of the PUT that gave it, by the same user."""

    def __init__(self, keeper: Keeper, region: str, clock: Callable[[], float] = time.time) -> None:
        self._keeper, self._users, self._region, self._clock = keeper, users_of(keeper.role), region, clock
        self._key = secrets.token_bytes(32)

    async def __call__(self, asked: AgentRequest) -> Reply:
        uid = uid_of_peer(asked.peer, asked.local) if self._users else -1
        if self._users and uid not in self._users:
            return refused(403, _NOBODY)
        if asked.path == "/latest/api/token":
            return self._token(asked, uid) if asked.method == "PUT" else refused(403, "A token is asked for by PUT.")
        if asked.method != "GET" or not self._is_valid(asked.headers.get(_TOKEN_HEADER, ""), uid):
            return refused(401, "The request needs a token of PUT /latest/api/token (IMDSv2).")
        return await self._document(asked.path)

    def _token(self, asked: AgentRequest, uid: int) -> Reply:
        ttl = asked.headers.get(_TTL_HEADER, "")
        if not (ttl.isascii() and ttl.isdecimal() and len(ttl) <= 5 and 1 <= int(ttl) <= _LONGEST_TTL):
            return refused(400, f"{_TTL_HEADER} is 1 to {_LONGEST_TTL}.")
        return Reply(200, self._signed(int(self._clock()) + int(ttl), uid), headers={_TTL_HEADER: ttl})

    def _signed(self, ends: int, uid: int) -> str:
        return f"{ends}.{hmac.new(self._key, f'{ends}.{uid}'.encode(), hashlib.sha256).hexdigest()}"

    def _is_valid(self, token: str, uid: int) -> bool:
        ends = token.partition(".")[0]
        if not (ends.isdecimal() and len(ends) < 12 and int(ends) > self._clock()):
            return False
        return hmac.compare_digest(token.encode(), self._signed(int(ends), uid).encode())

    async def _document(self, path: str) -> Reply:
        name = self._keeper.name
        texts = {
            _CREDENTIALS: name,
            _CREDENTIALS.rstrip("/"): name,
            "/latest/meta-data/placement/region": self._region,
            "/latest/meta-data/placement/availability-zone": f"{self._region}a",
        }
        if path in texts:
            return Reply(200, texts[path])
        if path == "/latest/dynamic/instance-identity/document":
            return as_json({"region": self._region})
        if path != _CREDENTIALS + name:
            return refused(404, "The metadata does not exist.")
        found = await _session(self._keeper)
        if isinstance(found, Reply):
            return found
        updated = state.iso_time(found.issued_at)
        return as_json({"Code": "Success", "LastUpdated": updated, "Type": "AWS-HMAC", **container_form(found)})


def health(keepers: Sequence[Keeper]) -> Reply:
    """200 if every role has a valid session and every file is written. It names none of them: anyone may ask."""
    ill = sum(keeper.held is None or bool(keeper.problems) for keeper in keepers)
    return Reply(503 if ill else 200, f"{ill} of {len(keepers)} roles have a problem\n" if ill else "ok\n")


def metrics(
    keepers: Sequence[Keeper], endpoints: Endpoints, seen: Mapping[tuple[str, int], int], seal: Sealed | None
) -> Reply:
    """Prometheus's text format."""
    lines = []
    for keeper in keepers:
        of, held = f'{{role="{keeper.name}"}}', keeper.held
        lines += [
            f"daypass_agent_session_expires_seconds{of} {int(held.expiration) if held else 0}",
            f"daypass_agent_renewals_total{of} {keeper.renewals}",
            f"daypass_agent_renewal_failures_total{of} {keeper.failures}",
            f"daypass_agent_files_failing{of} {len(keeper.problems)}",
        ]
    lines += [f'daypass_agent_requests_total{{listener="{n}",status="{s}"}} {c}' for (n, s), c in sorted(seen.items())]
    lines += [
        f'daypass_agent_endpoint_up{{endpoint="{url}"}} {int(up and not why)}' for url, up, why in endpoints.report()
    ]
    lines.append(f"daypass_agent_cache_refused_total {seal.refused if seal else 0}")
    return Reply(200, "\n".join([*sorted(lines), ""]), "text/plain; version=0.0.4")
