"""`daypass oncall`: who is on call by the schedules of approval rules."""

from __future__ import annotations

import json

import click

from daypass.cli.options import Connect, Group, account_option, server_command
from daypass.cli.results import Result, listing
from daypass.client.http import segment

_PATH = "/approval-rules"


@click.group(cls=Group)
def oncall() -> None:
    """Who is on call, by the schedules of approval rules."""


@oncall.command("ls")
@account_option
@server_command
def list_schedules(account: str, connect: Connect) -> Result:
    """List the rules that have a schedule."""
    rules = connect().api("GET", _PATH, {"account": account})["approval_rules"]
    found = [
        {"rule": rule["name"], "kind": schedule.get("kind", "icalendar"), "calendar": schedule["calendar"]}
        for rule in rules
        if (schedule := json.loads(rule["document"]).get("on_call"))
    ]
    return listing(found, ("RULE", "KIND", "CALENDAR"), lambda each: (each["rule"], each["kind"], each["calendar"]))


@oncall.command("show")
@click.argument("rule")
@account_option
@server_command
def show(rule: str, account: str, connect: Connect) -> Result:
    """Print the names and addresses that are on call now, by the schedule of RULE."""
    answer = connect().api("GET", f"{_PATH}/{segment(rule)}/on-call", {"account": account})
    return Result(answer, *(answer["people"] or ["Nobody is on call."]))
