"""`daypass request`: ask for access to roles, decide about requests of others, and end access."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

import click

from daypass.api import access_requests
from daypass.cli import output
from daypass.cli.argv import ROLE_TEXTS
from daypass.cli.described import add_commands
from daypass.cli.durations import left, moment_of
from daypass.cli.files import text_of
from daypass.cli.options import (
    PAGE,
    CommandGroup,
    CommandResult,
    Connect,
    Duration,
    Fields,
    Part,
    Table,
    WholeNumber,
    account_option,
    complete_roles,
    form_option,
    limit_option,
    listing,
    pages,
    reason_option,
    render,
    server_command,
    server_connection,
)
from daypass.cli.request import mfa_code_on_terminal, mfa_device
from daypass.client.credentials import role_arn
from daypass.client.errors import ClientError
from daypass.client.http import Connection, segment

_PATH = "/access-requests"
_id = click.argument("request_id")
_reason = click.option("--reason", required=True, metavar="TEXT", help="Why; it is shown to approvers and recorded.")
_STATES = ("draft", "pending", "approved", "denied", "expired", "cancelled", "claimed", "ended")


def mfa_options(command: Any) -> Any:
    """--mfa-serial and --mfa-code: a code for this call."""
    for name in ("--mfa-code", "--mfa-serial"):  # the last one is first in the help
        metavar, text = ROLE_TEXTS[name]
        command = click.option(name, default="", metavar=metavar, help=text)(command)
    return command


def mfa_body(connection: Connection, serial: str, code: str) -> dict[str, Any]:
    """The `mfa` member of a body: of --mfa-code, or what a person types if the profile names a device."""
    serial = mfa_device(connection.profile, serial, code)
    if not serial or not (code or output.interactive()):
        return {}
    return {"mfa": {"serial_number": serial, "token_code": code or mfa_code_on_terminal("This call", serial)}}


@click.group(cls=CommandGroup)
def request() -> None:
    """Requests for access to roles."""


def wanted(
    connection: Connection, roles: tuple[str, ...], given: Mapping[str, Any], policy: TextIO | None = None
) -> dict[str, Any]:
    """The body of a new request."""
    body: dict[str, Any] = {
        "roles": [role_arn(connection, role) for role in roles],
        "reason": given["reason"],
        "ticket": given["ticket"],
        **mfa_body(connection, given["mfa_serial"], given["mfa_code"]),
    }
    if given["duration"]:
        body["seconds"] = given["duration"]
    if policy is not None:
        body["policy"] = text_of(policy)
    return body


def new_request_options(command: Any) -> Any:
    """--reason, --ticket, --for and the options of MFA."""
    command = mfa_options(command)
    command = click.option("--ticket", default="", metavar="TEXT", help="The ticket, for example INC-42.")(command)
    command = click.option(
        "--for",
        "duration",
        type=Duration(),
        default=0,
        metavar="TIME",
        help="How long, from the first use: 30m, 1h. Default: that of the rule.",
    )(command)
    return _reason(command)


@request.command("create")
@click.argument("roles", nargs=-1, required=True, shell_complete=complete_roles)
@new_request_options
@click.option("--policy", type=click.File(encoding="utf-8"), help="File with a policy that narrows the access.")
@click.option("--start", default="", metavar="TIME", help="Not before: 2026-01-31T12:00:00Z, or +2h.")
@click.option("--uses", type=WholeNumber(1, 1000), help="End the access after this number of sessions.")
@click.option("--beneficiary", default="", metavar="ARN", help="Request it for this user, who must accept.")
@click.option(
    "--token", default="", metavar="TEXT", help="A repeated call with the same token makes no second request."
)
@click.option(
    "--break-glass", is_flag=True, help="Emergency access: no approver, an alert at once, a review afterwards."
)
@click.option("--new", is_flag=True, help="Make a new request, also when you have access that covers it.")
@click.option(
    "--confirm", default="", metavar="ROLE", help="With --break-glass: the name of the first role, as a confirmation."
)
@server_command
def create(roles: tuple[str, ...], policy: TextIO | None, connect: Connect, **given: Any) -> CommandResult:
    """Request access to ROLES (ARNs, or NAMES of your own account)."""
    connection = connect()
    body = wanted(connection, roles, given, policy)
    if given["start"]:
        body["starts_at"] = moment_of(given["start"], time.time())
    for option, member in (("uses", "max_uses"), ("beneficiary", "beneficiary"), ("token", "client_token")):
        if given[option]:
            body[member] = given[option]
    if given["break_glass"]:
        name, confirm = body["roles"][0].rpartition("/")[2], given["confirm"]
        if not confirm and output.interactive():
            confirm = click.prompt(
                f"Emergency access is recorded, alerted and reviewed. Type {name} to confirm", err=True
            )
        if confirm != name:
            raise click.UsageError(f"Confirm emergency access by the name of the first role: --confirm {name}")
        body |= {"break_glass": True, "confirmation": confirm}
    if not given["new"] and not given["token"]:
        body["reuse"] = True
    made = connection.api("POST", _PATH, body=body, repeatable=bool(given["token"]))
    if made.get("reused"):
        output.message("you have this access already; --new requests it again")
    elif body.get("reuse") and made["state"] == "pending" and not given["beneficiary"] and not given["start"]:
        _say_what_needs_no_request(connection, made)
    return request_result(made)


def _say_what_needs_no_request(connection: Connection, made: Mapping[str, Any]) -> None:
    try:
        assumable = connection.api("GET", "/roles/assumable", {"limit": str(PAGE)})["roles"]
    except ClientError:
        return  # the request is made; this is only advice
    for role in sorted({each["arn"] for each in assumable} & set(made["roles"])):
        name = output.safe(role.rpartition("/")[2])
        output.message(f"you may assume {name} now, without this request: daypass assume {name}")


@request.command("suggest")
@click.argument("action")
@click.argument("resource", default="*")
@server_command
def suggest(action: str, resource: str, connect: Connect) -> CommandResult:
    """List the roles that you may request for ACTION on RESOURCE (an ARN), least privileged first. Without RESOURCE:
    those that permit ACTION on every resource.
    """
    query = {"action": action, "resource": resource}
    suggestions = connect().api("GET", "/role-suggestions", query)["suggestions"]
    where = "every resource; name a RESOURCE to find roles for it" if resource == "*" else output.safe(resource)
    return listing(
        suggestions,
        ("ROLE", "APPROVAL", "GRANT", "BEYOND THE NEED"),
        lambda each: (
            last_part(each["role"]),
            _stages(each["stages"]),
            each["grant_id"],
            ", ".join(each["beyond"]) + (", …" if each["more"] else ""),
        ),
        empty=f"no role that you may request permits {output.safe(action)} on {where}",
    )


def _stages(number: int) -> str:
    return output.counted(number, "stage") if number else "automatic"


@request.command("ls")
@account_option
@click.option("--state", type=click.Choice(_STATES), default=None, help="Only those in this state.")
@click.option("--inbox", is_flag=True, help="Only those that wait for your vote.")
@click.option("--person", default="", help="Only those for this person: an ARN, or its last part.")
@limit_option
@server_command
def list_requests(
    account: str, state: str | None, inbox: bool, person: str, limit: int, connect: Connect
) -> CommandResult:
    """List access requests that concern you, or all of them if you may see them. Newest first, but those that wait for a
    decision oldest first.
    """
    query = {"account": account, "state": state or "", "approvable": "true" if inbox else "", "person": person}
    requests = pages(connect(), _PATH, "access_requests", query, limit)
    return listing(
        requests,
        ("REQUEST", "STATE", "REQUESTER", "ROLES", "RISK", "REASON"),
        lambda r: (
            r["id"],
            state_of(r),
            last_part(r["requester"]) + (f" of {last_part(r['principal'])}" if r.get("principal") else ""),
            ", ".join(map(last_part, r["roles"])),
            r["risk"],
            r["reason"],
        ),
    )


@request.command("show")
@_id
@click.option("--examine", is_flag=True, help="Also what it adds to the person's permissions, and earlier requests.")
@account_option
@server_command
def show(request_id: str, examine: bool, account: str, connect: Connect) -> CommandResult:
    """Show one access request, with its votes and grants."""
    path = f"{_PATH}/{segment(request_id)}" + ("/examination" if examine else "")
    answer = connect().api("GET", path, {"account": account})
    if not examine:
        return request_result(answer)
    return CommandResult(answer, *request_result(answer["access_request"]).text, *examination(answer))


@request.command("approve")
@_id
@reason_option
@click.option("--for", "duration", type=Duration(), default=0, metavar="TIME", help="Grant it for a shorter time.")
@click.option("--policy", type=click.File(encoding="utf-8"), help="File with a policy that narrows the access.")
@click.option("--binding", default="", metavar="DIGEST", help="Approve only this version of the request.")
@mfa_options
@account_option
@server_connection
@form_option
def approve(request_id: str, policy: TextIO | None, account: str, connect: Connect, form: str, **given: Any) -> int:
    """Approve an access request, exactly as it is shown. You cannot approve your own."""
    connection = connect()
    path, binding = f"{_PATH}/{segment(request_id)}", given["binding"]
    if not binding:
        seen = connection.api("GET", path, {"account": account})
        binding = seen["binding"]
        if form == "text":
            render(request_result(seen), form)
            if output.interactive() and seen["state"] == "pending":
                click.confirm("Approve this", abort=True, err=True)
    code = mfa_body(connection, given["mfa_serial"], given["mfa_code"])
    body: dict[str, Any] = {"binding": binding, "reason": given["reason"], **code}
    if given["duration"]:
        body["seconds"] = given["duration"]
    if policy is not None:
        body["policy"] = text_of(policy)
    after = connection.api("POST", f"{path}/approve", {"account": account}, body=body, repeatable=False)
    outcome = f"Recorded; still missing: {missing(after)}" if after["state"] == "pending" else "Approved."
    return render(CommandResult(after, outcome), form)


@request.command("deny")
@_id
@_reason
@mfa_options
@account_option
@server_command
def deny(request_id: str, reason: str, mfa_serial: str, mfa_code: str, account: str, connect: Connect) -> CommandResult:
    """Deny an access request, even if others approved it. Access that it gave ends, with its sessions."""
    connection = connect()
    path = f"{_PATH}/{segment(request_id)}"
    seen = connection.api("GET", path, {"account": account})
    body = {"reason": reason, "binding": seen["binding"], **mfa_body(connection, mfa_serial, mfa_code)}
    return _state(connection.api("POST", f"{path}/deny", {"account": account}, body=body))


def _state(after: Mapping[str, Any]) -> CommandResult:
    return CommandResult(after, f"The access request is {after['state']}.")


def _simple(name: str, text: str) -> Callable[..., None]:
    def act(request_id: str, connect: Connect) -> CommandResult:
        return _state(connect().api("POST", f"{_PATH}/{segment(request_id)}/{name}"))

    act.__doc__ = text
    command: Callable[..., None] = request.command(name)(_id(server_command(act)))
    return command


cancel = _simple("cancel", "Take back a request of yours that has not been used.")
done = _simple("done", "End the access of your request, with all its sessions.")


@request.command("accept")
@_id
@mfa_options
@server_command
def accept(request_id: str, mfa_serial: str, mfa_code: str, connect: Connect) -> CommandResult:
    """Accept a request that somebody made for you."""
    connection = connect()
    body = mfa_body(connection, mfa_serial, mfa_code)
    return _state(connection.api("POST", f"{_PATH}/{segment(request_id)}/accept", body=body))


@request.command("extend")
@_id
@_reason
@click.option("--for", "duration", type=Duration(), required=True, metavar="TIME", help="The additional time: 30m, 1h.")
@mfa_options
@server_command
def extend(
    request_id: str, reason: str, duration: int, mfa_serial: str, mfa_code: str, connect: Connect
) -> CommandResult:
    """Request more time for access that you have."""
    connection = connect()
    body = {"seconds": duration, "reason": reason, **mfa_body(connection, mfa_serial, mfa_code)}
    return request_result(connection.api("POST", f"{_PATH}/{segment(request_id)}/extend", body=body, repeatable=False))


add_commands(request, access_requests)


# --- Access request text


_MAX_ADDED = 200  # permissions that are shown; --output json has all


def last_part(arn: str) -> str:
    """A role or principal, short: what follows the last colon of its ARN."""
    return arn.partition(":")[2].rpartition(":")[2] or arn


def request_result(found: Mapping[str, Any]) -> CommandResult:
    """A request, with its votes and grants."""
    return CommandResult(found, Fields(_fields(found)), *map(_vote, found["votes"]), *map(_grant, found["grants"]))


def state_of(found: Mapping[str, Any]) -> str:
    """The state of a request or grant, and whether it gives nothing although it has not ended."""
    return f"{found['state']}, refused now" if found.get("refused") else str(found["state"])


def missing(found: Mapping[str, Any]) -> str:
    """The votes that a request still needs, by stage."""
    return ", ".join(f"{number} × {stage}" for stage, number in found["missing"].items())


def _fields(found: Mapping[str, Any]) -> dict[str, object]:
    return {
        "request": found["id"],
        "state": found["state"] + (f" ({found['end_reason']})" if found["end_reason"] else ""),
        "requester": found["requester"],
        "session of": found.get("principal", ""),
        "beneficiary": found["beneficiary"] if found["beneficiary"] != found["requester"] else "",
        "extends": found.get("extends", ""),
        "roles": ", ".join(found["roles"]),
        "reason": found["reason"],
        "ticket": found["ticket"],
        "duration": f"{left(found['seconds'])} from the first use",
        "not before": output.moment(found["starts_at"]),
        **_deadline(found),
        "risk": " ".join((f"{found['risk']} of 100.", *(reason["text"] for reason in found["risk_reasons"]))),
        "emergency": "yes, with a review afterwards" if found["break_glass"] else "",
        "missing": missing(found),
        "undecided": found.get("obstacle", "") or found.get("hint", ""),
        "refused now": " ".join(dict.fromkeys(found.get("refused", {}).values())),
    }


def _deadline(found: Mapping[str, Any]) -> dict[str, object]:
    """The deadline for a decision, or for the first use of a grant."""
    if found["state"] in ("draft", "pending"):
        return {"decide by": output.moment(found["deadline"])}
    if any(not (grant["ends_at"] or grant["ended_at"]) for grant in found["grants"]):
        return {"use by": output.moment(found["deadline"])}
    return {}


def _vote(vote: Mapping[str, Any]) -> str:
    verb = "approved" if vote["approve"] else "denied"
    void = f"; does not count: {vote['why']}" if vote["void"] else ""
    mfa = " with MFA" if vote["mfa_at"] else ""
    reason = f": {vote['reason']}" if vote["reason"] else ""
    at = output.moment(vote["at"])
    who = vote["approver"] + (f", a session of {vote['principal']}," if vote.get("principal") else "")
    return f"  {verb} by {who}{mfa} at {at}{_narrowing(vote)}{void}{reason}"


def _grant(grant: Mapping[str, Any]) -> str:
    automatic = "" if grant["approvers"] or grant["break_glass"] else ", approved automatically"
    return f"  grant {grant['id']} of {grant['role']}{automatic}: {_grant_state(grant)}"


def _narrowing(vote: Mapping[str, Any]) -> str:
    """The part of the request that an approver removed: time, or permissions."""
    shorter = f", for at most {left(vote['seconds'])}" if vote["seconds"] else ""
    return shorter + (", narrowed by a policy" if vote["policy"] else "")


def _grant_state(grant: Mapping[str, Any]) -> str:
    why = f" ({grant['end_reason']})" if grant["end_reason"] else ""
    uses = f", {grant['uses']} of {grant['max_uses']} sessions used" if grant["max_uses"] else ""
    if grant["ended_at"]:
        return f"{grant['state']} at {output.moment(grant['ended_at'])}{why}{uses}"
    until = f" until {output.moment(grant['ends_at'])}" if grant["ends_at"] else f" for {left(grant['seconds'])}"
    return f"{grant['state']}{until}{uses}"


def examination(found: Mapping[str, Any]) -> Iterator[Part]:
    """Warnings for an approver."""
    added = found["added"]
    yield ""
    if added is None:
        yield "The roles belong to another account: their permissions are not shown here."
    elif not added:
        yield "It adds nothing to the permissions of the person."
    else:
        rows = [
            (_action(each), ", ".join(each["resources"]), last_part(each["role"]), each["policy"])
            for each in added[:_MAX_ADDED]
        ]
        yield Table(("ADDS", "ON", "ROLE", "POLICY"), rows)
        if found["more"] or len(added) > _MAX_ADDED:
            yield "There are more than these."
    if found["history"]:
        yield ""
        earlier = [(output.moment(r["created_at"]), r["state"], r["risk"], r["reason"]) for r in found["history"]]
        yield Table(("EARLIER REQUEST", "STATE", "RISK", "REASON"), earlier)


def _action(added: Mapping[str, Any]) -> str:
    text = f"everything except {added['action']}" if added["excepted"] else added["action"]
    return f"{text} (partly)" if added["partly"] else str(text)
