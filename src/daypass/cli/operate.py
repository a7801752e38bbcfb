"""Commands of those who operate: sessions, revocations, accounts, guardrails."""

from __future__ import annotations

import time
from calendar import timegm
from typing import TYPE_CHECKING, Any, TextIO

import click

from daypass.cli import output
from daypass.cli.lint import offline
from daypass.cli.options import connect, output_option, pages, server_options
from daypass.client.http import segment

if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # older releases of click have no type parameter here

SUBJECTS = ("session", "role", "principal", "access-key", "source-identity", "account")


class _Subject(_Choice):
    """Also as the API and the record write it, with an underscore."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(str(value).replace("_", "-"), param, ctx)


_limit = click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
_account = click.option("--account", default="", metavar="ID", help="Another account, for the operator; * for all.")


@click.group()
def sessions() -> None:
    """Sessions that were issued."""


@sessions.command("ls")
@_account
@click.option("--principal-id", default="", metavar="ID", help="Sessions of this role or user id.")
@click.option("--all", "every", is_flag=True, help="Also those that have ended.")
@_limit
@server_options
@output_option
def list_sessions(
    account: str,
    principal_id: str,
    every: bool,  # noqa: FBT001  # click passes options as arguments
    limit: int,
    profile: str,
    endpoint: str,
    form: str,
) -> None:
    """List sessions, newest first."""
    query = {"account": account, "principal_id": principal_id, "active": "" if every else "true"}
    found = pages(connect(profile, endpoint), "/sessions", "sessions", query, limit)
    if form == "json":
        output.data(found)
        return
    output.table(
        ("SESSION", "STATE", "NAME", "ROLE OR USER", "DEPTH", "EXPIRES"),
        [(s["session_id"], s["state"], s["name"], s["arn"], s["depth"], output.moment(s["expires_at"])) for s in found],
    )


@sessions.command("show")
@click.argument("session_id")
@server_options
@output_option
def show_session(session_id: str, profile: str, endpoint: str, form: str) -> None:
    """Show one session with the chain of custody behind it."""
    found = connect(profile, endpoint).api("GET", f"/sessions/{segment(session_id)}")
    if form == "json":
        output.data(found)
        return
    times = {name: output.moment(found[name]) for name in ("issued_at", "expires_at")}
    output.fields({**{k: v for k, v in found.items() if k != "hops"}, **times})
    click.echo("\nChain of custody:")
    for number, hop in enumerate(found["hops"]):
        what = f"{hop['name']} ({hop['principal_id']}) in {hop['account']} with {hop['access_key_id']}"
        click.echo(f"  {number}. {output.safe(what)} at {output.moment(hop['issued_at'])}")


@click.command()
@click.argument("subject", type=_Subject(SUBJECTS))
@click.argument("value")
@_account
@click.option("--block", is_flag=True, help="Also stop the subject from getting new sessions.")
@click.option("--block-until", default="", metavar="TIME", help="Until then: 2026-01-31T12:00:00Z, or +2h, +30m, +7d.")
@click.option("--reason", default="", metavar="TEXT", help="For the record.")
@server_options
@output_option
def revoke(subject: str, value: str, profile: str, endpoint: str, form: str, **given: Any) -> None:
    """Cut off, at once: a session, or all sessions of a role, principal, key, source identity or account.

    Every session that was made from one that is cut off ends with it. Roles and principals are given by name, ARN or id;
    the bearer of a token, assertion or certificate by the ARN of its provider or trust anchor, a colon and its subject.
    """
    until = given.pop("block_until")
    body: dict[str, Any] = {"subject": subject.replace("-", "_"), "value": value, **given}
    if until:
        body["block_until"] = moment_of(until, time.time())
    made = connect(profile, endpoint).api("POST", "/revocations", body=body)
    if form == "json":
        output.data(made)
        return
    blocked = " New ones are blocked." if made["block"] else ""
    click.echo(
        f"Revoked {output.safe(subject)} {output.safe(made['value'])}; revocation {output.safe(made['id'])}.{blocked}"
    )


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def moment_of(text: str, now: float) -> int:
    """Milliseconds of `2026-01-31T12:00:00Z` or `+2h`. Raises UsageError."""
    digits = text[1:-1]
    if text.startswith("+") and text[-1:] in _UNITS and digits.isascii() and digits.isdigit() and len(digits) < 8:
        return int((now + int(digits) * _UNITS[text[-1]]) * 1000)
    try:
        return timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) * 1000
    except ValueError:
        raise click.UsageError(f"{text!r} is not a time: 2026-01-31T12:00:00Z, or +2h.") from None


@click.group()
def revocations() -> None:
    """Revocations in force."""


@revocations.command("ls")
@_account
@_limit
@server_options
@output_option
def list_revocations(account: str, limit: int, profile: str, endpoint: str, form: str) -> None:
    """List revocations, oldest first."""
    found = pages(connect(profile, endpoint), "/revocations", "revocations", {"account": account}, limit)
    if form == "json":
        output.data(found)
        return
    output.table(
        ("MADE", "SUBJECT", "VALUE", "BLOCKS", "BY", "REASON"),
        [
            (
                output.moment(r["created_at"]),
                r["subject"],
                r["value"],
                (output.moment(r["block_until"]) or "yes") if r["block"] else "",
                r["created_by"],
                r["reason"],
            )
            for r in found
        ],
    )


@click.group()
def account() -> None:
    """Accounts of this installation; for the operator."""


@account.command("create")
@click.argument("name")
@click.option("--id", "account_id", default="", metavar="ID", help="12 digits. Default: a free number.")
@click.option("--root-key", is_flag=True, help="Make a root key; its secret is shown once.")
@server_options
@output_option
def create_account(
    name: str,
    account_id: str,
    root_key: bool,  # noqa: FBT001  # click passes options as arguments
    profile: str,
    endpoint: str,
    form: str,
) -> None:
    """Make an account called NAME."""
    body = {"name": name, "id": account_id, "root_key": root_key}
    made = connect(profile, endpoint).api("POST", "/accounts", body=body, repeatable=False)
    if form == "json":
        output.data(made)
    else:
        output.fields(_plain(made))


def _plain(account: dict[str, Any]) -> dict[str, object]:
    key = account.get("root_key") or {}
    return {
        "account": account["id"],
        "name": account["name"],
        "root access key id": key.get("access_key_id"),
        "root secret access key": key.get("secret_access_key"),
    }


@account.command("ls")
@_limit
@server_options
@output_option
def list_accounts(limit: int, profile: str, endpoint: str, form: str) -> None:
    """List accounts."""
    found = pages(connect(profile, endpoint), "/accounts", "accounts", {}, limit)
    if form == "json":
        output.data(found)
        return
    output.table(
        ("ACCOUNT", "NAME", "MADE", ""),
        [(a["id"], a["name"], output.moment(a["created_at"]), "operator" if a["operator"] else "") for a in found],
    )


@click.group()
def guardrail() -> None:
    """Policies that bound everyone in an account, its root included."""


def _guardrail(account_id: str, name: str) -> str:
    return f"/accounts/{segment(account_id)}/guardrails/{segment(name)}"


@guardrail.command("put")
@click.argument("account_id")
@click.argument("name")
@click.argument("document", type=click.File(encoding="utf-8"))
@server_options
def put_guardrail(account_id: str, name: str, document: TextIO, profile: str, endpoint: str) -> None:
    """Set guardrail NAME of ACCOUNT_ID to the policy in the file DOCUMENT (- for stdin)."""
    path = _guardrail(account_id, name)
    text = output.read_text(document)
    connect(profile, endpoint).api("PUT", path, body={"document": text})
    click.echo(f"Guardrail {output.safe(name)} is in force for {output.safe(account_id)}.")
    for finding in offline(text, "guardrail", account_id):
        click.echo(f"{finding['severity']}: {finding['title']}. {output.safe(finding['fix'])}", err=True)


@guardrail.command("ls")
@click.argument("account_id")
@server_options
@output_option
def list_guardrails(account_id: str, profile: str, endpoint: str, form: str) -> None:
    """List the guardrails of ACCOUNT_ID."""
    found = connect(profile, endpoint).api("GET", f"/accounts/{segment(account_id)}/guardrails")["guardrails"]
    if form == "json":
        output.data(found)
    else:
        output.table(("NAME", "MADE"), [(g["name"], output.moment(g["created_at"])) for g in found])


@guardrail.command("show")
@click.argument("account_id")
@click.argument("name")
@server_options
@output_option
def show_guardrail(account_id: str, name: str, profile: str, endpoint: str, form: str) -> None:
    """Print the policy of a guardrail."""
    found = connect(profile, endpoint).api("GET", _guardrail(account_id, name))
    if form == "json":
        output.data(found)
    else:
        lines = str(found["document"]).expandtabs(4).splitlines()
        click.echo("\n".join(output.safe(line) for line in lines))


@guardrail.command("rm")
@click.argument("account_id")
@click.argument("name")
@server_options
def remove_guardrail(account_id: str, name: str, profile: str, endpoint: str) -> None:
    """Take a guardrail away."""
    connect(profile, endpoint).api("DELETE", _guardrail(account_id, name))
    click.echo(f"Guardrail {output.safe(name)} of {output.safe(account_id)} is gone.")
