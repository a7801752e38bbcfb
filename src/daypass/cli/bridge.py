"""`daypass bridge`: the configuration with which another cloud accepts tokens of your account, and such a token.

It only prints: nothing is changed here or elsewhere. The other side gets the issuer of the account, an audience, and the
ARN of the role or user whose tokens it accepts.
"""

from __future__ import annotations

import base64
import json
import secrets
import shlex
import time
from datetime import datetime
from functools import partial
from typing import Any

import click

from daypass.cli import output
from daypass.cli.files import name_of, parsed, text_of
from daypass.cli.iam import Row
from daypass.cli.options import CommandGroup, CommandResult, Connect, WholeNumber, server_command
from daypass.client.credentials import identity
from daypass.client.errors import ClientError
from daypass.client.http import Connection

_AZURE = "api://AzureADTokenExchange"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # a name
_GOOGLE = (
    "//iam.googleapis.com/projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/{pool}/providers/{provider}"
)
_GOOGLE_SUBJECT = 127  # bytes of google.subject
_subject_option = click.option(
    "--subject", default="", metavar="ARN", help="The role or user that is accepted. Default: that of the profile."
)


@click.group(cls=CommandGroup)
def bridge() -> None:
    """Use sessions of this installation in other clouds.

    An administrator enables it once for the account: IAM EnableOutboundWebIdentityFederation.
    """


@bridge.command("aws")
@click.option("--audience", default="sts.amazonaws.com", metavar="NAME", help="The audience of the tokens.")
@_subject_option
@server_command
def aws(audience: str, subject: str, connect: Connect) -> CommandResult:
    """Print the OIDC provider and trust policy for AWS, or for another installation of Daypass."""
    issuer, subject = _facts(connect(), subject)
    name = issuer.partition("://")[2]
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::ACCOUNT_ID:oidc-provider/{name}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{name}:aud": audience, f"{name}:sub": subject}},
    }
    return _commands_and_document(
        {
            "provider": {"Url": issuer, "ClientIDList": [audience]},
            "trust_policy": {"Version": "2012-10-17", "Statement": [statement]},
        },
        _command("aws", "iam", "create-open-id-connect-provider", "--url", issuer, "--client-id-list", audience),
        "The trust policy of the role, with your account in place of ACCOUNT_ID:",
        "trust_policy",
    )


@bridge.command("gcp")
@click.option(
    "--audience", default="", metavar="NAME", help="The audience of the tokens. Default: that of the provider."
)
@click.option("--pool", default="daypass", metavar="NAME", help="The workload identity pool.")
@click.option("--provider", default="daypass", metavar="NAME", help="The provider in the pool.")
@click.option("--token-url", default="https://sts.googleapis.com/v1/token", metavar="URL", help="The token endpoint.")
@_subject_option
@server_command
def gcp(audience: str, pool: str, provider: str, token_url: str, subject: str, connect: Connect) -> CommandResult:
    """Print the identity provider and the credential file for Google Cloud, with your project's number in place of
    PROJECT_NUMBER.
    """
    issuer, subject = _facts(connect(), subject)
    named = _GOOGLE.format(pool=pool, provider=provider)
    audience = audience or f"https:{named}"
    credential = {
        "type": "external_account",
        "audience": named,
        "subject_token_type": _ID_TOKEN,
        "token_url": token_url,
        "credential_source": {
            "executable": {
                "command": _command("daypass", "bridge", "token", audience, "--form", "google"),
                "timeout_millis": 30_000,
            }
        },
    }
    condition = f"assertion.sub == {json.dumps(subject, ensure_ascii=False)}"  # CEL quotes texts as JSON does
    members = named.partition("/providers/")[0]
    settings = {
        "issuer_uri": issuer,
        "allowed_audiences": [audience],
        "attribute_mapping": {"google.subject": "assertion.sub"},
        "attribute_condition": condition,
    }
    pools = ("gcloud", "iam", "workload-identity-pools")
    commands = (
        _command(*pools, "create", pool, "--location", "global"),
        _command(
            *(*pools, "providers", "create-oidc", provider),
            *("--location", "global", "--workload-identity-pool", pool, "--issuer-uri", issuer),
            *("--allowed-audiences", audience, "--attribute-mapping", "google.subject=assertion.sub"),
            *("--attribute-condition", condition),
        ),
        _command(
            *("gcloud", "projects", "add-iam-policy-binding", "PROJECT_ID", "--role", "ROLE"),
            *("--member", f"principal:{members}/subject/{subject}"),
        ),
    )
    if len(subject) > _GOOGLE_SUBJECT:
        output.message(f"Google Cloud refuses subjects with more than {_GOOGLE_SUBJECT} characters, as this one.")
    return _commands_and_document(
        {"provider": settings, "credentials": credential},
        "\n".join(commands),
        "The credential file; set GOOGLE_APPLICATION_CREDENTIALS to it, and GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1:",
        "credentials",
    )


