"""`daypass provider`: the issuers whose tokens an account accepts, how they are verified, and the status of their keys.

A secret is never an argument, because other users of the machine see arguments. It comes from a file or standard input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from daypass.api import providers
from daypass.cli import exits, output
from daypass.cli.described import add_commands
from daypass.cli.files import text_at
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Fields,
    Table,
    account_option,
    confirmed,
    done,
    noting_done,
    server_command,
    yes_option,
)
from daypass.cli.replacing import agree_settings, agreed, unchanged
from daypass.client.http import Connection, segment

_SECRETS = ("jwks_bearer", "token_review.bearer", "sign_in.client_secret")


@click.group(cls=CommandGroup)
def provider() -> None:
    """Issuers of tokens (OpenID Connect providers) that an account accepts."""


def _path(name: str, what: str) -> str:
    return f"/providers/oidc/{segment(name)}/{what}"


@provider.command("add")
@click.argument("issuer")
@click.option("--client-id", "client_ids", multiple=True, metavar="TEXT", help="Audience to accept; repeatable.")
@click.option(
    "--tenant", default="", metavar="TEXT", help="The customer, for presets with one issuer for each customer."
)
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@server_command
def add(
    issuer: str, client_ids: tuple[str, ...], tenant: str, settings: tuple[str, ...], connect: Connect
) -> CommandResult:
    """Accept tokens of ISSUER: its URL, or the name of a preset (github, gitlab, kubernetes, …).

    Settings are those of `daypass provider set`. Roles must trust the provider.

    \b
    daypass provider add github
    daypass provider add https://ci.example.com --client-id daypass leeway_seconds=30
    """  # noqa: D301  # click reads the control character
    url, audience, preset_settings, note = _known(issuer, tenant)
    audiences = list(client_ids) or [audience]
    if not audiences[0]:
        raise click.UsageError(f"Say which audience is taken: --client-id. {note}".rstrip())
    wanted = merged(preset_settings, settings)
    connection = connect()
    made = connection.iam("CreateOpenIDConnectProvider", Url=f"https://{url}", ClientIDList=audiences)
    arn = made.findtext("OpenIDConnectProviderArn") or url
    if not wanted:
        return done("created", f"Made {arn}.", arn=arn, client_ids=audiences)
    with noting_done([f"provider {url} is made"]):
        stored = connection.api("PUT", _path(url, "settings"), body={"settings": wanted})
    return CommandResult(stored, f"Made {arn}.", f"Set {', '.join(wanted)}.")


def _known(issuer: str, tenant: str) -> tuple[str, str, dict[str, str], str]:
    """URL without https://, audience, settings and note of a preset; of anything else the URL unchanged."""
    from daypass.domain.presets import PRESETS  # the policy language is slow to import

    preset = PRESETS.get(issuer)
    if preset is None:
        if tenant or "." not in issuer:
            raise click.UsageError(f"{issuer!r} is neither a URL nor a preset: {', '.join(PRESETS)}.")
        return issuer.removeprefix("https://"), "", {}, ""
    if bool(preset.tenant) != bool(tenant):
        needs = f"--tenant: {preset.tenant}" if preset.tenant else "no --tenant"
        raise click.UsageError(f"The preset {issuer} takes {needs}.")
    bare = tenant.removeprefix("https://")
    settings = {name: value.format(tenant=bare) for name, value in preset.settings.items()}
    return preset.url(bare), preset.audience.format(tenant=bare), settings, preset.note


@provider.command("show")
@click.argument("issuer")
@account_option
@server_command
def show(issuer: str, account: str, connect: Connect) -> CommandResult:
    """Show a provider and its settings; ISSUER is its URL or ARN."""
    settings = connect().api("GET", _path(issuer, "settings"), {"account": account})
    shown = {"arn": settings["arn"], "client ids": ", ".join(settings["client_ids"])}
    return CommandResult(settings, Fields(shown), partial(output.settings, settings["settings"]))


@provider.command("set")
@click.argument("issuer")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@account_option
@yes_option
@server_command
def set_(issuer: str, settings: tuple[str, ...], account: str, yes: bool, connect: Connect) -> CommandResult:
    """Set how tokens of ISSUER are verified. VALUE is JSON or text, or @FILE for the content of a file (@- for standard input).

    NAME= restores the default. Secrets are read from files or standard input only. Shows the change and asks first.

    \b
    daypass provider set ci.example.com leeway_seconds=10 one_time=true
    daypass provider set ci.example.com 'tag_claims={"ref": "branch"}' static_jwks=@jwks.json
    daypass provider set k8s.example.com token_review.url=https://10.0.0.1:6443 token_review.bearer=@token
    ca_pem=@ca.crt
    """  # noqa: D301  # click reads the control character
    connection = connect()
    query = {"account": account}
    now = connection.api("GET", _path(issuer, "settings"), query)["settings"]
    body = {"settings": merged(now, settings)}
    agree_settings(f"Provider {issuer}", now, body["settings"], yes=yes, secrets=_SECRETS)
    made = connection.api("PUT", _path(issuer, "settings"), query, body)
    return CommandResult(made, f"Set for {output.safe(made['url'])}.")


