"""Whatever is sent to the operations of X.509 sessions is answered in their protocol's form, recorded, and never fails.

`DAYPASS_FUZZ=20` makes twenty times as many requests.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from tests.attack.installation import (
    ALPHA,
    EVERYTHING,
    ROOT,
    ROOT_OF_BETA,
    Answer,
    Installation,
    Key,
    document,
    installed,
)
from tests.attack.junk import HOSTILE
from tests.x509 import Authority, sign

from daypass.domain.events import decode

pytestmark = pytest.mark.slow

SEASONS = 6 * int(os.environ.get("DAYPASS_FUZZ", "1"))
ROUNDS = 6
SEED = int(os.environ.get("DAYPASS_FUZZ_SEED", "2026"))
MODEL = ServiceModel(Loader().load_service_model("rolesanywhere", "service-2"), "rolesanywhere")
ODD: tuple[Any, ...] = (*HOSTILE, None, True, 0, -1, 1.5, 10**30, [], {}, [None], ["x"] * 300, {"": ""}, [[[]]])
JSON = {"content-type": "application/json"}
Names = dict[str, list[Any]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("fuzzed")) as made:
        yield made


class Caller:
    """Sends operations as the model lays them out."""

    def __init__(self, site: Installation, seed: int, names: Names) -> None:
        self.site, self.rng, self.names = site, random.Random(seed), names

    def values(self, shape: Shape | None, wrong: float) -> dict[str, Any]:
        """The members of a request, some of them odd."""
        rng, made = self.rng, {}
        for name, member in shape.members.items() if shape is not None else ():
            if name in shape.required_members or rng.random() < 0.5:
                made[name] = rng.choice(ODD) if rng.random() < wrong else self._value(name, member)
        return made

    def _value(self, name: str, shape: Shape) -> Any:
        rng = self.rng
        if name in self.names:
            return rng.choice(self.names[name])
        if shape.type_name == "structure":
            return {below: self._value(below, member) for below, member in shape.members.items()}
        if shape.type_name == "list":
            return [self._value(f"{name}[]", shape.member) for _ in range(rng.choice((0, 1, 2)))]
        if shape.type_name == "map":
            return {"a": "b"}
        if shape.type_name in ("integer", "long"):
            return rng.choice((1, 20, 900, 3600))
        if shape.type_name == "boolean":
            return rng.random() < 0.5
        return rng.choice(getattr(shape, "enum", None) or ["a", "plant", "hosts"])

    async def send(self, key: Key, operation: OperationModel, values: dict[str, Any]) -> Answer:
        members = operation.input_shape.members if operation.input_shape is not None else {}
        path, query, left = operation.http["requestUri"], [], {}
        for name, value in values.items():
            rule = members[name].serialization
            text = value if isinstance(value, str) else json.dumps(value)
            if rule.get("location") == "uri":
                path = path.replace(f"{{{rule['name']}}}", quote(text, safe="", errors="replace"))
            elif rule.get("location") == "querystring":
                query.append((rule["name"], text))
            else:
                left[rule.get("name", name)] = value
        told = urlencode(query, errors="replace", quote_via=quote)
        body = json.dumps(left).encode() if left else b""
        method = operation.http["method"]
        headers = self.site.signed(
            key, body, "rolesanywhere", method=method, path=path, query=told, extra=JSON, region="us-east-1"
        )
        return await self.site.ask(method, headers, body, path=path.encode(), query=told.encode())


def cast(site: Installation, season: int) -> tuple[list[Key], Names]:
    """Who calls, and what there is: an anchor, a profile and a list, each with its names."""
    _, alice = site.user(f"alice-{season}", policy=EVERYTHING)
    _, bob = site.user(f"bob-{season}")
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    trusting = document({"Principal": {"Service": "rolesanywhere.amazonaws.com"}, "Action": actions})
    role = site.role(f"host-{season}", trusting)
    plant = Authority.make()
    crl = base64.b64encode(plant.crl(7)).decode()
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": plant.pem}}
    caller = Caller(site, 0, {})

    def made(operation: str, noun: str, **values: Any) -> dict[str, Any]:
        answer = site.run(caller.send(ROOT, MODEL.operation_model(operation), values))
        assert answer.status in (200, 201), answer.body
        found: dict[str, Any] = json.loads(answer.body)[noun]
        return found

    anchor = made("CreateTrustAnchor", "trustAnchor", name="plant", source=source, enabled=True)
    profile = made("CreateProfile", "profile", name="hosts", roleArns=[role], enabled=True)
    listed = made("ImportCrl", "crl", name="list", crlData=crl, trustAnchorArn=anchor["trustAnchorArn"])
    arns = [anchor["trustAnchorArn"], profile["profileArn"], listed["crlArn"]]
    held = {"profile": arns[1], "role": role, "anchor": arns[0]}
    asked = json.dumps(
        {f"{name}Arn": held[key] for name, key in (("profile", "profile"), ("role", "role"), ("trustAnchor", "anchor"))}
    )
    headers = sign(plant.host(at=datetime.fromtimestamp(site.now() / 1000, UTC)), asked.encode(), site.now())
    given = site.send("POST", headers, asked.encode(), path=b"/sessions")
    assert given.status == 201, given.body
    names: Names = {
        "trustAnchorId": [*[anchor["trustAnchorId"]] * 3, "0" * 36],
        "profileId": [*[profile["profileId"]] * 3, "0" * 36],
        "crlId": [*[listed["crlId"]] * 3, "0" * 36],
        "subjectId": [*[json.loads(given.body)["subjectArn"].rpartition("/")[2]] * 3, "0" * 36],
        "resourceArn": [*arns, f"arn:aws:rolesanywhere:us-east-1:{ALPHA}:trust-anchor/x"],
        "trustAnchorArn": [arns[0]],
        "roleArns": [[role], [role], [role, role], []],
        "source": [source],
        "crlData": [crl, crl, crl[:80], ""],
        "sessionPolicy": [EVERYTHING, EVERYTHING, "{"],
        "managedPolicyArns": [[], ["arn:aws:iam::aws:policy/ReadOnlyAccess"], [], ["x"]],
        "tags": [[], [{"key": "a", "value": "b"}], [{"key": "a", "value": "b"}, {"key": "A", "value": "c"}], []],
        "tagKeys": [["a"], []],
        "nextToken": ["AAAA"],
    }
    return [ROOT, ROOT, alice, bob, ROOT_OF_BETA], names


def message(answer: Answer) -> str:
    """The text of a refusal."""
    return str(json.loads(answer.body)["message"])


def test_every_operation_is_served_or_refused_in_form_whatever_is_in_it(site: Installation) -> None:
    operations = [name for name in MODEL.operation_names if name != "CreateSession"]
    kinds: dict[int, int] = {}
    asked: set[str] = set()
    served: set[str] = set()

    async def one(caller: Caller, key: Key, name: str) -> None:
        operation = MODEL.operation_model(name)
        values = caller.values(operation.input_shape, caller.rng.choice((0.0, 0.0, 0.1, 0.5)))
        answer = await caller.send(key, operation, values)
        said = (name, str(values)[:1000], answer.status, answer.body[:500])
        assert answer.status < 500, said
        assert answer.status < 300 or message(answer), said
        kinds[answer.status] = kinds.get(answer.status, 0) + 1
        if answer.status != 413:  # nobody is known by then, and nothing of it is read
            asked.add(answer.request_id)
        if answer.status < 300:
            served.add(name)

    async def some(caller: Caller, keys: list[Key], names: list[str]) -> None:
        await asyncio.gather(*(one(caller, caller.rng.choice(keys), name) for name in names))

    for season in range(SEASONS):
        keys, names = cast(site, season)
        caller = Caller(site, SEED + season, names)
        for _ in range(ROUNDS):
            caller.rng.shuffle(operations)
            for at in range(0, len(operations), 16):
                site.run(some(caller, keys, operations[at : at + 16]))
    assert asked <= {decode(data).get("request_id") for data in site.record_bytes()}
    assert site.log.getvalue() == ""
    unserved = sorted(set(operations) - served)
    assert len(unserved) < len(operations) * 0.2, unserved
    assert {400, 403, 404} <= set(kinds), kinds
