"""`daypass trust`: tight trust policies from presets, and why a token would or would not be let in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

import click

from daypass.cli import exits, output
from daypass.cli.explain import show as show_explanation
from daypass.cli.options import connect, output_option, server_options
from daypass.client.http import ClientError, Connection

PARAMETERS: dict[str, str] = {
    "repo": "Repository: OWNER/NAME, OWNER@ID/NAME@ID, or its UUID.",
    "branch": "Branch.",
    "tag": "Tag.",
    "environment": "Deployment environment.",
    "project": "Project: GROUP/NAME, or its name or id.",
    "org": "Organization: its name or id.",
    "pipeline": "Pipeline.",
    "workspace": "Workspace.",
    "phase": "Run phase: plan or apply.",
    "namespace": "Kubernetes namespace.",
    "service-account": "Kubernetes service account.",
    "subject": "The token's subject, as it is.",
    "object": "Object id of the application or managed identity.",
    "trust-domain": "SPIFFE trust domain.",
    "path": "Path of the SPIFFE id, from its first /.",
}
"""What presets make subjects of."""

_MAX_TOKEN = 20_000


@click.group()
def trust() -> None:
    """Trust policies for tokens of identity providers."""


def _parameters(command: Any) -> Any:
    for name, meaning in reversed(PARAMETERS.items()):
        command = click.option(f"--{name}", f"of_{name.replace('-', '_')}", default="", help=meaning)(command)
    return command


@trust.command("new")
@click.argument("preset")
@click.option("--role", "role_name", required=True, metavar="NAME", help="The role that the policy is for.")
@click.option("--account", default="", metavar="ID", help="Its account. Default: your own.")
@click.option(
    "--tenant", default="", metavar="TEXT", help="Which customer's issuer, for presets that have one for each."
)
@click.option("--audience", default="", metavar="TEXT", help="What tokens are made for, in place of the preset's.")
@click.option("--apply", "applied", is_flag=True, help="Make the role on the server, or change its trust policy.")
@_parameters
@server_options
@output_option
def new(preset: str, role_name: str, profile: str, endpoint: str, form: str, **given: Any) -> int | None:
    """Write a tight trust policy for PRESET (github, gitlab, kubernetes, …) and say who would match it.

    \b
    daypass trust new github --repo acme/shop --branch main --role deployer
    daypass trust new kubernetes --tenant oidc.example.com/cluster-1 --namespace shop --service-account web --role web
    """  # noqa: D301  # click reads the control character
    from daypass.domain.presets import PRESETS  # noqa: PLC0415  # the policy language is slow to import
    from daypass.domain.trust_template import TemplateError, trust_policy  # noqa: PLC0415

    if preset not in PRESETS:
        raise click.UsageError(f"There is no preset {preset!r}. There are: {', '.join(PRESETS)}.")
    wanted = {name: given[f"of_{name.replace('-', '_')}"] for name in PARAMETERS}
    account = given["account"]
    connection = connect(profile, endpoint) if given["applied"] or not account else None
    if connection is not None:
        account = connection.sts("GetCallerIdentity").findtext("Account") or account
    try:
        made = trust_policy(
            PRESETS[preset],
            account,
            {name: value for name, value in wanted.items() if value},
            tenant=given["tenant"].removeprefix("https://"),
            audience=given["audience"],
        )
    except TemplateError as error:
        raise click.UsageError(str(error)) from None
    how = _applied(connection, role_name, json.dumps(made.document)) if given["applied"] and connection else ""
    if form == "json":
        output.data({"role": role_name, "policy": made.document, "subject": made.subject, "audience": made.audience})
        return None
    click.echo(json.dumps(made.document, indent=2))
    pattern = " (* stands for anything)" if made.like else ""
    click.echo(f"\nWho matches: tokens of https://{made.url}", err=True)
    click.echo(f"  made for   {output.safe(made.audience)}", err=True)
    click.echo(f"  about      {output.safe(made.subject)}{pattern}", err=True)
    if note := PRESETS[preset].note:
        click.echo(f"  note       {note}", err=True)
    click.echo(how or _next_steps(preset, role_name, made.audience, given["tenant"]), err=True)
    return None


def _next_steps(preset: str, role_name: str, audience: str, tenant: str) -> str:
    of_tenant = f" --tenant {tenant}" if tenant else ""
    return (
        f"\nNext: daypass provider add {preset}{of_tenant} --client-id {audience}   (once for the account)\n"
        f"      the same command with --apply   (makes role {role_name}, or changes whom it trusts)"
    )


def _applied(connection: Connection, role_name: str, document: str) -> str:
    try:
        connection.iam("CreateRole", RoleName=role_name, AssumeRolePolicyDocument=document)
    except ClientError as error:
        if error.code != "EntityAlreadyExists":
            raise
        connection.iam("UpdateAssumeRolePolicy", RoleName=role_name, PolicyDocument=document)
        return f"\nRole {output.safe(role_name)} trusts them now, and nobody else."
    return f"\nRole {output.safe(role_name)} is made. It may do nothing until policies are attached to it."


@trust.command("test")
@click.argument("role")
@click.option(
    "--token", type=click.File(encoding="utf-8"), required=True, metavar="FILE", help="The token; - for stdin."
)
@server_options
@output_option
def test(role: str, token: TextIO, profile: str, endpoint: str, form: str) -> int:
    """Say, claim by claim, why a token would or would not be let into ROLE. Nothing is issued or used up.

    Exit status 1 when it would not. Needs the permission daypass:TestTrust.
    """
    text = output.read_text(token).strip()
    if not text or len(text) > _MAX_TOKEN:
        raise click.UsageError(f"A token has 1 to {_MAX_TOKEN} characters.")
    answer = connect(profile, endpoint).api("POST", "/trust/test", body={"role": role, "token": text})
    if form == "json":
        output.data(answer)
    else:
        _show(answer)
    return exits.OK if answer["let_in"] else exits.FINDING


def _show(answer: Mapping[str, Any]) -> None:
    verdict = "The token is let in." if answer["let_in"] else "The token is NOT let in."
    click.echo(verdict)
    if answer["problem"]:
        click.echo(f"\nThe token itself is refused: {output.safe(answer['problem'])}")
        if answer["reason"]:
            click.echo(f"  because {output.safe(answer['reason'])}")
        click.echo("  What follows holds its claims against the trust policy as if they were verified.")
    click.echo("\nWhat the token says:")
    output.fields({f"  {key}": _text(value) for key, value in sorted(answer["keys"].items())})
    click.echo("\nThe trust policy:")
    show_explanation(answer["explanation"], every=True)


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
