"""The simulator, and the explanation of denials: the decision, and the statement that made it, in its policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.plain import PlainStatement
from daypass.operations.access.simulate import Simulated, SimulationRequest, simulate
from daypass.operations.access.subject import decode_authorization_message
from daypass.operations.authorize import would_allow
from daypass.operations.management import arn_of
from daypass.operations.record.explore import EventFilter, RecordPage, explore
from daypass.operations.record.read import explain_request
from daypass.ports import RecordFilter
from daypass.wire.console.context import ConsoleContext, PagePart
from daypass.wire.console.iam import iam_part
from daypass.wire.console.policies import in_words
from daypass.wire.http import Response

_read_members = msgspec.json.Decoder(dict[str, Any]).decode

_APPROVED: Final = "daypass:approved"
_MAX_POLICIES: Final = 4  # that an explanation shows
_MAX_PAIRS: Final = 20
_LATEST: Final = 20  # refusals
_WHY: Final = "Why was it denied?"
_MAX_MESSAGE: Final = 16_384


class ShownPolicy(NamedTuple):
    """A policy with its statements in words, each with whether it decided."""

    name: str
    text: str
    statements: tuple[tuple[PlainStatement, bool], ...]


class Explained(NamedTuple):
    """An explanation with the texts of the policies that decided. `requestable`: an approved access request would allow it."""

    explanation: Mapping[str, Any]
    policies: tuple[ShownPolicy, ...]
    requestable: bool


async def simulator(ctx: ConsoleContext) -> Response:
    """GET /console/simulator. Without an action, the empty form. A simulation changes nothing."""
    if not ctx.value("action"):
        return _simulator_page(ctx)
    try:
        request = _request(ctx)
        answers = await ctx.perform("daypass:SimulateAccess", simulate, request)
    except DaypassError as error:
        return _simulator_page(ctx, problem=await ctx.problem(error))
    given = {f"policy {number}": text for number, text in enumerate(request.policies, 1)}
    explained = [(answer, await _explained(ctx, _read(answer.explanation), given)) for answer in answers]
    return _simulator_page(ctx, answers=explained)


def _simulator_page(
    ctx: ConsoleContext, *, answers: list[tuple[Simulated, Explained | None]] | None = None, problem: str = ""
) -> Response:
    return ctx.page("simulator", "Simulator", answers=answers or [], problem=problem, values=ctx.values)


def _read(explanation: bytes) -> Mapping[str, Any] | None:
    """An explanation of the simulator; None when there is none."""
    return _read_members(explanation) if explanation else None


def _request(ctx: ConsoleContext) -> SimulationRequest:
    policy = ctx.value("policy", 20_480)
    actions, resources = _words(ctx.value("action")), _words(ctx.value("resource")) or ["*"]
    if len(actions) * len(resources) > _MAX_PAIRS:
        raise DaypassError(
            ErrorKind.VALIDATION, f"A page shows at most {_MAX_PAIRS} actions times resources; the API takes more."
        )
    return SimulationRequest(
        actions=tuple(actions),
        resources=tuple(resources),
        principal=ctx.value("principal"),
        policies=(policy,) if policy else (),
        context=dict(_context(ctx.value("context", 8192))),
    )


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _context(text: str) -> Iterator[tuple[str, str]]:
    """Lines "key = value". Raises DaypassError(VALIDATION)."""
    for line in filter(None, map(str.strip, text.splitlines())):
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            raise DaypassError(ErrorKind.VALIDATION, "Each line of the context is: key = value")
        yield fold(key.strip()), value.strip()


async def explain(ctx: ConsoleContext) -> Response:
    """GET /console/explain. `of`: the id of a denied request, or an encoded authorization message."""
    reference = ctx.value("of", _MAX_MESSAGE)
    if not reference:
        return ctx.page("explain", _WHY, reference="", explained=None, problem="", latest=await _latest(ctx))
    name = "sts:DecodeAuthorizationMessage"
    try:
        if len(reference) <= 64:
            explanation = await ctx.perform(name, explain_request, reference)
        else:
            explanation = await ctx.perform(name, decode_authorization_message, reference)
    except DaypassError as error:
        problem = await ctx.problem(error)
        return ctx.page("explain", _WHY, reference=reference, explained=None, problem=problem, latest=PagePart())
    explained = await _explained(ctx, explanation, {})
    return ctx.page("explain", _WHY, reference=reference, explained=explained, problem="", latest=PagePart())


async def _latest(ctx: ConsoleContext) -> PagePart[RecordPage]:
    """The newest refusals, for those who may read the record; nothing for others."""
    resource = arn_of(ctx.call.caller.account, "audit", "*")
    if not all(await would_allow(ctx.env, ctx.call, [("daypass:ReadAudit", resource)])):
        return PagePart()
    query = RecordFilter(error=ErrorKind.ACCESS_DENIED.value, changes=True, limit=_LATEST)
    refused = EventFilter(decision="refused")
    return await ctx.attempt("daypass:ReadAudit", explore, query, refused)


# --- The policies ----------------------------------------------------------------------------------------------------


async def _explained(
    ctx: ConsoleContext, explanation: Mapping[str, Any] | None, given: Mapping[str, str]
) -> Explained | None:
    """`given`: texts of policies that are not stored, by name."""
    if explanation is None:
        return None
    marked: dict[tuple[str, str], set[int]] = {}
    for found in explanation.get("determining", ()):
        marked.setdefault((found["layer"], found["policy"]), set()).add(found["statement"])
    for layer in () if marked else explanation.get("layers", ()):  # nothing decided: the nearest statements are shown
        for statement in layer["statements"][:1] if layer["verdict"] == "implicit_deny" else ():
            marked.setdefault((layer["layer"], statement["policy"]), set()).add(statement["statement"])
    policies = []
    for (layer, name), numbers in list(marked.items())[:_MAX_POLICIES]:
        text = given.get(name) or await _text(ctx, explanation, layer, name)
        if text:
            words = await in_words(ctx, text, PolicyKind.TRUST if name == "trust" else PolicyKind.IDENTITY) or ()
            shown = tuple((statement, at in numbers) for at, statement in enumerate(words))
            policies.append(ShownPolicy(name, text, shown))
    return Explained(explanation, tuple(policies), not explanation["allowed"] and _asks_for_approval(explanation))


def _asks_for_approval(explanation: Mapping[str, Any]) -> bool:
    statements = (statement for layer in explanation.get("layers", ()) for statement in layer["statements"])
    conditions = (condition for statement in statements for condition in statement["conditions"])
    return any(condition["key"].lower() == _APPROVED and not condition["held"] for condition in conditions)


async def _text(ctx: ConsoleContext, explanation: Mapping[str, Any], layer: str, name: str) -> str:
    """The text of a stored policy that the person may read; "" for any other."""
    if name == "trust":
        role = str(explanation.get("resource", "")).rpartition("/")[2]
        part = await iam_part(ctx, "GetRole", RoleName=role)
        return unquote(part.value["Role"]["AssumeRolePolicyDocument"]) if part.value else ""
    if name.startswith("arn:"):
        policy = await iam_part(ctx, "GetPolicy", PolicyArn=name)
        if policy.value is None:
            return ""
        version = policy.value["Policy"]["DefaultVersionId"]
        part = await iam_part(ctx, "GetPolicyVersion", PolicyArn=name, VersionId=version)
        return unquote(part.value["PolicyVersion"]["Document"]) if part.value else ""
    if layer != "identity":
        return ""
    return await _inline(ctx, str(explanation.get("principal", "")), name)


async def _inline(ctx: ConsoleContext, principal: str, name: str) -> str:
    kind, _, rest = principal.rpartition(":")[2].partition("/")
    if kind == "user":
        part = await iam_part(ctx, "GetUserPolicy", UserName=rest.rpartition("/")[2], PolicyName=name)
    elif kind == "assumed-role":
        part = await iam_part(ctx, "GetRolePolicy", RoleName=rest.partition("/")[0], PolicyName=name)
    elif kind == "role":
        part = await iam_part(ctx, "GetRolePolicy", RoleName=rest.rpartition("/")[2], PolicyName=name)
    else:
        return ""
    return unquote(part.value["PolicyDocument"]) if part.value else ""
