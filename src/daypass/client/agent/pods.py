"""The EKS Pod Identity endpoint: a pod presents its projected token, and gets the session that the server gives for it.

Sessions are kept in memory by the digest of the token. It must never give a session to the holder of another token.
Source: Amazon EKS User Guide, "Understand how EKS Pod Identity works".
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from daypass.client import state
from daypass.client.agent.listener import AgentRequest, Reply, as_json, refused
from daypass.client.errors import ClientError, Members
from daypass.client.http import Connection, segment
from daypass.client.profiles import LocalStateError
from daypass.client.usable import with_secret

PATH = "/v1/credentials"
_MOST = 4_096  # sessions that are kept
_AT_ONCE = 16  # calls of the server
_SECONDS = 4.0
_MAX_TOKEN = 12_000
_AWAY = 5.0  # seconds for which a refusal is repeated to the holder of the same token


class _Pod:
    """The session of one token. `mutex`: one call at a time."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.form: dict[str, Any] = {}
        self.renewed_at = self.ends_at = self.refused_until = 0.0
        self.why = ""
        self.status = 503


class PodEndpoint:
    """Answers pods. `connect` makes a connection that signs as the node."""

    def __init__(self, connect: Callable[[], Connection], cluster: str, clock: Callable[[], float] = time.time) -> None:
        self._connect, self._cluster, self._clock = connect, cluster, clock
        self._pods: OrderedDict[bytes, _Pod] = OrderedDict()
        self._calls = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, asked: AgentRequest) -> Reply:
        token = asked.headers.get("authorization", "")
        if asked.path != PATH or asked.method != "GET":
            return refused(404, "There is nothing here.")
        if not 0 < len(token) <= _MAX_TOKEN or " " in token:
            return refused(401, "The request needs the token of the pod in Authorization.")
        pod = self._pod(hashlib.sha256(token.encode()).digest())
        if self._clock() >= pod.renewed_at and self._clock() >= pod.refused_until:
            async with self._calls:
                await asyncio.to_thread(self._renew, pod, token)
        if self._clock() < pod.ends_at - state.MARGIN:
            return as_json(pod.form)
        return refused(pod.status, pod.why or "The session has expired.")

    def _pod(self, digest: bytes) -> _Pod:
        pod = self._pods.setdefault(digest, _Pod())
        self._pods.move_to_end(digest)
        if len(self._pods) > _MOST:
            self._pods.popitem(last=False)
        return pod

    def _renew(self, pod: _Pod, token: str) -> None:
        with pod.mutex:
            now = self._clock()
            if now < pod.renewed_at or now < pod.refused_until:  # another request was faster
                return
            try:
                pod.form, ends = self._issued(token)
            except (ClientError, LocalStateError) as error:
                pod.refused_until = now + _AWAY
                decided = isinstance(error, ClientError) and error.code and not error.unavailable
                pod.status, pod.why = (403 if decided else 503), str(error)[:500]
                if decided:
                    pod.ends_at = 0.0  # the pod, its service account or the association is gone
                return
            pod.ends_at, pod.why = ends, ""
            pod.renewed_at = ends - state.LARGEST_SHARE * (ends - now)

    def _issued(self, token: str) -> tuple[dict[str, Any], float]:
        """A session as container credential providers read it, and its end. Raises ClientError."""
        connection = self._connect()
        connection.profile, connection.deadline = with_secret(connection.profile), _SECONDS
        path = f"/clusters/{segment(self._cluster)}/assume-role-for-pod-identity"
        answer = connection.api("POST", path, body={"token": token}, root="", service="eks-auth")
        try:
            given, ends = Members(answer["credentials"]), float(answer["credentials"]["expiration"])
            form = {
                "AccessKeyId": str(given["accessKeyId"]),
                "SecretAccessKey": str(given["secretAccessKey"]),
                "Token": str(given["sessionToken"]),
                "AccountId": str(answer["assumedRoleUser"]["arn"]).split(":")[4],
                "Expiration": state.iso_time(ends),
            }
        except (*state.UNREADABLE, IndexError, OverflowError, OSError):
            raise ClientError("", "the server's answer holds no credentials") from None
        return form, ends - connection.offset
