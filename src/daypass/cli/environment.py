"""A role's credentials as environment variables: which ones every AWS SDK needs, and how shells set them."""

from __future__ import annotations

import os

from daypass.client import state

TYPE_CHECKING = False
if TYPE_CHECKING:  # `exec` from the cache imports this module
    from collections.abc import Callable, Mapping
    from typing import Any

DROPPED = (  # variables that would give a command other credentials, or point it to another server
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_SECURITY_TOKEN",
    "DAYPASS_PROFILE",
)

SET = {
    "AWS_ACCESS_KEY_ID": "AccessKeyId",
    "AWS_SECRET_ACCESS_KEY": "SecretAccessKey",
    "AWS_SESSION_TOKEN": "SessionToken",
    "AWS_CREDENTIAL_EXPIRATION": "Expiration",
    "AWS_ENDPOINT_URL": "endpoint",
    "AWS_ENDPOINT_URL_STS": "endpoint",
    "AWS_ENDPOINT_URL_IAM": "endpoint",
    "AWS_REGION": "region",
    "AWS_DEFAULT_REGION": "region",
}
"""The variables that `variables` always sets, each with its member of the credentials or field of the profile."""


def process_form(session: Mapping[str, Any]) -> dict[str, Any]:
    """A session's fields as AWS SDKs read them from a process (AWS page "Sourcing credentials with an external
    process").
    """
    return {
        "Version": 1,
        "AccessKeyId": session["access_key_id"],
        "SecretAccessKey": session["secret_access_key"],
        "SessionToken": session["session_token"],
        "Expiration": state.iso_time(session["expiration"]),
    }


def variables(
    form: Mapping[str, Any], profile: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables that make AWS SDKs use these credentials at this server.

    `form`: credentials as of `process_form`. `profile`: the fields of a profile.

    boto3 and the AWS CLI 1 do not read AWS_REGION, JavaScript does not read AWS_DEFAULT_REGION. Go, and JavaScript of
    before 2026, use only AWS_ENDPOINT_URL_STS for roles that a profile assumes. Node reads certificates from its own
    variable. tests/e2e/cli/test_sdk_table.py measures this.
    """
    values = {**form, **profile}
    found = {name: values[source] for name, source in SET.items()}
    if ca_bundle := profile["ca_bundle"]:
        found["AWS_CA_BUNDLE"] = ca_bundle
        if "NODE_EXTRA_CA_CERTS" not in environ:
            found["NODE_EXTRA_CA_CERTS"] = ca_bundle
    return found


def of_role(
    form: Mapping[str, Any], profile: Mapping[str, str], role: str, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The whole environment of a command that has a role's credentials and no others."""
    kept = {n: v for n, v in environ.items() if n not in DROPPED and not n.startswith("AWS_BEARER_TOKEN")}
    return {**kept, **variables(form, profile, environ), "DAYPASS_ROLE": role}


def short_name(role: str) -> str:
    """The name of a role in the characters that no shell's prompt interprets."""
    name = role.rpartition(":role/")[2] if role.startswith("arn:") else role
    return "".join(c for c in name if c.isascii() and (c.isalnum() or c in "_=,.@-/:"))


def _quoted(value: str) -> str:
    from shlex import quote  # `exec` does without it

    return quote(value)


_POWERSHELL_QUOTES = {
    ord(quote): quote * 2 for quote in "'\u2018\u2019\u201a\u201b"
}  # each ends a string unless doubled
FORMS = {"sh": "export {name}={value}", "fish": "set -gx {name} {value}", "powershell": "$env:{name} = {value}"}
FORGET = {"sh": "unset {name}", "fish": "set -e {name}", "powershell": "Remove-Item Env:{name}"}
QUOTES: dict[str, Callable[[str], str]] = {
    "sh": _quoted,
    "fish": lambda v: "'" + v.replace("\\", "\\\\").replace("'", "\\'") + "'",
    "powershell": lambda v: "'" + v.translate(_POWERSHELL_QUOTES) + "'",
}
