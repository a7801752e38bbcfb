"""The simulator, and the explanation of denials: the decision, and the statement that made it, in its policy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.pattern import fold
from daypass.operations.access.decode_authorization_message import decode_authorization_message
from daypass.operations.access.simulate import Simulated, SimulationRequest, simulate
from daypass.operations.record.explain_request import explain_request
from daypass.wire.console.iam import iam_part
from daypass.wire.console.visit import ConsoleVisit
from daypass.wire.http import Response

_read_members = msgspec.json.Decoder(dict[str, Any]).decode

_MAX_POLICIES: Final = 4  # that an explanation shows
_MAX_PAIRS: Final = 20
_MAX_MESSAGE: Final = 16_384


class ShownPolicy(NamedTuple):
    """A policy with the statements that decided. `statements`: (JSON, sid, highlighted)."""

    name: str
    statements: tuple[tuple[str, str, bool], ...]


class Explained(NamedTuple):
    """An explanation with the texts of the policies that decided."""

    explanation: Mapping[str, Any]
    policies: tuple[ShownPolicy, ...]


async def simulator(visit: ConsoleVisit) -> Response:
    """GET /console/simulator. Without an action, the empty form. A simulation changes nothing."""
    if not visit.value("action"):
        return _simulator_page(visit)
    try:
        request = _request(visit)
        answers = await visit.perform("daypass:SimulateAccess", simulate, request)
    except DaypassError as error:
        return _simulator_page(visit, problem=await visit.problem(error))
    given = {f"policy {number}": text for number, text in enumerate(request.policies, 1)}
    explained = [(answer, await _explained(visit, _read(answer.explanation), given)) for answer in answers]
    return _simulator_page(visit, answers=explained)


def _simulator_page(
    visit: ConsoleVisit, *, answers: list[tuple[Simulated, Explained | None]] | None = None, problem: str = ""
) -> Response:
    return visit.page("simulator", "Simulator", answers=answers or [], problem=problem, values=visit.values)


def _read(explanation: bytes) -> Mapping[str, Any] | None:
    """An explanation of the simulator; None when there is none."""
    return _read_members(explanation) if explanation else None


def _request(visit: ConsoleVisit) -> SimulationRequest:
    policy = visit.value("policy", 20_480)
    actions, resources = _words(visit.value("action")), _words(visit.value("resource")) or ["*"]
    if len(actions) * len(resources) > _MAX_PAIRS:
        raise DaypassError(
            ErrorKind.VALIDATION, f"A page shows at most {_MAX_PAIRS} actions times resources; the API takes more."
        )
    return SimulationRequest(
        actions=tuple(actions),
        resources=tuple(resources),
        principal=visit.value("principal"),
        policies=(policy,) if policy else (),
        context=dict(_context(visit.value("context", 8192))),
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


async def explain(visit: ConsoleVisit) -> Response:
    """GET /console/explain. `of`: the id of a denied request, or an encoded authorization message."""
    reference = visit.value("of", _MAX_MESSAGE)
    if not reference:
        return visit.page("explain", "Why was it denied?", reference="", explained=None, problem="")
    name = "sts:DecodeAuthorizationMessage"
    try:
        if len(reference) <= 64:
            explanation = await visit.perform(name, explain_request, reference)
        else:
            explanation = await visit.perform(name, decode_authorization_message, reference)
    except DaypassError as error:
        problem = await visit.problem(error)
        return visit.page("explain", "Why was it denied?", reference=reference, explained=None, problem=problem)
    explained = await _explained(visit, explanation, {})
    return visit.page("explain", "Why was it denied?", reference=reference, explained=explained, problem="")


# --- The policies ----------------------------------------------------------------------------------------------------


async def _explained(
    visit: ConsoleVisit, explanation: Mapping[str, Any] | None, given: Mapping[str, str]
) -> Explained | None:
    """`given`: texts of policies that are not stored, by name."""
    if explanation is None:
        return None
    marked: dict[tuple[str, str], set[int]] = {}
    for found in explanation.get("determining", ()):
        marked.setdefault((found["layer"], found["policy"]), set()).add(found["statement"])
    for layer in () if marked else explanation.get("layers", ()):  # nothing decided: the nearest statements are shown
        for statement in layer["statements"][:1]:
            marked.setdefault((layer["layer"], statement["policy"]), set()).add(statement["statement"])
    shown = []
    for (layer, name), numbers in list(marked.items())[:_MAX_POLICIES]:
        text = given.get(name) or await _text(visit, explanation, layer, name)
        if text:
            shown.append(ShownPolicy(name, tuple(_statements(text, numbers))))
    return Explained(explanation, tuple(shown))


def _statements(text: str, marked: set[int]) -> Iterator[tuple[str, str, bool]]:
    try:
        document = json.loads(text)
    except ValueError:
        return
    found = document.get("Statement", []) if isinstance(document, dict) else []
    for number, statement in enumerate(found if isinstance(found, list) else [found]):
        sid = statement.get("Sid", "") if isinstance(statement, dict) else ""
        yield json.dumps(statement, indent=2, ensure_ascii=False), str(sid), number in marked


async def _text(visit: ConsoleVisit, explanation: Mapping[str, Any], layer: str, name: str) -> str:
    """The text of a stored policy that the person may read; "" for any other."""
    if name == "trust":
        role = str(explanation.get("resource", "")).rpartition("/")[2]
        found = await iam_part(visit, "GetRole", RoleName=role)
        return unquote(found.value["Role"]["AssumeRolePolicyDocument"]) if found.value else ""
    if name.startswith("arn:"):
        policy = await iam_part(visit, "GetPolicy", PolicyArn=name)
        if policy.value is None:
            return ""
        version = policy.value["Policy"]["DefaultVersionId"]
        found = await iam_part(visit, "GetPolicyVersion", PolicyArn=name, VersionId=version)
        return unquote(found.value["PolicyVersion"]["Document"]) if found.value else ""
    if layer != "identity":
        return ""
    return await _inline(visit, str(explanation.get("principal", "")), name)


async def _inline(visit: ConsoleVisit, principal: str, name: str) -> str:
    kind, _, rest = principal.rpartition(":")[2].partition("/")
    if kind == "user":
        found = await iam_part(visit, "GetUserPolicy", UserName=rest.rpartition("/")[2], PolicyName=name)
    elif kind == "assumed-role":
        found = await iam_part(visit, "GetRolePolicy", RoleName=rest.partition("/")[0], PolicyName=name)
    elif kind == "role":
        found = await iam_part(visit, "GetRolePolicy", RoleName=rest.rpartition("/")[2], PolicyName=name)
    else:
        return ""
    return unquote(found.value["PolicyDocument"]) if found.value else ""
