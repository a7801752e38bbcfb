"""A session's credentials as text for people and programs: environment variables, and the files of AWS's tools."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final, NamedTuple

from daypass.domain.jws import iso_time
from daypass.operations.assume.forms import AwsCredentials
from daypass.operations.assume.issue import Issued

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
        CredentialText("file", "~/.aws/credentials", _profile(values)),
        CredentialText("env", "Environment file", "\n".join(f"{name}={value}" for name, value in values.items())),
    )


def _doubled(value: str) -> str:
    """PowerShell takes typographic quotes for quotes too."""
    return "".join(character * 2 if character in _QUOTES else character for character in value)


def _profile(values: Mapping[str, str]) -> str:
    settings = {
        "aws_access_key_id": values["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": values["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": values["AWS_SESSION_TOKEN"],
        "region": values["AWS_REGION"],
        "endpoint_url": values["AWS_ENDPOINT_URL"],
    }
    return "\n".join(["[daypass]", *(f"{name} = {value}" for name, value in settings.items())])
