"""`daypass policy`: managed policies of an account."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO
from urllib.parse import quote

import click

from daypass import __version__
from daypass.cli import exits, iam, output
from daypass.cli.files import text_of
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    confirmed,
    done,
    pages,
    server_command,
    server_connection,
    yes_option,
)
from daypass.cli.replacing import agreed, unchanged
from daypass.client.http import Connection

_MAX_VERSIONS = 5  # IAM keeps no more


@click.group(cls=CommandGroup)
def policy() -> None:
    """Managed policies. POLICY is an ARN, aws/NAME for one of AWS, or a NAME of your account."""


@policy.command("ls")
@click.option(
    "--scope", type=click.Choice(["local", "aws", "all"]), default="local", show_default=True, help="Whose policies."
)
@server_command
def list_policies(scope: str, connect: Connect) -> CommandResult:
    """List the managed policies of your account, or those of AWS."""
    scopes = {"local": "Local", "aws": "AWS", "all": "All"}
    policies = list(iam.listed(connect(), "ListPolicies", "Policies/member", Scope=scopes[scope]))
    return iam.table_of(policies, {"POLICY": "PolicyName", "ATTACHED": "AttachmentCount", "ARN": "Arn"})


@policy.command("show")
@click.argument("name", metavar="POLICY")
@server_command
def show(name: str, connect: Connect) -> CommandResult:
    """Print the document of POLICY."""
    connection = connect()
    found, document = _current(connection, iam.policy_arn(connection, name))
    return CommandResult({**found, "Document": document}, lambda: click.echo(json.dumps(document, indent=2)))


def _current(connection: Connection, arn: str) -> tuple[iam.Row, dict[str, Any]]:
    """A policy, and the document of its default version."""
    answer = iam.one(connection, "GetPolicy", "Policy", PolicyArn=arn)
    which = {"PolicyArn": arn, "VersionId": answer["DefaultVersionId"]}
    return answer, iam.stored(connection, "GetPolicyVersion", "PolicyVersion/Document", **which)


@policy.command("create")
@click.argument("name")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--description", default="", metavar="TEXT", help="Purpose.")
@server_command
def create(name: str, file: TextIO, description: str, connect: Connect) -> CommandResult:
    """Create policy NAME with the document in FILE (- for stdin)."""
    text = iam.document_of(file)
    made = iam.one(
        connect(),
        "CreatePolicy",
        "Policy",
        PolicyName=name,
        PolicyDocument=text,
        Description=description,
    )
    return CommandResult(made, f"Created {made['Arn']}.")


@policy.command("update")
@click.argument("name", metavar="POLICY")
@click.argument("file", type=click.File(encoding="utf-8"))
@yes_option
@server_command
def update(name: str, file: TextIO, yes: bool, connect: Connect) -> CommandResult:
    """Give POLICY the document in FILE (- for stdin). Four former versions are kept.

    Shows the change and asks first.
    """
    text = iam.document_of(file)
    connection = connect()
    arn = iam.policy_arn(connection, name)
    _, stored = _current(connection, arn)
    if not agreed(f"Policy {arn}", stored, json.loads(text), why=iam.WHY_POLICY, yes=yes):
        return unchanged(f"Policy {arn}", policy_arn=arn)
    versions = list(iam.listed(connection, "ListPolicyVersions", "Versions/member", PolicyArn=arn))
    if len(versions) >= _MAX_VERSIONS:
        oldest = min(
            (v for v in versions if v["IsDefaultVersion"] != "true"), key=lambda v: int(v["VersionId"].lstrip("v"))
        )
        connection.iam("DeletePolicyVersion", PolicyArn=arn, VersionId=oldest["VersionId"])
    made = iam.one(
        connection, "CreatePolicyVersion", "PolicyVersion", PolicyArn=arn, PolicyDocument=text, SetAsDefault="true"
    )
    return CommandResult({**made, "PolicyArn": arn}, f"{arn} is at version {made['VersionId']}.")


@policy.command("rm")
@click.argument("name", metavar="POLICY")
@yes_option
@server_command
def remove(name: str, yes: bool, connect: Connect) -> CommandResult:
    """Delete POLICY, all its versions included. It must be attached to nothing."""
    confirmed(f"Delete policy {output.safe(name)}?", yes=yes)
    connection = connect()
    arn = iam.policy_arn(connection, name)
    for each in list(iam.listed(connection, "ListPolicyVersions", "Versions/member", PolicyArn=arn)):
        if each["IsDefaultVersion"] != "true":
            connection.iam("DeletePolicyVersion", PolicyArn=arn, VersionId=each["VersionId"])
    connection.iam("DeletePolicy", PolicyArn=arn)
    return done("deleted", f"Deleted {arn}.", policy_arn=arn)


# --- Lint


_RULE = "rule"
_KINDS = ("auto", "identity", "managed", "trust", "session", "guardrail", "resource", _RULE)
_SEVERITIES = ("error", "warning", "note")
_MAX_POLICIES = 1_000_000

Finding = dict[str, Any]
Linted = tuple[str, list[Finding]]
"""The place of the findings (a file, or an ARN and a policy's name), and the findings."""


@click.command()
@click.argument("files", nargs=-1, type=click.File(encoding="utf-8"))
@click.option("--kind", type=click.Choice(_KINDS), default="auto", show_default=True, help="Kind of the policies.")
@click.option(
    "--account", default="", metavar="ID", help="The account that the files are for; other accounts are then external."
)
@click.option("--role", default="", metavar="NAME", help="Ask the server about a trust policy for this role.")
@click.option("--stored", is_flag=True, help="Lint the policies on the server instead of files.")
@click.option(
    "--fail-on",
    type=click.Choice((*_SEVERITIES, "never")),
    default="warning",
    show_default=True,
    help="Exit with 1 if a finding has at least this severity.",
)
@click.option(
    "--output",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@server_connection
def lint(files: Sequence[TextIO], stored: bool, fail_on: str, form: str, connect: Connect, **given: str) -> int:
    """Lint policies and approval rules in FILES (- for stdin), without a server; or, with --stored, the policies of an account on the server.

    Each finding has an id, a severity, a place, the reason, and how to fix it. The ids are in the reference.
    """
    if stored == bool(files):
        raise click.UsageError("Name files, or --stored.")
    with output.working("linting"):
        if stored:
            found = list(_stored(connect, given["account"]))
        elif given["role"]:
            found = [(file.name, _lint_on_server(connect, text_of(file), given["role"])) for file in files]
        else:
            found = [(file.name, offline(text_of(file), given["kind"], given["account"])) for file in files]
    _PRINT[form](found)
    return _status((finding for _, findings in found for finding in findings), fail_on)


def _status(findings: Iterable[Finding], fail_on: str) -> int:
    if fail_on == "never":
        return exits.OK
    grave = _SEVERITIES[: _SEVERITIES.index(fail_on) + 1]
    return exits.FINDING if any(finding["severity"] in grave for finding in findings) else exits.OK


# --- Where findings come from ----------------------------------------------------------------------------------------


def offline(text: str, kind: str, account: str) -> list[Finding]:
    """Lints a document without a server."""
    from daypass.domain.access.lint import lint_rule
    from daypass.domain.policy.compiled import PolicyKind  # the policy language is slow to import
    from daypass.domain.policy.lint.grants import Facts
    from daypass.domain.policy.lint.run import lint_text

    guessed = _guessed(text) if kind == "auto" else kind
    if guessed == _RULE:
        return [finding.to_json() for finding in lint_rule(text, account)]
    chosen = PolicyKind(guessed)
    facts = Facts(account=account, accounts=frozenset({account} if account else ()))
    return [finding.to_json() for finding in lint_text(text, chosen, facts)]


def _guessed(text: str) -> str:
    """Guesses the kind of a document from its elements: principals make it a resource policy, and only those of roles have no
    resources. Approval rules have requesters.
    """
    try:
        body = json.loads(text)
        if "requesters" in body:
            return _RULE
        found = body["Statement"]
        statements = [found] if isinstance(found, dict) else found
        elements = {name for statement in statements for name in statement}
    except (ValueError, TypeError, KeyError, RecursionError):
        return "identity"  # the linter reports any fault
    if not elements & {"Principal", "NotPrincipal"}:
        return "identity"
    return "resource" if elements & {"Resource", "NotResource"} else "trust"


def _lint_on_server(connect: Connect, text: str, role: str) -> list[Finding]:
    body = {"document": text, "kind": "trust", "role": role}
    findings: list[Finding] = connect().api("POST", "/lint", body=body)["findings"]
    return findings


def _stored(connect: Connect, account: str) -> Iterator[Linted]:
    for linted in pages(connect(), "/lint", "policies", {"account": account}, _MAX_POLICIES):
        yield f"{linted['arn']} {linted['policy']}", linted["findings"]


# --- What is printed -------------------------------------------------------------------------------------------------


def _text(found: Sequence[Linted]) -> None:
    counted = dict.fromkeys(_SEVERITIES, 0)
    for where, findings in found:
        for finding in findings:
            counted[finding["severity"]] = counted.get(finding["severity"], 0) + 1
            place = f"{where}:{finding['line']}:{finding['column']}"
            output.prose(f"{output.safe(place)}: {output.safe(finding['severity'])}: {output.safe(finding['title'])}")
            output.prose(f"    {output.safe(finding['why'])}", indent=4)
            output.prose(f"    {output.safe(finding['fix'])} [{output.safe(finding['id'])}]")
    shown = ", ".join(output.counted(count, severity) for severity, count in counted.items() if count)
    click.echo(shown or "No findings.")


def _json(found: Sequence[Linted]) -> None:
    output.data([{"where": where, **finding} for where, findings in found for finding in findings])


def _sarif(found: Sequence[Linted]) -> None:
    output.data(report(found))


_PRINT = {"text": _text, "json": _json, "sarif": _sarif}


# --- Findings in the Static Analysis Results Interchange Format, as code hosts show them beside the lines


_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def report(found: Iterable[tuple[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """A log with one run. Findings are (where, finding as the linter gives it as JSON)."""
    results = [_result(where, finding) for where, findings in found for finding in findings]
    rules = {result["ruleId"]: result.pop("_title") for result in results}
    order = sorted(rules)
    for result in results:
        result["ruleIndex"] = order.index(result["ruleId"])
    driver = {
        "name": "daypass lint",
        "version": __version__,
        "rules": [_rule(rule, rules[rule]) for rule in order],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: str, title: str) -> dict[str, Any]:
    """A rule with the members that GitHub's code scanning asks for in addition to those of the standard."""
    help_text = f"{title}. Each result says why that matters there, and how to mend it."
    return {
        "id": rule,
        "shortDescription": {"text": title},
        "fullDescription": {"text": f"{title}."},
        "help": {"text": help_text},
    }


def _result(where: str, finding: dict[str, Any]) -> dict[str, Any]:
    region = {"startLine": finding["line"], "startColumn": finding["column"]}
    if (finding["end_line"], finding["end_column"]) > (finding["line"], finding["column"]):
        region |= {"endLine": finding["end_line"], "endColumn": finding["end_column"]}
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(where)}, "region": region}}
    if where.startswith("arn:"):  # nothing on disk: named as it is
        place = {"logicalLocations": [{"fullyQualifiedName": where}]}
    return {
        "ruleId": finding["id"],
        "level": finding["severity"],
        "message": {"text": f"{finding['why']} {finding['fix']}"},
        "locations": [place],
        "_title": finding["title"],
    }


def _uri(path: str) -> str:
    """A path as a relative reference, which code hosts resolve against the repository."""
    return quote(path.replace("\\", "/").removeprefix("./"))
