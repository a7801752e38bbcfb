"""Commands of those who borrow: see who one is, take a role, run something with it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

import click

from daypass.cli import output
from daypass.cli.options import connect, output_option, pages, server_options
from daypass.client.credentials import AssumeRole, CredentialProvider, Credentials, assume_role, identity
from daypass.client.profiles import Profile

_DROPPED = (  # what would give a command other credentials than the role's, or lead it to another server
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


@click.command()
@server_options
@output_option
def whoami(profile: str, endpoint: str, form: str) -> None:
    """Who this profile's key belongs to."""
    who = identity(connect(profile, endpoint))
    if form == "json":
        output.data(who)
    else:
        output.fields({"arn": who["Arn"], "account": who["Account"], "user id": who["UserId"]})


@click.command()
@server_options
@output_option
def roles(profile: str, endpoint: str, form: str) -> None:
    """The roles of your account whose trust policy lets you in now."""
    connection = connect(profile, endpoint)
    found = pages(connection, "/roles/assumable", "roles", {}, 10_000)
    if form == "json":
        output.data(found)
    elif found:
        output.table(
            ("ROLE", "LONGEST SESSION", "DESCRIPTION"),
            [(r["arn"], f"{r['max_session_seconds'] // 60} min", r.get("description") or "") for r in found],
        )
    elif identity(connection)["Arn"].endswith(":root"):
        click.echo("Root may not assume roles. Log in as a user.")
    else:
        click.echo("No role of your account lets you in. Roles of other accounts are not listed: give their ARN.")


def _request_options(command: Any) -> Any:
    for option in (
        click.option("--session-name", default="", metavar="NAME", help="Default: your login name."),
        click.option("--duration", type=int, default=0, metavar="SECONDS", help="Default: an hour."),
        click.option(
            "--policy", type=click.File(encoding="utf-8"), help="File with a session policy; it can only narrow."
        ),
        click.option("--policy-arn", multiple=True, metavar="ARN", help="Managed session policy; repeatable."),
        click.option("--tag", multiple=True, metavar="KEY=VALUE", help="Session tag; repeatable."),
        click.option(
            "--transitive", multiple=True, metavar="KEY", help="Tag key to hand on down the chain; repeatable."
        ),
        click.option("--external-id", default="", metavar="ID"),
        click.option("--source-identity", default="", metavar="NAME"),
    ):
        command = option(command)
    return server_options(command)


def _request(role: str, given: dict[str, Any]) -> AssumeRole:
    tags = []
    for tag in given["tag"]:
        key, equals, value = tag.partition("=")
        if not equals:
            raise click.UsageError(f"--tag takes KEY=VALUE, not {tag!r}.")
        tags.append((key, value))
    return AssumeRole(
        role=role,
        session_name=given["session_name"],
        duration=given["duration"],
        policy=output.read_text(given["policy"]) if given["policy"] else "",
        policy_arns=given["policy_arn"],
        tags=tuple(tags),
        transitive_keys=given["transitive"],
        external_id=given["external_id"],
        source_identity=given["source_identity"],
    )


@click.command()
@click.argument("role")
@_request_options
@click.option("--shell", type=click.Choice(["sh", "fish", "powershell"]), default="sh", show_default=True)
@output_option
def assume(role: str, profile: str, endpoint: str, shell: str, form: str, **given: Any) -> None:
    """Borrow ROLE (an ARN, ACCOUNT/NAME, or a NAME of your own account) and print its credentials.

    For a shell: eval "$(daypass assume ROLE)", in fish: daypass assume ROLE --shell fish | source
    """
    connection = connect(profile, endpoint)
    request = _request(role, given)
    issued = assume_role(connection, request, connection.clock())
    if form == "json":
        click.echo(json.dumps(_process_form(issued), indent=2))
        return
    for name in _DROPPED:
        if name in os.environ:
            click.echo(_FORGET[shell].format(name=name))
    for name, value in _environment(issued, connection.profile).items():
        click.echo(_FORMS[shell].format(name=name, value=_QUOTES[shell](value)))


_FORMS = {"sh": "export {name}={value}", "fish": "set -gx {name} {value}", "powershell": "$env:{name} = {value}"}
_FORGET = {"sh": "unset {name}", "fish": "set -e {name}", "powershell": "Remove-Item Env:{name}"}
_QUOTES: dict[str, Callable[[str], str]] = {
    "sh": shlex.quote,
    "fish": lambda v: "'" + v.replace("\\", "\\\\").replace("'", "\\'") + "'",
    "powershell": lambda v: "'" + v.replace("'", "''") + "'",
}


def _environment(issued: Credentials, profile: Profile) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": issued.access_key_id,
        "AWS_SECRET_ACCESS_KEY": issued.secret_access_key,
        "AWS_SESSION_TOKEN": issued.session_token,
        "AWS_CREDENTIAL_EXPIRATION": issued.expiration_text(),
        "AWS_ENDPOINT_URL": profile.endpoint,
        "AWS_REGION": profile.region,
        "AWS_DEFAULT_REGION": profile.region,  # the one that boto3 reads
        **({"AWS_CA_BUNDLE": profile.ca_bundle} if profile.ca_bundle else {}),
    }


def _process_form(issued: Credentials) -> dict[str, Any]:
    """AWS page "Sourcing credentials with an external process"."""
    return {
        "Version": 1,
        "AccessKeyId": issued.access_key_id,
        "SecretAccessKey": issued.secret_access_key,
        "SessionToken": issued.session_token,
        "Expiration": issued.expiration_text(),
    }


_fresh = click.option("--fresh", is_flag=True, help="New credentials, whatever the cache holds.")


@click.command("credential-process")
@click.argument("role")
@_request_options
@_fresh
def credential_process(role: str, profile: str, endpoint: str, fresh: bool, **given: Any) -> None:  # noqa: FBT001
    """Print ROLE's credentials as AWS SDKs read them; cached, and renewed ahead of expiry.

    In ~/.aws/config: credential_process = daypass credential-process ROLE --profile NAME
    """
    connection = connect(profile, endpoint)
    provider = CredentialProvider(connection.profile, _request(role, given), connection=connection)
    click.echo(json.dumps(_process_form(provider.get(fresh=fresh))))


class _Exec(click.Command):
    """What stands behind `--` is another command's, options and all; so it must be there."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.obj = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


@click.command("exec", cls=_Exec)
@click.argument("role")
@_request_options
@_fresh
@click.pass_obj
def exec_(
    command: tuple[str, ...] | None,
    /,
    role: str,
    profile: str,
    endpoint: str,
    fresh: bool,  # noqa: FBT001  # click passes options as arguments
    **given: Any,
) -> int:
    """Run COMMAND with ROLE's credentials: daypass exec ROLE -- aws sts get-caller-identity

    No other AWS credentials of your environment reach it. Its exit status is this command's.
    """
    if not command:
        raise click.UsageError("Put -- and then the command behind the role: daypass exec ROLE -- COMMAND")
    connection = connect(profile, endpoint)
    provider = CredentialProvider(connection.profile, _request(role, given), connection=connection)
    environment = {n: v for n, v in os.environ.items() if n not in _DROPPED and not n.startswith("AWS_BEARER_TOKEN")}
    environment |= _environment(provider.get(fresh=fresh), connection.profile)
    sys.stdout.flush()
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606  # the user's own command, without a shell
    except OSError as error:
        click.echo(f"daypass: {output.safe(command[0])}: {error.strerror}", err=True)
        return 127 if isinstance(error, FileNotFoundError) else 126
