"""Reads a request's body over ASGI within its time and size limits. It never buffers more than the limit."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import iso_time
from daypass.operations.assume.forms import AwsCredentials
from daypass.operations.assume.issue import Issued
from daypass.wire.http import Header


class ClientGoneError(Exception):
    """The client went away before its request was complete: there is nobody to answer."""


class _Late:
    """Cancels a task when it is called, and remembers that."""

    __slots__ = ("_task", "fired")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self.fired = False

    def __call__(self) -> None:
        self.fired = True
        self._task.cancel()


def too_large(limit: int) -> DaypassError:
    """The refusal of a body over this limit."""
    return DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request body is over {limit} bytes.")


def declared_length(headers: Sequence[Header], limit: int) -> int:
    """The length of the body that the headers declare (RFC 9112, section 6); -1 when they declare none.

    Raises DaypassError: no single number (MALFORMED_REQUEST), or one over the limit (REQUEST_TOO_LARGE).
    """
    declared, chunked = -1, False
    for name, value in headers:
        if name == b"content-length":
            digits = value.strip(b" \t")  # surrounding blanks and leading zeros are not part of the number
            if declared >= 0 or not digits.isdigit() or len(digits.lstrip(b"0")) > 15:
                raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The Content-Length header is not one number.")
            declared = int(digits)
        elif name == b"transfer-encoding":
            chunked = True
    if chunked and declared >= 0:
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "Content-Length and Transfer-Encoding exclude each other.")
    if declared > limit:
        raise too_large(limit)
    return declared


async def read_body(
    receive: Callable[[], Awaitable[Any]],
    declared: int,
    limit: int,
    seconds: float,
    excess: Callable[[int], DaypassError],
) -> bytes:
    """The whole body. It uses a plain timer, because `asyncio.timeout` costs several times as much.

    Raises DaypassError (`excess(limit)` if it is over `limit` bytes, another if it does not arrive in time) and
    ClientGoneError. The error is not passed as an object: a frame that holds the error it raises is a cycle, which only
    the collector frees.
    """
    task = asyncio.current_task()
    assert task is not None
    late = _Late(task)
    timer = asyncio.get_running_loop().call_later(seconds, late)
    try:
        return await _read(receive, limit, excess)
    except asyncio.CancelledError:
        if not late.fired or task.uncancel() > 0:  # cancelled from elsewhere
            raise
        raise DaypassError(
            ErrorKind.MALFORMED_REQUEST,
            "Your socket connection to the server was not read from or written to within the timeout period.",
            private={"declared_bytes": declared},
        ) from None
    finally:
        timer.cancel()


async def _read(receive: Callable[[], Awaitable[Any]], limit: int, excess: Callable[[int], DaypassError]) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise excess(limit)
        more = message.get("more_body", False)
    return b"".join(parts)


# --- Credentials


_QUOTES: Final = "'\u2018\u2019\u201a\u201b"


class CredentialText(NamedTuple):
    """Credentials in one format, to be copied. `name` is for addresses within a page."""

    name: str
    title: str
    text: str


def environment(issued: Issued[AwsCredentials], endpoint: str, region: str) -> dict[str, str]:
    """The credentials as environment variables of AWS's SDKs."""
    credentials = issued.credential
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_SESSION_TOKEN": credentials.token,
        "AWS_CREDENTIAL_EXPIRATION": iso_time(issued.session.expires_at // 1000),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,  # the variable that boto3 reads
    }


def texts(values: Mapping[str, str]) -> tuple[CredentialText, ...]:
    """The credentials of `environment` in each format."""
    shell = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())
    powershell = "\n".join(f"$env:{name} = '{_doubled(value)}'" for name, value in values.items())
    return (
        CredentialText("shell", "Shell", shell),
        CredentialText("powershell", "PowerShell", powershell),
        CredentialText("python", "Python", _python(values)),
        CredentialText("file", "~/.aws/credentials", _profile(values)),
        CredentialText("env", "Environment file", "\n".join(f"{name}={value}" for name, value in values.items())),
    )


def _doubled(value: str) -> str:
    """PowerShell takes typographic quotes for quotes too."""
    return "".join(character * 2 if character in _QUOTES else character for character in value)


def _python(values: Mapping[str, str]) -> str:
    """A session of boto3. A literal of Python is what `repr` writes."""
    names = {
        "aws_access_key_id": "AWS_ACCESS_KEY_ID",
        "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "aws_session_token": "AWS_SESSION_TOKEN",
        "region_name": "AWS_REGION",
    }
    given = "\n".join(f"    {name}={values[key]!r}," for name, key in names.items())
    endpoint = values["AWS_ENDPOINT_URL"]
    return (
        f"import boto3\n\nsession = boto3.Session(\n{given}\n)\nsts = session.client('sts', endpoint_url={endpoint!r})"
    )


def _profile(values: Mapping[str, str]) -> str:
    settings = {
        "aws_access_key_id": values["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": values["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": values["AWS_SESSION_TOKEN"],
        "region": values["AWS_REGION"],
        "endpoint_url": values["AWS_ENDPOINT_URL"],
    }
    return "\n".join(["[daypass]", *(f"{name} = {value}" for name, value in settings.items())])
