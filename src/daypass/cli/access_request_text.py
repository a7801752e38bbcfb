"""Access requests as text: a request with its votes and grants, and what an approver should know beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from daypass.cli import output
from daypass.cli.durations import left
from daypass.cli.options import Fields, Part, Result, Table

_MAX_ADDED = 200  # permissions that are shown; --output json has all


def last_part(arn: str) -> str:
    """A role or principal, short: what follows the last colon of its ARN."""
    return arn.partition(":")[2].rpartition(":")[2] or arn


def request_result(found: Mapping[str, Any]) -> Result:
    """A request, with its votes and grants."""
    return Result(found, Fields(_fields(found)), *map(_vote, found["votes"]), *map(_grant, found["grants"]))


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
