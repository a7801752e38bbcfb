"""Sessions for botocore and boto3: their credentials renew themselves. It needs botocore, or boto3.

from daypass.client.boto import boto3_session
s3 = boto3_session("111122223333/etl").client("s3")
"""

from __future__ import annotations

from typing import Any

from daypass.client.auth import Source
from daypass.client.credentials import AssumeRole
from daypass.client.profiles import known
from daypass.client.provider import CredentialProvider

METHOD = "daypass"


def refreshable_credentials(source: Source) -> Any:
    """Botocore's RefreshableCredentials, which ask `source` whenever they are near their end. Raises ClientError."""
    from botocore.credentials import RefreshableCredentials

    def current() -> dict[str, str]:
        held = source.get()
        return {
            "access_key": held.access_key_id,
            "secret_key": held.secret_access_key,
            "token": held.session_token,
            "expiry_time": held.expiration_text(),
        }

    return RefreshableCredentials.create_from_metadata(current(), current, METHOD)


def botocore_session(source: Source | str, *, region: str = "") -> Any:
    """A botocore session whose only credential provider is `source`: a provider, a held session, or a role.

    For a role, the profile is chosen as the command line chooses it.
    """
    import botocore.session
    from botocore.credentials import CredentialProvider as Plugin
    from botocore.credentials import CredentialResolver

    found = of_role(source) if isinstance(source, str) else source

    class Daypass(Plugin):  # type: ignore[misc]  # botocore has no types
        METHOD = METHOD

        def load(self) -> Any:
            return refreshable_credentials(found)

    session = botocore.session.get_session()
    session.register_component("credential_provider", CredentialResolver([Daypass()]))
    if region:
        session.set_config_variable("region", region)
    return session


def boto3_session(source: Source | str, *, region: str = "") -> Any:
    """A boto3 session likewise."""
    import boto3

    return boto3.Session(botocore_session=botocore_session(source, region=region))


def of_role(role: str, *, profile: str = "") -> CredentialProvider:
    """The provider of a role: its ARN, ACCOUNT/NAME, or the NAME of one of your account."""
    return CredentialProvider(known(profile), AssumeRole(role))
