"""`oncall`, over a scripted server."""

from __future__ import annotations

import json

import pytest
from tests.unit.client.servers import as_json

pytestmark = pytest.mark.usefixtures("key")


def rule(name: str, **document: object) -> dict[str, object]:
    return {"name": name, "document": json.dumps({"roles": ["role/prod"], **document})}


def test_oncall_ls_lists_rules_that_have_a_schedule(cli, serve) -> None:
    rules = [rule("plain"), rule("prod", on_call={"calendar": "ops.ics"})]
    serve(as_json({"approval_rules": rules}), as_json({"approval_rules": rules}))
    assert cli("oncall", "ls").out.splitlines()[1:] == ["prod  icalendar  ops.ics"]
    listed = json.loads(cli("oncall", "ls", "--output", "json").out)
    assert listed == [{"rule": "prod", "kind": "icalendar", "calendar": "ops.ics"}]


@pytest.mark.parametrize(
    ("people", "shown"), [(["ann", "l\x1b[31mee"], "ann\nl\\u001b[31mee\n"), ([], "Nobody is on call.\n")]
)
def test_oncall_show_prints_the_people_of_a_rule(cli, serve, people: list[str], shown: str) -> None:
    server = serve(as_json({"people": people}), as_json({"people": people}))
    assert cli("oncall", "show", "prod/eu").out == shown
    assert server.sent[0].target.startswith("/api/v1/approval-rules/prod%2Feu/on-call")
    assert json.loads(cli("oncall", "show", "prod", "--output", "json").out) == {"people": people}
