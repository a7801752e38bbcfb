"""The agent's configuration file (TOML): the server, the roles, and who gets their credentials where.

A file with an unknown name, a wrong type or a contradiction is refused with a sentence that names the place. It must never
start half of what it describes.
"""

from __future__ import annotations

import difflib
import grp
import ipaddress
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct, ValidationError, field, toml
from msgspec.structs import fields

from daypass.client import state
from daypass.client.profiles import LocalStateError, home
from daypass.client.transport import endpoint_of

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ROLE = re.compile(r"[\w+=,.@:/-]+")
_MODE = re.compile(r"0[0-7]{3}")
_MAX_BYTES = 1 << 20
_SHORTEST, _LONGEST = 900, 43_200  # seconds; of AssumeRole

Form = Literal["credentials", "env", "jwt", "template"]


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that the agent writes for a role."""

    path: str
    form: Form
    owner: str = ""  # user name; default: the agent's
    group: str = ""
    mode: str = "0600"
    section: str = "default"  # of the AWS credentials file
    audience: str = ""  # of the JWT, also in a template
    template: str = ""  # the file with the template
    reload: tuple[str, ...] = ()  # the command after a change


class AgentRole(Struct, frozen=True, forbid_unknown_fields=True):
    """A role that the agent keeps, and who may have it."""

    arn: str
    duration: int = 3600
    session_name: str = ""
    users: tuple[str, ...] = ()  # over the Unix socket and the metadata endpoint
    token_file: str = ""  # the authorization token of the container endpoint
    token_owner: str = ""
    file: tuple[File, ...] = ()


class AgentIdentity(Struct, frozen=True, forbid_unknown_fields=True):
    """The agent's own identity: a profile of `daypass login`, or a file with a token of an identity provider."""

    profile: str = ""
    web_identity_token_file: str = ""


class Metadata(Struct, frozen=True, forbid_unknown_fields=True):
    """The instance metadata endpoint (IMDSv2)."""

    role: str
    listen: str = "127.0.0.1:8711"


class PodIdentity(Struct, frozen=True, forbid_unknown_fields=True):
    """The EKS Pod Identity endpoint of a node, for the pods of a cluster."""

    cluster: str
    listen: str = "127.0.0.1:8712"


class Spiffe(Struct, frozen=True, forbid_unknown_fields=True):
    """The SPIFFE Workload API, for the `users` of the roles."""

    socket: str


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    roles: dict[str, AgentRole] = field(default_factory=dict)
    source: AgentIdentity = field(default_factory=AgentIdentity)
    endpoints: tuple[str, ...] = ()  # default: that of the profile
    ca_bundle: str = ""
    region: str = state.REGION
    listen: str = "127.0.0.1:8710"
    socket: str = ""
    state: str = ""
    seal_key_file: str = ""
    check: float = 60.0  # seconds after which the server is asked again whether a session is accepted
    metadata: Metadata | None = None
    pod_identity: PodIdentity | None = None
    spiffe: Spiffe | None = None

    @property
    def directory(self) -> Path:
        return Path(self.state) if self.state else home() / "agent"

    @property
    def socket_path(self) -> str:
        return self.socket or str(self.directory / "agent.sock")


def load(path: str) -> Config:
    """The configuration in a file. Raises LocalStateError."""
    try:
        text = state.read_own(path)
        if len(text) > _MAX_BYTES:
            raise LocalStateError(f"{path} is larger than 1 MiB.")
        config = _decoded(text.encode())
        _check(config)
    except OSError as error:
        raise LocalStateError(f"{path} cannot be used: {error.strerror}.") from None
    except ValueError as error:  # also of the TOML parser
        raise LocalStateError(f"{path}: {error}") from None
    return config


def _decoded(text: bytes) -> Config:
    """Raises ValueError with the first fault, in plain words."""
    try:
        return toml.decode(text, type=Config)
    except ValidationError as error:
        raise ValueError(next(faults_of(toml.decode(text), Config), str(error))) from None


def _check(config: Config) -> None:
    for url in config.endpoints:
        _check_endpoint(url)
    if not config.check > 0:
        raise ValueError(f"check: {config.check:g} is not a number of seconds above 0")
    by_token = config.source.web_identity_token_file
    if config.source.profile and by_token:
        raise ValueError("source: give profile or web_identity_token_file, not both")
    if by_token and not config.endpoints:
        raise ValueError("endpoints: a token of an identity provider needs at least one")
    _check_listeners(config)
    if not config.roles and not config.pod_identity:
        raise ValueError("roles: there is none; write [roles.NAME] with arn = ROLE")
    if config.pod_identity and by_token:
        raise ValueError("pod_identity: it needs a source with a profile, whose key signs")
    for name, role in config.roles.items():
        _check_role(name, role, by_token=bool(by_token))


def _check_endpoint(url: str) -> None:
    try:
        endpoint_of(url)
    except LocalStateError as error:
        raise ValueError(f"endpoints: {error}") from None


def _check_listeners(config: Config) -> None:
    address(config.listen)
    for name, listener in (("metadata.", config.metadata), ("pod_identity.", config.pod_identity)):
        if listener:
            address(listener.listen, f"{name}listen")
    if config.metadata and config.metadata.role not in config.roles:
        raise ValueError(f"metadata.role: there is no [roles.{config.metadata.role}]; it is not configured")
    if config.spiffe and not os.path.isabs(config.spiffe.socket):
        raise ValueError(f"spiffe.socket: the path {config.spiffe.socket!r} is not absolute")


