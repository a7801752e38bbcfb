"""`daypass credential-process`: credentials as AWS SDKs read them from a process. It must never print anything else."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from daypass.cli import output
from daypass.cli.environment import process_form
from daypass.cli.hot import CHECK_SECONDS
from daypass.cli.options import complete_roles, open_connection
from daypass.cli.request import code_source, request_of, request_options, suggesting
from daypass.client.profiles import Profile, known
from daypass.client.provider import CredentialProvider
from daypass.client.usable import with_secret

if TYPE_CHECKING:
    from daypass.client.credentials import AssumeRole, Credentials


def issued_for(profile: Profile, request: AssumeRole, mfa_code: str, *, fresh: bool) -> Credentials:
    """A role's credentials, from the cache or new. Asks for an MFA code, and checks cached ones for revocation."""
    code = code_source(request, mfa_code)
    provider = CredentialProvider(
        profile, request, connect=lambda: open_connection(profile), code=code, check=CHECK_SECONDS
    )
    issued = provider.get(fresh=fresh)
    if provider.uncached:
        output.message(f"the session is not cached: {output.safe(provider.uncached)}")
    return issued


fresh_option = click.option("--fresh", is_flag=True, help="Get new credentials, even if the cache has valid ones.")


@click.command("credential-process")
@click.argument("role", default="", shell_complete=complete_roles)
@request_options
@fresh_option
def credential_process(role: str, profile: str, endpoint: str, fresh: bool, **given: Any) -> None:
    """Print ROLE's credentials as AWS SDKs read them; cached, and renewed ahead of expiry.

    Without ROLE, those of the profile itself. `daypass profile export` writes the configuration that uses this.
    """
    found = known(profile, endpoint)
    if not role:
        click.echo(json.dumps(_own(with_secret(found))))
        return
    request = request_of(role, found, given)
    with suggesting(role, found):
        issued = issued_for(found, request, given["mfa_code"], fresh=fresh)
    click.echo(json.dumps(process_form(asdict(issued))))


def _own(profile: Profile) -> dict[str, Any]:
    made: dict[str, Any] = {
        "Version": 1,
        "AccessKeyId": profile.access_key_id,
        "SecretAccessKey": profile.secret_access_key,
    }
    if profile.session_token:
        made["SessionToken"] = profile.session_token
    if profile.expiration:
        made["Expiration"] = profile.expiration
    return made