def merged(settings: Mapping[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    """Settings with changes `NAME=VALUE`. Raises UsageError, LocalStateError."""
    made: dict[str, Any] = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in settings.items()
    }
    for change in changes:
        name, equals, text = change.partition("=")
        outer, _, inner = name.rpartition(".")
        if not equals or not inner:
            raise click.UsageError(f"{change[:64]!r} is not NAME=VALUE.")
        holder = made.setdefault(outer, {}) if outer else made
        if not isinstance(holder, dict):
            raise click.UsageError(f"{outer[:64]!r} already has a value that is not an object.")
        if text:
            holder[inner] = _value(name, text)
        else:
            holder.pop(inner, None)
        if outer and not holder:
            del made[outer]
    return made


def _value(name: str, text: str) -> Any:
    if text.startswith("@"):
        content = text_at(text[1:])
        return content.strip() if name in _SECRETS else content
    if name in _SECRETS:
        raise click.UsageError(f"{name} is a secret: give it as {name}=@FILE, or {name}=@- for standard input.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@provider.command("keys")
@click.argument("issuer")
@click.option("--refresh", is_flag=True, help="Fetch the keys first.")
@account_option
@server_command
def keys(issuer: str, refresh: bool, account: str, connect: Connect) -> CommandResult:
    """Show the status of the keys of ISSUER. Exit status 1 when there are none, or the last fetch failed."""
    method, what = ("POST", "keys/refresh") if refresh else ("GET", "keys")
    found = connect().api(method, _path(issuer, what), {"account": account})
    return CommandResult(
        found,
        lambda: _show_keys(found),
        status=exits.FINDING if found["error"] or not found["keys"] else exits.OK,
    )


def _show_keys(found: Mapping[str, Any]) -> None:
    skew = found["skew_ms"]
    output.fields(
        {
            "from": f"{found['kind']} {found['place']}".strip(),
            "fetched": output.moment(found["fetched_at"]),
            "next fetch": output.moment(found["due_at"]),
            "usable until": output.moment(found["usable_until"]),
            "last attempt": output.moment(found["tried_at"]),
            "error": found["error"],
            "issuer's clock": f"{skew / 1000:+.1f} s" if isinstance(skew, int) else "",
        }
    )
    if found["keys"]:
        click.echo()
        output.table(
            ("KEY ID", "TYPE", "ALGORITHM"), [(k["kid"], k["kty"], k["alg"] or k["crv"]) for k in found["keys"]]
        )


@provider.command("rm")
@click.argument("issuer")
@yes_option
@server_command
def remove(issuer: str, yes: bool, connect: Connect) -> CommandResult:
    """Stop accepting tokens of ISSUER. Roles that trust it stay; nobody can assume them with it."""
    confirmed(f"Delete provider {output.safe(issuer)}?", yes=yes)
    connection = connect()
    arn = connection.api("GET", _path(issuer, "settings"))["arn"]
    connection.iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
    return done("deleted", f"Deleted {arn}.", arn=arn)


# --- The allow-list


@provider.group("allow")
def allow() -> None:
    """The only issuers that an account may trust. Without a list, it may trust any."""


_LIST = "/issuers/allowed"
_WHY = "this changes whose tokens are accepted"


def _listed(connection: Connection, account: str) -> list[str] | None:
    issuers: list[str] | None = connection.api("GET", _LIST, {"account": account})["issuers"]
    return issuers


@allow.command("ls")
@account_option
@server_command
def list_allowed(account: str, connect: Connect) -> CommandResult:
    """List the allowed issuers."""
    issuers = _listed(connect(), account)
    if issuers is None:
        return CommandResult({"issuers": None}, "No list is set: any issuer may be trusted.")
    return CommandResult({"issuers": issuers}, Table(("ISSUER",), [(entry,) for entry in issuers]))


@allow.command("set")
@click.argument("issuers", nargs=-1)
@account_option
@yes_option
@server_command
def set_allowed(issuers: tuple[str, ...], account: str, yes: bool, connect: Connect) -> CommandResult:
    """Allow ISSUERS (URLs; /* at the end for everything below) and no others; without ISSUERS, allow none.

    Tokens of issuers that are not on the list are refused at once. Shows the change and asks first.
    """
    bare, connection = [issuer.removeprefix("https://") for issuer in issuers], connect()
    stored = _listed(connection, account)
    title = "Issuers that may be trusted"
    if not agreed(title, stored, bare, why=_WHY, yes=yes):
        return unchanged(title, issuers=bare)
    made = connection.api("PUT", _LIST, {"account": account}, {"issuers": bare})
    return CommandResult(made, f"{title}: {', '.join(made['issuers']) or 'none'}.")


add_commands(provider, providers)
