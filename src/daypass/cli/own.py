"""`daypass browser`, and what a person has and may request: commands about the caller."""

from __future__ import annotations

from typing import Any

import click

from daypass.cli import output
from daypass.cli.access_request_text import state_of
from daypass.cli.options import Connect, Part, Result, Table, server_command


@click.command("own")
@server_command
def own_access(connect: Connect) -> Result:
    """Show your grants and your open requests."""
    answer = connect().api("GET", "/own-access")
    grants = [(g["role"], g["state"], output.moment(g["ends_at"]), g["request_id"]) for g in answer["grants"]]
    listed = {g["request_id"] for g in answer["grants"]}
    requests = [
        (", ".join(r["roles"]), state_of(r), "", r["id"]) for r in answer["access_requests"] if r["id"] not in listed
    ]
    empty = "you have no granted access and no open request. For roles that you may request: daypass request roles"
    return Result(answer, Table(("ROLE", "STATE", "UNTIL", "REQUEST"), [*grants, *requests], empty), *waiting(answer))


def waiting(own: dict[str, Any]) -> list[Part]:
    """What an approver is told, wherever it shows its own access."""
    number = len(own.get("waiting") or ())
    return [f"\n{output.counted(number, 'request')} for your decision: daypass request ls --inbox"] if number else []
