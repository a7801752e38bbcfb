"""Reads the bodies of AuthZEN requests. Members that the API does not define are ignored, as it demands.

Source: OpenID AuthZEN Authorization API 1.0, 5 to 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from daypass.domain.authzen import Entity, Evaluation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import read_json
from daypass.operations.access.evaluate_access import MAX_QUESTIONS, Answer, Semantic, unreadable
from daypass.operations.access.search_access import MAX_LIMIT
from daypass.wire.http import Request, media_type

_JSON: Final = b"application/json"
_USUAL_LIMIT: Final = 100
_MAX_CURSOR: Final = 4096


class Evaluations(NamedTuple):
    """A request to evaluate. `single`: its answer is one decision, not a list. `reasons`: None for the default."""

    questions: list[Evaluation | Answer]
    single: bool
    semantic: Semantic = Semantic.EXECUTE_ALL
    reasons: bool | None = None


class Search(NamedTuple):
    """A search. `after`: the cursor of the previous page."""

    question: Evaluation
    after: str
    limit: int


def body_of(request: Request) -> Mapping[str, Any]:
    """The JSON object in the body. Raises DaypassError(MALFORMED_REQUEST)."""
    if media_type(request.headers) != _JSON:
        raise _malformed("The media type of the body must be application/json.")
    try:
        body = read_json(request.body)
    except ValueError as error:
        raise _malformed(f"The body cannot be read: {error}.") from None
    if not isinstance(body, dict):
        raise _malformed("The body must be a JSON object.")
    return body


def evaluation(body: Mapping[str, Any]) -> Evaluations:
    """One evaluation. Raises DaypassError(MALFORMED_REQUEST)."""
    question = _question(body, {})
    if isinstance(question, Answer):
        raise _malformed(question.error)
    return Evaluations([question], True, reasons=_reasons(body))


def evaluations(body: Mapping[str, Any]) -> Evaluations:
    """Several evaluations with common defaults; without any, it is a single one (AuthZEN, 7.1)."""
    items = body.get("evaluations")
    if items is None or items == []:
        return evaluation(body)
    if not isinstance(items, list):
        raise _malformed("evaluations must be an array.")
    if len(items) > MAX_QUESTIONS:  # before any of them is read or paid for
        raise _malformed(f"A request may contain at most {MAX_QUESTIONS} evaluations.")
    named = _object(body, "options").get("evaluations_semantic", Semantic.EXECUTE_ALL)
    if named not in tuple(Semantic):
        raise _malformed(f"options.evaluations_semantic must be one of: {', '.join(Semantic)}.")
    questions = [
        _question(item, body) if isinstance(item, dict) else unreadable("an evaluation must be an object")
        for item in items
    ]
    return Evaluations(questions, False, Semantic(named), _reasons(body))


def subject_search(body: Mapping[str, Any]) -> Search:
    """A search of subjects: `subject.id` is ignored. Raises DaypassError(MALFORMED_REQUEST)."""
    return _search({**body, "subject": {**_object(body, "subject"), "id": "*"}}, body)


def resource_search(body: Mapping[str, Any]) -> Search:
    """A search of resources: `resource.id` is ignored. Raises DaypassError(MALFORMED_REQUEST)."""
    return _search({**body, "resource": {**_object(body, "resource"), "id": "*"}}, body)


def action_search(body: Mapping[str, Any]) -> Search:
    """A search of actions: `action` is ignored. Raises DaypassError(MALFORMED_REQUEST)."""
    return _search({**body, "action": {"name": "*"}}, body)


def _search(whole: Mapping[str, Any], body: Mapping[str, Any]) -> Search:
    question = _question(whole, {})
    if isinstance(question, Answer):
        raise _malformed(question.error)
    page = _object(body, "page")
    after, limit = page.get("token", ""), page.get("limit", _USUAL_LIMIT)
    if not isinstance(after, str) or len(after) > _MAX_CURSOR:
        raise _malformed("page.token must be a string of the previous response.")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise _malformed("page.limit must be a positive integer.")
    return Search(question, after, min(limit, MAX_LIMIT))


def _question(item: Mapping[str, Any], defaults: Mapping[str, Any]) -> Evaluation | Answer:
    """A question. A member of `item` replaces the default as a whole, but for a `type` or `id` that it lacks."""
    try:
        subject, resource = (_entity(item, defaults, name) for name in ("subject", "resource"))
        action = _member(item, defaults, "action")
        name = _text(action, "action", "name")
        context = item["context"] if "context" in item else defaults.get("context")
        if context is None:
            context = {}
        if not isinstance(context, dict):
            raise ValueError("context must be an object")  # noqa: TRY004  # the text is wrong, not a type
        return Evaluation(subject, name, resource, _properties(action, "action"), context)
    except ValueError as error:
        return unreadable(str(error))


def _entity(item: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> Entity:
    own, usual = _member(item, defaults, name), defaults.get(name)
    if isinstance(usual, dict):
        own = {**{key: usual[key] for key in ("type", "id") if key in usual}, **own}
    return Entity(_text(own, name, "type"), _text(own, name, "id"), _properties(own, name))


def _member(item: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = item[name] if name in item else defaults.get(name)
    if found is None:
        raise ValueError(f"{name} is missing")
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be an object")  # noqa: TRY004  # as above
    return found


def _text(member: Mapping[str, Any], name: str, key: str) -> str:
    found = member.get(key)
    if found is None:
        raise ValueError(f"{name}.{key} is missing")
    if not isinstance(found, str) or not found:
        raise ValueError(f"{name}.{key} must be a string that is not empty")
    return found


def _properties(member: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = member.get("properties")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{name}.properties must be an object")  # noqa: TRY004  # as above
    return found


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _malformed(f"{name} must be an object.")
    return found


def _reasons(body: Mapping[str, Any]) -> bool | None:
    found = _object(body, "options").get("reasons")
    if found is not None and not isinstance(found, bool):
        raise _malformed("options.reasons must be true or false.")
    return found


def _malformed(message: str) -> DaypassError:
    return DaypassError(ErrorKind.MALFORMED_REQUEST, message[:1].upper() + message[1:])
