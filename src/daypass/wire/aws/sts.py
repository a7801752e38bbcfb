"""The operations of AWS STS 2011-06-15 that are served here, by name.

A table and nothing else: what is absent is answered as unsupported by the dispatcher. Parameters and answers are in the
service model's member names, times in milliseconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from daypass.operations.assume_role import assume_role
from daypass.operations.assume_role_with_saml import assume_role_with_saml
from daypass.operations.assume_role_with_web_identity import assume_role_with_web_identity
from daypass.operations.decode_authorization_message import decode_authorization_message
from daypass.operations.get_access_key_info import get_access_key_info
from daypass.operations.get_caller_identity import get_caller_identity
from daypass.operations.get_federation_token import get_federation_token
from daypass.operations.get_scoped_credentials import get_scoped_credentials
from daypass.operations.get_session_token import get_session_token
from daypass.ports import Call, Env

OPERATIONS: Final[Mapping[str, Callable[[Env, Call, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]]] = {
    "AssumeRole": assume_role,
    "AssumeRoleWithSAML": assume_role_with_saml,
    "AssumeRoleWithWebIdentity": assume_role_with_web_identity,
    "DecodeAuthorizationMessage": decode_authorization_message,
    "GetAccessKeyInfo": get_access_key_info,
    "GetCallerIdentity": get_caller_identity,
    "GetFederationToken": get_federation_token,
    "GetScopedCredentials": get_scoped_credentials,
    "GetSessionToken": get_session_token,
}
