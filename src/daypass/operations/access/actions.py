"""The actions that a policy can name, with what each does, for people who write policies.

The names are those in AWS's managed policies, and Daypass's own. AWS's service models describe them: a model is read when
an action of its service is first shown. All of it is public, so it needs no permission. It runs as heavy work, because a
model takes up to 100 ms.
"""

from __future__ import annotations

import gzip
import html
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from operator import attrgetter
from pkgutil import iter_modules
from typing import Any, Final, NamedTuple

from daypass import api
from daypass.api.operation import Operation
from daypass.operations import heavy
from daypass.ports import Call, Env, Scene

_ACTION: Final = re.compile(r'"([a-z0-9-]+:[A-Za-z0-9]+)"(?!\s*:)')  # not the key of a condition
_FACT: Final = re.compile(r'"(endpointPrefix|signingName|serviceFullName)":\s*"([^"]*)"')
_TAG: Final = re.compile(r"<(note|important)>.*?</\1>|<[^>]*>", re.DOTALL)
_PERFORMS: Final = {
    "lambda:invokefunction": "invoke",
    "s3:listbucket": "listobjectsv2",
    "s3:listallmybuckets": "listbuckets",
}
"""Operations whose actions have another name."""
_PERMISSIONS: Final = {
    "daypass:breakglass": "Takes a role in an emergency, without an approver.",
    "iam:passrole": "Passes a role to a service.",
    "sts:setsourceidentity": "Sets the source identity of a session when a role is assumed.",
    "sts:tagsession": "Passes session tags when a role is assumed.",
}
"""Actions that no operation has."""
_SENTENCE: Final = re.compile(r".+?(?<!e\.g)(?<!i\.e)[.!?](?=\s|$)")
_SHOWN: Final = 50
_SERVICES: Final = 8
_OPENED: Final = 3
"""Services whose models one question opens."""
_LONGEST: Final = 200
_known: list[str] = []


class Described(NamedTuple):
    """An action or, with a colon at its end, the prefix of a service. `text`: one sentence, or the name of the service."""

    value: str
    text: str


async def find_actions(env: Env, call: Call, part: str) -> list[Described]:
    """The services and actions with `part` in their names, those that begin with it first."""
    return await heavy.read(env, call, _found, part.lower())


async def describe_actions(env: Env, call: Call, actions: Sequence[str]) -> list[Described]:
    """Descriptions of these actions. An action that no model describes is left out."""
    return await heavy.read(env, call, _of_actions, tuple(actions[:_SHOWN]))


def _found(scene: Scene, part: str) -> list[Described]:
    if not _known:  # read once in each process: it takes 200 ms
        named = {action for text in scene.builtin.values() for action in _ACTION.findall(text)}
        own = {f"daypass:{name}" for name in _own()}
        spelled = {
            each.lower(): each for each in sorted(named | own, reverse=True)
        }  # AWS's policies spell some in two ways
        _known.extend(sorted(each for each in spelled.values() if not each.startswith(("aws:", "arn:"))))
    matching = sorted(
        (each for each in _known if part in each.lower()), key=lambda each: not each.lower().startswith(part)
    )
    prefixes = dict.fromkeys(each.partition(":")[0] for each in _known) if ":" not in part else {}
    services = [each for each in prefixes if part in each or part in name_of(each).lower()][:_SERVICES]
    shown = [Described(f"{each}:", name_of(each)) for each in sorted(services, key=lambda each: (each != part, each))]
    return [*shown, *_described(matching[:_SHOWN])] if part else shown


def _of_actions(_: Scene, actions: Sequence[str]) -> list[Described]:
    return [each for each in _described(actions) if each.text]


def _described(actions: Sequence[str]) -> Iterator[Described]:
    opened: set[str] = set()
    for action in actions:
        prefix, _, name = action.partition(":")
        if len(opened) < _OPENED:
            opened.add(prefix)
        yield Described(
            action,
            _PERMISSIONS.get(action.lower())
            or (prefix in opened and _sentences(prefix).get(_PERFORMS.get(action.lower(), name.lower())))
            or name_of(prefix),
        )


# --- Service models


@lru_cache(maxsize=1)
def _services() -> Mapping[str, tuple[str, tuple[Traversable, ...]]]:
    """The prefix of each service's actions: its name, and the models with its operations. Reads the head of each model."""
    found: dict[str, tuple[str, tuple[Traversable, ...]]] = {}
    for folder in sorted((files("botocore") / "data").iterdir(), key=attrgetter("name")):
        versions = sorted(folder.iterdir(), key=attrgetter("name")) if folder.is_dir() else ()
        model = versions[-1] / "service-2.json.gz" if versions else None
        if model is None or not model.is_file():
            continue
        with model.open("rb") as packed:
            head = zlib.decompressobj(31).decompress(packed.read(1200), 3000).decode("utf-8", "replace")
        facts = dict(_FACT.findall(head))
        prefix = facts.get("signingName") or facts.get("endpointPrefix", folder.name)
        for each in {prefix, folder.name}:
            name, models = found.get(each, ("", ()))
            found[each] = (
                facts.get("serviceFullName", "") if each == folder.name or not name else name,
                (*models, model),
            )
    return found


def name_of(prefix: str) -> str:
    """The name of a service by the prefix of its actions; "" when it has none."""
    return "Daypass" if prefix == "daypass" else _services().get(prefix, ("", ()))[0]


@lru_cache(maxsize=32)
def _sentences(prefix: str) -> Mapping[str, str]:
    """The description of each action of a service, by its name in lower case."""
    if prefix == "daypass":
        return {name.lower(): _first_sentence(text) for name, text in _own().items()}
    found: dict[str, str] = {}
    for model in _services().get(prefix, ("", ()))[1]:
        operations: Mapping[str, Any] = json.loads(gzip.decompress(model.read_bytes()))["operations"]
        for name, about in operations.items():
            found.setdefault(name.lower(), _first_sentence(about.get("documentation", "")))
    return found


def _first_sentence(text: str) -> str:
    plain = " ".join(html.unescape(_TAG.sub(" ", text)).split())
    sentence = _SENTENCE.match(plain)
    shown = sentence[0] if sentence else plain
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST].rpartition(' ')[0]} …"


@lru_cache(maxsize=1)
def _own() -> Mapping[str, str]:
    """Daypass's own operations with their summaries."""
    described = (vars(import_module(f"daypass.api.{each.name}")).values() for each in iter_modules(api.__path__))
    return {each.name: each.summary for members in described for each in members if isinstance(each, Operation)}