@bridge.command("azure")
@click.option("--audience", default=_AZURE, metavar="NAME", help="The audience of the tokens.")
@click.option("--name", default="daypass", metavar="NAME", help="Name of the federated credential.")
@_subject_option
@server_command
def azure(audience: str, name: str, subject: str, connect: Connect) -> CommandResult:
    """Print the federated credential for Microsoft Entra, which accepts RS256 only (oauth.web_identity_algorithms)."""
    issuer, subject = _facts(connect(), subject)
    credential = {"name": name, "issuer": issuer, "subject": subject, "audiences": [audience]}
    create = _command(
        *("az", "ad", "app", "federated-credential", "create", "--id", "APPLICATION_ID"),
        *("--parameters", json.dumps(credential)),
    )
    return _commands_and_document(
        {"federated_credential": credential}, create, "The same as JSON:", "federated_credential"
    )


@bridge.command("vault")
@click.option("--audience", default="vault", metavar="NAME", help="The audience of the tokens.")
@click.option("--role", default="daypass", metavar="NAME", help="The role of the auth method.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="A policy of its tokens; repeatable.")
@click.option("--ttl", default="1h", metavar="TIME", help="The longest lifetime of its tokens.", show_default=True)
@click.option("--program", default="vault", metavar="NAME", help="The command line: vault or bao.", show_default=True)
@_subject_option
@server_command
def vault(
    audience: str, role: str, policies: tuple[str, ...], ttl: str, program: str, subject: str, connect: Connect
) -> CommandResult:
    """Print the JWT auth method for HashiCorp Vault and OpenBao.

    Its tokens do not end with the session here, so they have their own lifetime.
    """
    issuer, subject = _facts(connect(), subject)
    config = {"oidc_discovery_url": issuer, "bound_issuer": issuer}
    rules = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_subject": subject,
        "bound_audiences": [audience],
        "token_policies": list(policies or ("default",)),
        "token_ttl": ttl,
        "token_max_ttl": ttl,
    }
    commands = "\n".join(
        (
            _command(program, "auth", "enable", "jwt"),
            _command(program, "write", "auth/jwt/config", *_pairs(config)),
            _command(program, "write", f"auth/jwt/role/{role}", *_pairs(rules)),
        )
    )
    found = {"config": config, "role": {"name": role, **rules}, "command": commands}
    return CommandResult(found, partial(click.echo, commands))


