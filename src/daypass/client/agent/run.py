"""Builds the agent from its configuration and runs it until it is told to stop.

One agent uses a state directory at a time. It must never listen on an address that other machines reach.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import stat
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

from daypass import __version__
from daypass.client import state
from daypass.client.agent import answers, files, sealed
from daypass.client.agent.config import AgentRole, Config, address, uid_of
from daypass.client.agent.endpoints import Endpoints, FailoverConnection
from daypass.client.agent.keeper import Keeper
from daypass.client.agent.listener import MAX_HEAD, AgentListener, Answer
from daypass.client.agent.pods import PodEndpoint
from daypass.client.credentials import AssumeRole, Credentials, assume_role_with_web_identity, session_profile
from daypass.client.loopback import access_token
from daypass.client.profiles import Busy, LocalStateError, Profile, known, locked
from daypass.client.provider import CredentialProvider
from daypass.client.transport import LoginServer


class Agent:
    """The parts of one agent. `profile`: its own identity."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.profile = self._identity()
        self.endpoints = Endpoints(config.endpoints or (self.profile.endpoint,))
        self.uncached = sealed.unsealed_sessions_are_not_kept()
        self.seal = None if self.uncached else sealed.Sealed(self._key())
        self.keepers = {name: self._keeper(name, role) for name, role in config.roles.items()}
        self.seen: Counter[tuple[str, int]] = Counter()
        self.stop = threading.Event()

    def _identity(self) -> Profile:
        config = self.config
        more = {"region": config.region, "ca_bundle": config.ca_bundle}
        if config.source.web_identity_token_file:
            return Profile(config.endpoints[0], config.source.web_identity_token_file, "", **more)
        found = known(config.source.profile, config.endpoints[0] if config.endpoints else "")
        return replace(found, region=config.region, ca_bundle=config.ca_bundle or found.ca_bundle)

    def _key(self) -> bytes:
        given = self.config.seal_key_file
        path = self.config.directory / "seal.key"
        return sealed.key_of(type(path)(given) if given else path, make=not given)

    def connection(self, profile: Profile) -> FailoverConnection:
        return FailoverConnection(profile, endpoints=self.endpoints)

    def _keeper(self, name: str, role: AgentRole) -> Keeper:
        config = self.config
        request = AssumeRole(role.arn, session_name=role.session_name, duration=role.duration)
        provider = CredentialProvider(
            self.profile,
            request,
            connect=lambda: self.connection(self.profile),
            issue=self._by_web_identity(request) if config.source.web_identity_token_file else None,
            check=config.check,
            cache=config.directory / "cache",
            seal=self.seal or sealed.NoCache(),
        )
        return Keeper(name, role, provider, self._token, region=config.region, check=config.check)

    def _by_web_identity(self, request: AssumeRole) -> Callable[[float], Credentials]:
        path, session = self.config.source.web_identity_token_file, request.parameters()["RoleSessionName"]

        def issue(seconds: float) -> Credentials:
            try:
                token = state.read_own(path).strip()
            except OSError as error:
                raise LocalStateError(f"The token {path} cannot be read: {error.strerror}.") from None

            def attempt(endpoint: str, left: float) -> Credentials:
                server = LoginServer(endpoint, self.config.ca_bundle)
                return assume_role_with_web_identity(
                    server, token, request.role, session, request.duration, seconds=left
                )

            return self.endpoints.call(attempt, seconds)

        return issue

    def _token(self, held: Credentials, audience: str) -> Any:
        return access_token(self.connection(session_profile(self.profile, held)), {"audience": audience})

    # --- Running

    def run(self, ready: Callable[[str], None]) -> None:
        """Runs until SIGTERM or SIGINT. `ready` is told each address when it is served. Raises LocalStateError."""
        try:
            with locked(self.config.directory / "agent.lock", 0.0):
                tokens = {
                    name: self._authorization(role) for name, role in self.config.roles.items() if role.token_file
                }
                threads = [
                    threading.Thread(target=keeper.run, args=(self.stop,), name=f"keeper-{name}", daemon=True)
                    for name, keeper in self.keepers.items()
                ]
                for thread in threads:
                    thread.start()
                asyncio.run(self._serve(tokens, ready))
        except Busy:
            raise LocalStateError(f"Another agent uses {self.config.directory}: give each its own `state`.") from None

    def _authorization(self, role: AgentRole) -> str:
        """The authorization token of a role; the one that is in its file, because programs may have read it already."""
        with suppress(OSError, UnicodeDecodeError):
            found = state.read_own(role.token_file, {"SUDO_UID": role.token_owner and str(uid_of(role.token_owner))})
            if len(found) == 43 and found.isascii() and found.isprintable():
                return found
        token = secrets.token_urlsafe(32)
        files.put(role.token_file, token, (uid_of(role.token_owner), -1, 0o400), lambda _: True)
        return token

    async def _serve(self, tokens: dict[str, str], ready: Callable[[str], None]) -> None:
        config, keepers = self.config, list(self.keepers.values())
        container = answers.ContainerEndpoint(
            self.keepers,
            tokens,
            {
                "/healthz": lambda: answers.health(keepers),
                "/metrics": lambda: answers.metrics(keepers, self.endpoints, self.seen, self.seal),
            },
        )
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, stopped.set)
        async with AsyncExitStack() as stack:
            await self._listen(stack, "container", config.listen, container, ready)
            if config.metadata:
                metadata = answers.MetadataEndpoint(self.keepers[config.metadata.role], config.region)
                await self._listen(stack, "metadata", config.metadata.listen, metadata, ready, hops=1)
            if config.pod_identity:
                pods = PodEndpoint(lambda: self.connection(self.profile), config.pod_identity.cluster)
                await self._listen(stack, "pod-identity", config.pod_identity.listen, pods, ready)
            if config.spiffe:
                await self._serve_workload_api(stack, config.spiffe.socket, ready)
            await self._listen_on_socket(stack, answers.SocketEndpoint(self.keepers, self.status), ready)
            await stopped.wait()
            self.stop.set()

    async def _listen(
        self, stack: AsyncExitStack, name: str, at: str, answer: Answer, ready: Callable[[str], None], hops: int = 0
    ) -> None:
        host, port = address(at)
        try:
            bound = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else error
            raise LocalStateError(f"{at} cannot be listened on: {why}. Set another `listen` of {name}.") from None
        if (
            hops and bound.family == socket.AF_INET
        ):  # an answer never leaves this machine, not even into a container's network
            bound.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        elif hops:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        port = bound.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        hosts = {
            f"{shown}:{port}",
            *([shown] if port == 80 else []),
            *([f"localhost:{port}"] if host == "127.0.0.1" else []),
        }
        serve = AgentListener(answers.counted(name, answer, self.seen), tuple(hosts))
        await stack.enter_async_context(await asyncio.start_server(serve, sock=bound, limit=MAX_HEAD))
        ready(f"{name} http://{shown}:{port}")

    async def _listen_on_socket(self, stack: AsyncExitStack, answer: Answer, ready: Callable[[str], None]) -> None:
        path = self.config.socket_path
        bound = _socket_at(path)
        serve = AgentListener(answers.counted("socket", answer, self.seen))
        await stack.enter_async_context(await asyncio.start_unix_server(serve, sock=bound, limit=MAX_HEAD))
        ready(f"socket {path}")

    async def _serve_workload_api(self, stack: AsyncExitStack, path: str, ready: Callable[[str], None]) -> None:
        from daypass.client.agent.spiffe import WorkloadApi  # an extra

        api = WorkloadApi(self.keepers, lambda held: self.connection(session_profile(self.profile, held)))
        server = api.server()
        await server.start(_socket_at(path))
        stack.push_async_callback(server.close)
        ready(f"spiffe unix://{path}")

    def status(self) -> dict[str, Any]:
        """The part of the status that only the agent's own user and root may see."""
        return {
            "version": __version__,
            "endpoints": [{"endpoint": url, "called": up, "problem": why} for url, up, why in self.endpoints.report()],
            "cache": self.uncached or "sealed",
        }


def _socket_at(path: str) -> socket.socket:
    """A Unix socket. Everybody may ask: the kernel says who asks. Raises LocalStateError."""
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(path)
        os.chmod(path, 0o666)  # noqa: S103  # who may have what is decided by the uid of each caller
    except OSError as error:
        raise LocalStateError(f"The socket {path} cannot be made: {error.strerror}.") from None
    return bound
