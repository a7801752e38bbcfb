"""`daypass trust`: tight trust policies from presets, and why a token would or would not be let in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import click

from daypass.cli import exits, iam, output
from daypass.cli.explain import show as show_explanation
from daypass.cli.files import text_of
from daypass.cli.options import CommandGroup, CommandResult, Connect, confirmed, server_command
from daypass.cli.replacing import show, unless_absent
from daypass.client.errors import ClientError
from daypass.client.http import Connection

if TYPE_CHECKING:
    from daypass.domain.trust import TrustTemplate

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
    "subject": "The subject of the token.",
    "object": "Object id of the application or managed identity.",
    "trust-domain": "SPIFFE trust domain.",
    "path": "Path of the SPIFFE id, from its first /.",
}
"""Options from which presets make subjects."""

_MAX_TOKEN = 20_000


@click.group(cls=CommandGroup)
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
    "--tenant", default="", metavar="TEXT", help="The customer, for presets with one issuer for each customer."
)
@click.option("--audience", default="", metavar="TEXT", help="The audience of the tokens, instead of the preset's.")
@click.option("--pull-requests", is_flag=True, help="Admit jobs of pull requests, instead of a branch or environment.")
@click.option("--apply", "applied", is_flag=True, help="Create the role, or add the statement to its trust policy.")
@click.option("--replace", is_flag=True, help="With --apply: drop all other statements of the trust policy.")
@click.option("--yes", is_flag=True, help="With --apply: change the trust policy without asking.")
@_parameters
@server_command
def new(preset: str, role_name: str, connect: Connect, **given: Any) -> CommandResult:
    """Write a tight trust policy for PRESET (github, gitlab, kubernetes, …) and say which tokens match it.

    With --apply, an existing role keeps its other statements. Shows the change and asks first.

    \b
    daypass trust new github --repo acme/shop --branch main --role deployer
    daypass trust new kubernetes --tenant k8s.test --namespace shop --service-account web --role web
    """  # noqa: D301  # click reads the control character
    if (given["replace"] or given["yes"]) and not given["applied"]:
        raise click.UsageError("--replace and --yes are options of --apply.")
    account = given["account"]
    connection = connect() if given["applied"] or not account else None
    if connection is not None:
        account = connection.sts("GetCallerIdentity").findtext("Account") or account
    template = _template(preset, account, given)
    how = ""
    if given["applied"] and connection:
        how = apply(connection, role_name, template.document, replace=given["replace"], agreed=given["yes"])
    found: dict[str, Any] = {
        "role": role_name,
        "policy": template.document,
        "subject": template.subject,
        "audience": template.audience,
    }
    found["change"] = how or None
    provider = _provider_step(preset, template.audience, given["tenant"])
    next_steps = f"\nNext: {provider}\n      the same command with --apply   (creates role {role_name}, or adds the statement to its policy)"
    if connection is not None and how:
        next_steps = f"\n{how}"
        if not has_provider(connection, template.document):
            next_steps += f"\nNo token is accepted yet. Next: {provider}"
    return CommandResult(found, partial(_show_new, template, _note(preset), next_steps))


def _show_new(template: TrustTemplate, note: str, next_steps: str) -> None:
    """The policy on standard output, for a file; what to know about it on standard error."""
    click.echo(json.dumps(template.document, indent=2))
    pattern = " (* matches any text)" if template.like else ""
    click.echo(f"\nMatching tokens: issued by https://{template.url}", err=True)
    output.prose(f"  audience   {output.safe(template.audience)}", err=True)
    output.prose(f"  subject    {output.safe(template.subject)}{pattern}", err=True)
    if template.admits:
        output.prose(f"  warning    this admits {template.admits}", err=True, indent=13)
    if note:
        output.prose(f"  note       {note}", err=True, indent=13)
    click.echo(next_steps, err=True)


def _template(preset: str, account: str, given: Mapping[str, Any]) -> TrustTemplate:
    from daypass.domain.presets import PRESETS, PULL_REQUESTS  # the policy language is slow to import
    from daypass.domain.trust import TemplateError, trust_policy

    if preset not in PRESETS:
        raise click.UsageError(f"{preset!r} is not a preset. Presets: {', '.join(PRESETS)}.")
    wanted = {name: given[f"of_{name.replace('-', '_')}"] for name in PARAMETERS}
    if given["pull_requests"]:
        wanted[PULL_REQUESTS] = "yes"
    try:
        return trust_policy(
            PRESETS[preset],
            account,
            {name: value for name, value in wanted.items() if value},
            tenant=given["tenant"].removeprefix("https://"),
            audience=given["audience"],
        )
    except TemplateError as error:
        raise click.UsageError(str(error)) from None


def _note(preset: str) -> str:
    from daypass.domain.presets import PRESETS  # the policy language is slow to import

    return PRESETS[preset].note


def _provider_step(preset: str, audience: str, tenant: str) -> str:
    of_tenant = f" --tenant {tenant}" if tenant else ""
    return f"daypass provider add {preset}{of_tenant} --client-id {audience}   (once for the account)"


@trust.command("test")
@click.argument("role")
@click.option(
    "--token", type=click.File(encoding="utf-8"), required=True, metavar="FILE", help="The token; - for stdin."
)
@server_command
def test(role: str, token: TextIO, connect: Connect) -> CommandResult:
    """Show, claim by claim, why a token can or cannot assume ROLE. Nothing is issued or used up.

    The exit status is 1 when it cannot. Needs the permission daypass:TestTrust.
    """
    text = text_of(token).strip()
    if not text or len(text) > _MAX_TOKEN:
        raise click.UsageError(f"A token has 1 to {_MAX_TOKEN} characters.")
    answer = connect().api("POST", "/trust/test", body={"role": role, "token": text})
    return CommandResult(answer, lambda: _show(answer), status=exits.OK if answer["let_in"] else exits.FINDING)


def _show(answer: Mapping[str, Any]) -> None:
    verdict = "The token can assume the role." if answer["let_in"] else "The token CANNOT assume the role."
    click.echo(verdict)
    if answer["problem"]:
        click.echo(f"\nThe token itself is refused: {output.safe(answer['problem'])}")
        if answer["reason"] not in ("", answer["problem"]):
            output.prose(f"  because {output.safe(answer['reason'])}")
        click.echo("  The rest compares its claims with the trust policy as if they were verified.")
    click.echo("\nClaims of the token:")
    output.fields({f"  {key}": _text(value) for key, value in sorted(answer["keys"].items())})
    click.echo("\nThe trust policy:")
    show_explanation(answer["explanation"], every=True)


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


# --- Trust apply


def apply(
    connection: Connection, role: str, document: Mapping[str, Any], *, replace: bool = False, agreed: bool = False
) -> str:
    """Makes `role` trust `document`; a sentence that says what was done.

    A role that exists keeps its statements and gets those of `document`; `replace` drops the others. The change is shown
    and confirmed on the terminal unless `agreed`. Raises ClientError, UsageError (no terminal to confirm on), Abort.
    """
    stored = _stored(connection, role)
    if stored is None:
        connection.iam("CreateRole", RoleName=role, AssumeRolePolicyDocument=json.dumps(document))
        return f"Created role {output.safe(role)}. It has no permissions until policies are attached to it."
    wanted = document if replace else added(stored, document)
    if not show(f"Trust policy of role {output.safe(role)}", stored, wanted):
        return f"Role {output.safe(role)} has this statement already; nothing was changed."
    confirmed("Change it?", yes=agreed, why=iam.WHY_TRUST)
    connection.iam("UpdateAssumeRolePolicy", RoleName=role, PolicyDocument=json.dumps(wanted))
    done = "Replaced the trust policy" if replace else "Added the statement to the trust policy"
    return f"{done} of role {output.safe(role)}."


def has_provider(connection: Connection, document: Mapping[str, Any]) -> bool:
    """Whether the account accepts tokens of the issuer that `document` trusts; True when the caller may not know."""
    provider = _statements(document)[0]["Principal"]["Federated"]
    try:
        connection.iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=provider)
    except ClientError as error:
        return error.code != "NoSuchEntity"
    return True


def added(stored: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`stored` with those statements of `document` that it lacks, at the end; `stored` itself when it has them all."""
    present = _statements(stored)
    new = [statement for statement in _statements(document) if statement not in present]
    return {**stored, "Statement": [*present, *new]} if new else stored


def _statements(document: Mapping[str, Any]) -> list[Any]:
    found = document["Statement"]
    return found if isinstance(found, list) else [found]


def _stored(connection: Connection, role: str) -> Mapping[str, Any] | None:
    """The trust policy of a role; None when there is no such role."""
    document = unless_absent(lambda: iam.trust_policy(connection, role))
    if document is None:
        return None
    try:
        _statements(document)
    except (TypeError, KeyError):
        raise ClientError("", f"the server's answer holds no trust policy for role {role}") from None
    return document