@bridge.command("seaweedfs")
@click.option("--audience", default="seaweedfs", metavar="NAME", help="The audience of the tokens.")
@click.option(
    "--policy",
    required=True,
    type=click.File(encoding="utf-8"),
    help="File with what the role may do there, as for S3.",
)
@click.option("--ttl", default="15m", metavar="TIME", help="The longest lifetime of its sessions.", show_default=True)
@_subject_option
@server_command
def seaweedfs(audience: str, policy: Any, ttl: str, subject: str, connect: Connect) -> CommandResult:
    """Print the file for `weed server -s3 -s3.iam.config`, with a new key that signs sessions there: keep it secret.

    Its sessions do not end with the session here, so they have their own lifetime.
    """
    issuer, subject = _facts(connect(), subject)
    name = subject.rpartition("/")[2]
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": "daypass"},
        "Action": ["sts:AssumeRoleWithWebIdentity"],
        "Condition": {"StringEquals": {"oidc:sub": subject, "oidc:aud": audience}},
    }
    role = {
        "roleName": name,
        "roleArn": subject,
        "trustPolicy": {"Version": "2012-10-17", "Statement": [statement]},
        "attachedPolicies": [name],
    }
    provider = {"issuer": issuer, "clientId": audience}
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    found = {
        "sts": {"tokenDuration": ttl, "maxSessionLength": ttl, "issuer": "seaweedfs", "signingKey": key},
        "providers": [{"name": "daypass", "type": "oidc", "enabled": True, "config": provider}],
        "policy": {"defaultEffect": "Deny"},
        "policies": [{"name": name, "document": parsed(text_of(policy), name_of(policy))}],
        "roles": [role],
    }
    return CommandResult({"iam": found}, partial(click.echo, json.dumps(found, indent=2)))


@bridge.command("token")
@click.argument("audience")
@click.option(
    "--algorithm", default="", help="RS256, ES256, ES384 or EdDSA. Default: that of the other side's command."
)
@click.option("--seconds", default=300, type=WholeNumber(60, 3600), help="The lifetime.")
@click.option(
    "--form", "shape", type=click.Choice(["text", "google"]), default="text", help="google: for its credential file."
)
@server_command
def token(audience: str, algorithm: str, seconds: int, shape: str, connect: Connect) -> CommandResult:
    """Print a token for AUDIENCE. It cannot be revoked: keep it short."""
    wanted = algorithm or ("RS256" if audience == _AZURE else "ES256")
    answer = connect().sts("GetWebIdentityToken", Audience=[audience], SigningAlgorithm=wanted, DurationSeconds=seconds)
    text = answer.findtext("WebIdentityToken")
    if not text:
        raise ClientError("", "the server's answer holds no token")
    ends = answer.findtext("Expiration") or ""
    if shape == "text":
        return CommandResult({"token": text, "expires_at": ends}, text)
    expires = int(datetime.fromisoformat(ends).timestamp()) if ends else int(time.time()) + seconds
    google = {"version": 1, "success": True, "token_type": _ID_TOKEN, "id_token": text, "expiration_time": expires}
    return CommandResult(google, partial(output.data, google))


def _facts(connection: Connection, subject: str) -> tuple[str, str]:
    """The issuer of the account, and the subject of its tokens."""
    found = connection.iam("GetOutboundWebIdentityFederationInfo").findtext("IssuerIdentifier")
    if not found:
        raise ClientError("", "the server's answer holds no issuer")
    if not found.startswith("https://"):
        output.message("The issuer has no https:// address: it is enough for a trial, but clouds refuse it.")
    return found, subject or _principal(identity(connection))


def _principal(who: Row) -> str:
    """The ARN of the user or role behind a caller identity: the subject of its tokens."""
    fields = who["Arn"].split(":", 5)
    if fields[2] != "sts":
        return who["Arn"]
    raise click.UsageError("The profile is a session: give the ARN of its role with --subject.")


def _pairs(values: dict[str, Any]) -> list[str]:
    return [f"{key}={','.join(value) if isinstance(value, list) else value}" for key, value in values.items()]


def _command(*words: str) -> str:
    return shlex.join(words)


def _commands_and_document(found: dict[str, Any], command: str, title: str, document: str) -> CommandResult:
    """The commands for the other side, and the member `document` of what was found."""
    text = json.dumps(found[document], indent=2)
    return CommandResult(
        {**found, "command": command}, partial(click.echo, command), "", title, partial(click.echo, text)
    )
