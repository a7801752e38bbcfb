"""`daypass review`: reviews that have to follow emergency access."""

from __future__ import annotations

import click

from daypass.cli import output
from daypass.cli.access_request_text import last_part
from daypass.cli.options import Connect, Group, account_option, limit_option, pages, server_command
from daypass.cli.results import Result, listing
from daypass.client.http import segment


@click.group(cls=Group)
def review() -> None:
    """Reviews of emergency access."""


@review.command("ls")
@account_option
@click.option("--all", "every", is_flag=True, help="Also those that are closed.")
@limit_option
@server_command
def list_reviews(account: str, every: bool, limit: int, connect: Connect) -> Result:
    """List the reviews that are open, oldest first."""
    query = {"account": account, "every": "true" if every else ""}
    reviews = pages(connect(), "/access-reviews", "access_reviews", query, limit)
    return listing(
        reviews,
        ("REQUEST", "OPENED", "WHO", "ROLES", "REASON", "CLOSED", "BY", "FINDING"),
        lambda r: (
            r["id"],
            output.moment(r["opened_at"]),
            last_part(r["beneficiary"]),
            ", ".join(map(last_part, r["roles"])),
            r["reason"],
            output.moment(r["closed_at"]),
            last_part(r["closed_by"]),
            r["finding"],
        ),
    )


@review.command("close")
@click.argument("request_id")
@click.option("--finding", required=True, metavar="TEXT", help="What the review found; for the record.")
@account_option
@server_command
def close(request_id: str, finding: str, account: str, connect: Connect) -> Result:
    """Close the review of access request REQUEST_ID. The person who had the access cannot."""
    path = f"/access-reviews/{segment(request_id)}/close"
    closed = connect().api("POST", path, {"account": account}, body={"finding": finding})
    return Result(closed, f"The review of {output.safe(closed['id'])} is closed.")
