"""Sessions for callers with a token of an identity provider, such as a CI job or a pod."""

from __future__ import annotations

import time

from daypass.client.credentials import Credentials, read_credentials
from daypass.client.http import post_form, result_of
from daypass.client.profiles import LocalStateError
from daypass.client.transport import Server

_MAX_TOKEN = 20_000


def assume_role_with_web_identity(
    server: Server, token: str, role: str, session_name: str, duration: int = 0
) -> Credentials:
    """One AssumeRoleWithWebIdentity call. `duration` in seconds, 0 for the default.

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
    answer = post_form(server.endpoint, "/", fields, ca_bundle=server.ca_bundle, transport=server.transport)
    return read_credentials(result_of(answer, "AssumeRoleWithWebIdentity"), time.time())