def _check_role(name: str, role: AgentRole, *, by_token: bool) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"roles: {name!r} cannot name a role: use letters, digits and _ . -")
    if by_token and not role.arn.startswith("arn:"):
        raise ValueError(f"roles.{name}.arn: with a token of an identity provider it must be an ARN")
    if not _ROLE.fullmatch(role.arn):
        raise ValueError(f"roles.{name}.arn: {role.arn!r} is not the ARN or the name of a role")
    if not _SHORTEST <= role.duration <= _LONGEST:
        raise ValueError(f"roles.{name}.duration: {role.duration} is not from {_SHORTEST} to {_LONGEST} (seconds)")
    for key, users in (("users", role.users), ("token_owner", (role.token_owner,))):
        for user in users:
            uid_of(user, f"roles.{name}.{key}: ")
    if role.token_file and not os.path.isabs(role.token_file):
        raise ValueError(f"roles.{name}.token_file: {role.token_file!r} is not an absolute path")
    for number, each in enumerate(role.file, 1):
        _check_file(each, f"roles.{name}.file {number}")


def _check_file(file: File, place: str) -> None:
    if not os.path.isabs(file.path):
        raise ValueError(f"{place}.path: {file.path!r} is not an absolute path")
    if not _MODE.fullmatch(file.mode):
        raise ValueError(f'{place}.mode: {file.mode!r} is not a mode such as "0640"')
    if int(file.mode, 8) & 0o007:
        raise ValueError(f'{place}.mode: {file.mode!r} shows credentials to every user; use "0600" or "0640"')
    if file.form == "template" and not file.template:
        raise ValueError(f'{place}.template: it is missing; form = "template" needs the path of a template')
    if file.template and file.form != "template":
        raise ValueError(f'{place}.template: it needs form = "template"')
    if file.form == "jwt" and not file.audience:
        raise ValueError(f"{place}.audience: it is missing; a JWT needs an audience")
    uid_of(file.owner, f"{place}.owner: ")
    gid_of(file.group, f"{place}.group: ")


def address(text: str, place: str = "listen") -> tuple[str, int]:
    """Host and port of a listener. It must be reachable from this machine alone: loopback, or link-local as AWS's.

    Raises ValueError.
    """
    host, _, port = text.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
        usable = (ip.is_loopback or ip.is_link_local) and port.isdecimal() and 0 <= int(port) < 65_536
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            f"{place}: {text!r} is not a loopback or link-local IP address with a port, such as 127.0.0.1:8710"
        )
    return str(ip), int(port)


def uid_of(user: str, place: str = "") -> int:
    """The id of a user, by name or number; -1 for "". Raises ValueError, which begins with `place`."""
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid if user else -1
    except KeyError:
        raise ValueError(f"{place}this system has no user {user!r}") from None


def gid_of(group: str, place: str = "") -> int:
    """The id of a group, likewise."""
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        raise ValueError(f"{place}this system has no group {group!r}") from None


# --- Faults in plain words: the key with its path, the fault, and the expected value. No value is printed: it may be a secret.


_PLAIN: Mapping[type, tuple[tuple[type, ...], str, str]] = {
    str: ((str,), "text in quotes", "texts in quotes"),
    int: ((int,), "a whole number", "whole numbers"),
    float: ((int, float), "a number", "numbers"),
}
"""The TOML types of a setting's type, and what a reader calls one and several of them."""


def faults_of(value: object, kind: Any, place: str = "") -> Iterator[str]:
    """What is wrong with a decoded TOML value as a setting of this type, one line for each fault."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        yield from faults_of(value, next(each for each in arguments if each is not NoneType), place)
    elif origin is Literal:
        if value not in arguments:
            yield f"{place}: {_shown(value)} is not one of {', '.join(arguments)}"
    elif origin is dict:
        yield from _faults_of_tables(value, arguments[1], place)
    elif origin is tuple:
        yield from _faults_of_list(value, arguments[0], place)
    elif issubclass(kind, Struct):
        yield from _faults_of_table(value, kind, place)
    elif not isinstance(value, _PLAIN[kind][0]) or isinstance(value, bool):
        yield f"{place}: {_shown(value)} is not {_PLAIN[kind][1]}"


def _faults_of_tables(value: object, kind: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: it must be tables, [{place}.NAME]"
        return
    for name, each in value.items():
        yield from faults_of(each, kind, f"{place}.{name}")


def _faults_of_list(value: object, kind: Any, place: str) -> Iterator[str]:
    plain = _PLAIN.get(kind)
    if not isinstance(value, list):
        yield f"{place}: {_shown(value)} is not a list of {plain[2]}" if plain else f"{place}: write [[{place}]]"
        return
    for number, each in enumerate(value, 1):
        yield from faults_of(each, kind, f"{place}, entry {number}" if plain else f"{place} {number}")


def _faults_of_table(value: object, kind: type[Struct], place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: it must be a table, [{place}]"
        return
    hints = get_type_hints(kind)
    begin = f"{place}." if place else ""
    for name, each in value.items():
        if name in hints:
            yield from faults_of(each, hints[name], f"{begin}{name}")
        else:
            yield f"{begin}{name}: there is no such key{_nearest(name, list(hints))}"
    for each in fields(kind):
        if each.required and each.name not in value:
            yield f"{begin}{each.name}: it is missing"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f". Did you mean {near[0]}?" if near else f"; the keys here are {', '.join(known)}"


def _shown(value: object) -> str:
    """A short value as TOML writes it; of others the type alone."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float) and len(str(value)) <= 60:
        return f'"{value}"' if isinstance(value, str) else str(value)
    return {"dict": "a table", "list": "a list", "str": "this text"}.get(type(value).__name__, "this value")
