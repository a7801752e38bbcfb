"""The credentials of a role: what to ask for, the AssumeRole call, and what came back.

Nothing here imports the HTTP client, because it is not needed when the cache holds valid credentials.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from daypass.client import state
from daypass.client.errors import ClientError, Members

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

    from daypass.client.http import Connection
from daypass.client.http import offset_of, post_form, result_of
from daypass.client.profiles import LocalStateError, Profile
from daypass.client.transport import LoginServer

_ARN = re.compile(r"arn:[^:]+:iam::[0-9]{12}:role/.+")
_ROLE = re.compile(r"[\w+=,.@/-]+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A session's credentials. `expiration` is in seconds since the epoch, by the server's clock."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: float
    issued_at: float = 0.0  # by the server's clock
    offset: float = 0.0  # the server's clock minus ours, when they were issued
    renew_after: float = 0.0  # no renewal before then, because the server was unavailable; by the server's clock
    checked_at: float = 0.0  # when the server last accepted them, by our clock
    role: str = ""  # the requested role, the key and the server; for people
    source_key: str = ""
    endpoint: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, expiration={self.expiration})"

    def expiration_text(self) -> str:
        return state.iso_time(self.expiration)


@dataclass(frozen=True, slots=True)
class AssumeRole:
    """A request to assume a role; the fields are AssumeRole's parameters. `role` is an ARN, ACCOUNT/NAME, or a NAME of one's own
    account.
    """

    role: str
    session_name: str = ""
    duration: int = 0
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    transitive_keys: tuple[str, ...] = ()
    external_id: str = ""
    source_identity: str = ""
    serial_number: str = ""  # of an MFA device; the call then needs a code

    def parameters(self) -> dict[str, Any]:
        """The call's parameters, without the role and the MFA code, which no cache may depend on."""
        requested = asdict(self)
        del requested["role"]
        return state.parameters(**requested)


def assume_role(connection: Connection, request: AssumeRole, now: float, token_code: str = "") -> Credentials:
    """One AssumeRole call. `now` is our clock's time, in seconds."""
    arn = role_arn(connection, request.role)
    result = connection.sts("AssumeRole", RoleArn=arn, **request.parameters(), TokenCode=token_code)
    return read_credentials(result, now, connection.offset)


def role_arn(connection: Connection, role: str) -> str:
    """The ARN of `role`: an ARN, ACCOUNT/NAME, or the NAME of a role in one's own account, which costs a call."""
    if _ARN.fullmatch(role):
        return role
    if not _ROLE.fullmatch(role):
        forms = "its ARN (arn:aws:iam::ACCOUNT:role/NAME), ACCOUNT/NAME, or a NAME of your account"
        why = f"{role!r} is not a role: give {forms}"
        raise ClientError("ValidationError", why, 400)
    account, slash, name = role.partition("/")
    if slash and len(account) == 12 and account.isascii() and account.isdigit():
        return f"arn:aws:iam::{account}:role/{name}"
    return f"arn:aws:iam::{identity(connection)['Account']}:role/{role}"


def identity(connection: Connection) -> Members:
    """GetCallerIdentity's members: Arn, Account, UserId."""
    return Members((e.tag, e.text or "") for e in connection.sts("GetCallerIdentity"))


def seconds_of_time(text: str) -> float:
    """Seconds since the epoch of a time as AWS writes it; 0 for anything else."""
    try:
        return float(timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0


def read_credentials(result: ET.Element, now: float, offset: float = 0.0) -> Credentials:
    """The Credentials element of an STS answer that came at `now` by our clock."""
    members = {e.tag: e.text or "" for e in result.iter()}
    try:
        expiration = seconds_of_time(members["Expiration"])
        texts = (members["AccessKeyId"], members["SecretAccessKey"], members["SessionToken"])
    except KeyError:
        expiration = 0.0
    if not expiration:
        raise ClientError("", "the server's answer holds no credentials")
    return Credentials(*texts, expiration, now + offset, offset)


# --- Sessions for callers with a token of an identity provider, such as a CI job or a pod


_MAX_TOKEN = 20_000
_SKEW = 30.0  # seconds by which clocks may differ


def assume_role_with_web_identity(
    server: LoginServer, token: str, role: str, session_name: str, duration: int = 0, *, seconds: float = 20.0
) -> Credentials:
    """One AssumeRoleWithWebIdentity call within `seconds`. `duration` in seconds, 0 for the default.

    Raises ClientError, or LocalStateError for text that cannot be a token.
    """
    if not token or len(token) > _MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise LocalStateError(f"The file holds no token: one is 1 to {_MAX_TOKEN} printable ASCII characters.")
    fields = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": session_name,
        "WebIdentityToken": token,
        "DurationSeconds": duration or None,
    }
    answer = post_form(
        server.endpoint, "/", fields, ca_bundle=server.ca_bundle, seconds=seconds, transport=server.transport
    )
    now = time.time()
    offset = offset_of(answer.headers, now) or 0.0
    if abs(offset) < _SKEW:  # the header has whole seconds, and the answer took some
        offset = 0.0
    return read_credentials(result_of(answer, "AssumeRoleWithWebIdentity"), now, offset)


def session_profile(profile: Profile, credentials: Credentials) -> Profile:
    """The profile with a session in the place of its key."""
    return replace(
        profile,
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key,
        session_token=credentials.session_token,
        keyring_entry="",
        refresh_token="",
        login="",
    )
