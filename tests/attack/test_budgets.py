"""Attacks by the largest requests that are read on the event loop: their parsing has a budget in steps (A227, A228),
and few of them are read at once (A236).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests import saml_idp
from tests.attack.installation import ALPHA, BETA, EVERYTHING, ROOT, ROOT_OF_BETA, Answer, Installation, Key, trust
from tests.cost import least_cpu_seconds
from tests.oauth_client import api
from tests.sign_in import site_with_pages

from daypass.audit import read
from daypass.domain import authzen as questions
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.errors import DaypassError
from daypass.domain.policy_bundle import BUCKETS
from daypass.domain.session import FeedPosition
from daypass.domain.strict_json import read_json
from daypass.operations.access import evaluate_access, policy_bundle, search_access
from daypass.operations.access.evaluate_access import SLICE
from daypass.operations.access.policy_bundle import PolicyBundles
from daypass.operations.sessions import list_sessions
from daypass.ports import Call
from daypass.scheduling.buckets import Slices
from daypass.wire.api import MAX_VALUES
from daypass.wire.aws import dispatch
from daypass.wire.content import pairs_of
from daypass.wire.endpoints import access

FORM = [(b"host", b"daypass.test"), (b"content-type", b"application/x-www-form-urlencoded")]
FORM_PATHS = ("/oauth2/token", "/oauth2/par", "/oauth2/authorize", "/login/password", "/saml/acs", "/device/code")
SUBJECT = {"type": "user", "id": "caller"}
QUESTION = {"subject": SUBJECT, "action": {"name": "s3:GetObject"}, "resource": {"type": "s3", "id": "bucket/key"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("budgets")) as made:
        yield made


@pytest.fixture(scope="module")
def nobody(site: Installation) -> Key:
    """A user without any permission."""
    return site.user("nobody")[1]


@pytest.fixture(scope="module")
def caller(site: Installation) -> Key:
    return site.user("caller", ROOT, EVERYTHING)[1]


def recorded(site: Installation, answer: Answer, error: str) -> None:
    (record,) = site.records(answer.request_id)
    assert record["error"] == error


def calls_of(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[tuple[Any, ...]]:
    """The arguments of each call of a function of a module or class from now on, in order."""
    made: list[tuple[Any, ...]] = []
    function = getattr(owner, name)

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(owner, name, counted)
    return made


def authzen(site: Installation, key: Key, path: str, content: Any) -> Answer:
    body, path = json.dumps(content).encode(), f"/access/v1/{path}"
    headers = site.signed(key, body, "daypass", path=path, extra={"content-type": "application/json"})
    return site.send("POST", headers, body, path=path.encode())


@pytest.mark.parametrize("path", FORM_PATHS)
@pytest.mark.parametrize("part", [b"%", b"%zz", b"%4"])
def test_a227_form_of_bad_escapes_is_refused(site: Installation, path: str, part: bytes) -> None:
    answer = site.send("POST", FORM, b"a=" + part * (250_000 // len(part)), path=path.encode())
    assert answer.status == 400
    recorded(site, answer, "malformed_request")


def test_a227_signed_form_of_bad_escapes_is_refused(site: Installation, nobody: Key) -> None:
    body = b"Action=ListRoles&Version=2010-05-08&a=" + b"%zz" * 340_000
    answer = site.send("POST", site.signed(nobody, body, "iam"), body)
    assert answer.status == 400
    recorded(site, answer, "malformed_request")


@pytest.mark.parametrize(("part", "text"), [(b"%41", "A"), (b"%c3%A9", "\u00e9"), (b"%zz", "")])
def test_a227_escapes_of_a_form_cost_little_more_than_other_characters(part: bytes, text: str) -> None:
    """Nobody can make a server call Python for each of them. That took a hundred times as long as other characters."""
    most = 1_000_000 // len(part)
    escaped = b"a=" + part * most

    def read() -> object:
        try:
            return pairs_of(escaped, 1)
        except DaypassError:
            return [("a", "")]

    assert read() == [("a", text * most)]
    assert least_cpu_seconds(read, 5) < 12 * least_cpu_seconds(lambda: pairs_of(b"a=+" + b"b" * 1_000_000, 1), 5)


def test_create_saml_provider_with_the_metadata_of_many_claims_is_served(site: Installation, caller: Key) -> None:
    claim = (
        '<a:Attribute xmlns:a="urn:oasis:names:tc:SAML:2.0:assertion" Name="http://schemas.example.org/ws/claims/{}" '
        'NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:uri" FriendlyName="A name"/>'
    )
    end = "</md:IDPSSODescriptor>"
    metadata = saml_idp.metadata().replace(end, "".join(claim.format(n) for n in range(2_700)) + end)
    form = {"Action": "CreateSAMLProvider", "Version": "2010-05-08", "Name": "a", "SAMLMetadataDocument": metadata}
    body = urlencode(form).encode()
    assert body.count(b"%") > 65_536
    assert site.send("POST", site.signed(caller, body, "iam"), body).status == 200


@pytest.mark.parametrize(
    "content",
    [
        {"actions": ["s3:x"], "context": {"a": [1] * MAX_VALUES}},
        {"actions": ["s3:x"], "context": {f"{n:x}": 1 for n in range(MAX_VALUES)}},
        {f"{n:x}": 1 for n in range(MAX_VALUES + 1)},
        [[]] * (MAX_VALUES + 1),
    ],
)
def test_a227_body_of_the_api_with_too_many_values_is_refused_without_a_fault_for_each(
    site: Installation, nobody: Key, content: Any
) -> None:
    answer = api(site, "POST", "/simulate", content, nobody)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "MalformedInput")
    recorded(site, answer, "malformed_request")


@pytest.mark.parametrize("query", ["a=%zz", "a=%", "a=%ff", "&".join(["a="] * 1_001)])
def test_query_of_the_api_that_is_not_well_formed_is_refused(site: Installation, nobody: Key, query: str) -> None:
    answer = api(site, "GET", f"/access-requests?{query}", key=nobody)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "MalformedInput")
    recorded(site, answer, "malformed_request")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/simulate", {"actions": ["s3:x"], "context": {f"{n:x}": 1 for n in range(101)}}),
        ("/simulate", {"actions": ["s3:x"], "assumption": {"tags": {f"{n:x}": 1 for n in range(51)}}}),
        ("/audit/tail", {"cursor": {f"{n:x}": "no" for n in range(5001)}}),
    ],
)
def test_a227_object_with_too_many_members_is_one_fault(
    site: Installation, nobody: Key, path: str, content: Any
) -> None:
    answer = api(site, "POST", path, content, nobody)
    message = json.loads(answer.body)["error"]["message"]
    assert answer.status == 400
    assert "it must have at most" in message
    assert ";" not in message
    recorded(site, answer, "validation")


def test_a227_count_of_values_includes_those_of_nested_objects_and_arrays() -> None:
    text = '{"a": [1, 2, {"b": null}]}'
    assert read_json(text, 5)
    with pytest.raises(ValueError, match="too many values"):
        read_json(text, 4)


@pytest.mark.parametrize("kind", ["subject", "resource", "action"])
@pytest.mark.parametrize(
    "context", [{f"k{n}": "x" for n in range(201)}, {"k": ["x"] * 1_001}, {"aws:PrincipalArn": "x"}, {"a b": "x"}]
)
def test_a228_search_with_a_context_that_cannot_be_read_is_refused(
    site: Installation, caller: Key, kind: str, context: Any
) -> None:
    answer = authzen(site, caller, f"search/{kind}", {**QUESTION, "context": context})
    assert answer.status == 400, answer.body
    recorded(site, answer, "validation")


@pytest.mark.parametrize("name", ["context", "subject"])
def test_a228_members_that_a_thousand_questions_share_are_read_once(
    site: Installation, caller: Key, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read = calls_of(monkeypatch, questions, "_keys_of")
    shared = {f"k{n}": ["x"] * 4 for n in range(190)}
    given = shared if name == "context" else {**SUBJECT, "properties": shared}
    answer = authzen(site, caller, "evaluations", {**QUESTION, name: given, "evaluations": [{}] * 1_000})
    assert (answer.status, len(json.loads(answer.body)["evaluations"])) == (200, 1_000)
    assert len(read) == 1


def test_a228_too_many_values_of_one_question_deny_that_question_alone(site: Installation, caller: Key) -> None:
    wrong = {"context": {"k": {"n": ["x"] * 1_000}}}
    answer = authzen(site, caller, "evaluations", {**QUESTION, "evaluations": [{}, wrong, {}]})
    first, second, third = json.loads(answer.body)["evaluations"]
    assert (first["decision"], second["decision"], third["decision"]) == (True, False, True)
    assert "at most 1000 values" in second["context"]["error"]["message"]


def test_a236_batch_of_a_thousand_questions_takes_a_turn_for_each_slice(
    site: Installation, caller: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = calls_of(monkeypatch, Slices, "turn")
    answer = authzen(site, caller, "evaluations", {**QUESTION, "evaluations": [{}] * 1000})
    assert answer.status == 200
    assert [account for _, account in turns].count(ALPHA) == 2 + 2 * (1000 // SLICE)  # to read the body, to answer


def test_a236_search_takes_a_turn_for_each_slice(
    site: Installation, caller: Key, nobody: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    del nobody  # one of the users that are found
    monkeypatch.setattr(search_access, "SLICE", 1)
    turns = calls_of(monkeypatch, Slices, "turn")
    question = {"subject": SUBJECT, "action": {"name": "iam:GetUser"}, "resource": {"type": "iam"}}
    found = json.loads(authzen(site, caller, "search/resource", question).body)["results"]
    assert len(turns) >= len(found) - 1 >= 1


def test_a309_list_of_assumable_roles_takes_a_turn_for_each_slice(
    site: Installation, caller: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_sessions, "SLICE", 1)
    for name in ("first", "second", "third"):
        site.role(name, trust(f"arn:aws:iam::{ALPHA}:root"))
    turns = calls_of(monkeypatch, Slices, "turn")
    path = "/api/v1/roles/assumable"
    headers = site.signed(caller, b"", "daypass", path=path, method="GET")
    answer = site.send("GET", headers, path=path.encode())
    assert answer.status == 200, answer.body
    assert [account for _, account in turns].count(ALPHA) >= 2


def test_a310_answer_of_a_list_is_written_in_a_turn(
    site: Installation, caller: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = calls_of(monkeypatch, Slices, "turn")
    body = b"Action=ListUsers&Version=2010-05-08"
    assert site.send("POST", site.signed(caller, body, "iam"), body).status == 200
    assert not turns  # a short one
    monkeypatch.setattr(dispatch, "MANY", 0)
    assert site.send("POST", site.signed(caller, body, "iam"), body).status == 200
    assert [account for _, account in turns] == [ALPHA]


def test_a311_list_of_many_sessions_ends_early_and_its_pages_show_each_once(
    site: Installation, caller: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = site.role("many-sessions", trust(f"arn:aws:iam::{ALPHA}:root"))
    for number in range(5):
        assert site.call(caller, "AssumeRole", {"RoleArn": role, "RoleSessionName": f"s{number}"}).status == 200
    monkeypatch.setattr(access, "MAX_SESSIONS", 2)
    monkeypatch.setattr(read, "_STEP", 2)
    found: list[str] = []
    after, path = "", "/api/v1/sessions"
    while after or not found:
        query = urlencode(sorted({"limit": "1000", "after": after}.items()))
        headers = site.signed(caller, b"", "daypass", method="GET", path=path, query=query)
        page = json.loads(site.send("GET", headers, path=path.encode(), query=query.encode()).body)
        assert len(page["sessions"]) <= 2
        found += [each["session_id"] for each in page["sessions"]]
        after = page["next"]
    assert len(found) == len(set(found)) >= 5


def test_a236_batch_of_a_thousand_questions_writes_only_what_its_event_contains(
    site: Installation, caller: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = calls_of(monkeypatch, evaluate_access, "question_shown")
    assert authzen(site, caller, "evaluations", {**QUESTION, "evaluations": [{}] * 1000}).status == 200
    assert len(written) == 20


def test_a305_large_batch_is_not_read_before_those_that_its_account_has_begun(
    site: Installation, caller: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = calls_of(monkeypatch, Slices, "begin")
    content = {**QUESTION, "evaluations": [{"context": {"a": "b" * 100}}] * 100}
    assert authzen(site, caller, "evaluations", content).status == 200
    assert [account for _, account in begun] == [ALPHA]


@pytest.mark.parametrize("path", ["/oauth2/token", "/", "/api/v1/simulate", "/scim/v2/Users"])
def test_a236_large_body_takes_a_turn_before_anything_reads_it(
    site: Installation, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    turns = calls_of(monkeypatch, Slices, "begin")
    assert site.send("POST", FORM, b"a=" + b"b" * 100_000, path=path.encode()).status >= 400
    assert [account for _, account in turns] == ["127.0.0.1"]


def test_a642_bundle_of_policies_is_made_in_turns_and_keeps_no_other_account_waiting(
    site: Installation, caller: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, turns = site.user("caller", ROOT_OF_BETA, EVERYTHING)[1], calls_of(monkeypatch, Slices, "turn")
    bundles, builds, real = PolicyBundles(), list[str](), policy_bundle._build

    async def build(env: Any, call: Call, service: str, seen: Any) -> Any:
        builds.append(call.caller.account)
        if service == "slow":  # the other account's is made meanwhile
            assert (await bundle(ROOT_OF_BETA, "orders")).policies
        return await real(env, call, service, seen)

    async def bundle(key: Key, service: str) -> Any:
        view = await site.runtime.env.directory.access_key(key[0])
        assert view is not None
        kind, account, arn, principal_id, name = view.holder.identity
        who = Caller(kind, account, arn, arn, principal_id, principal_id, name, key[0], FeedPosition("", 0), ())
        return await bundles.get(site.runtime.env, Call(who, RequestFacts("r", 0, "", "", ""), site.now()), service, "")

    monkeypatch.setattr(policy_bundle, "_build", build)
    assert len(site.run(bundle(caller, "slow")).buckets) == BUCKETS
    assert len(turns) > 2 * BUCKETS
    for number in range(30):
        site.run(bundle(caller, f"service-{number}"))
    site.run(bundle(other, "orders"))
    assert builds.count(BETA) == 1  # what ALPHA asked for has not driven it out
    site.user("another", ROOT, EVERYTHING)
    site.run(bundle(other, "orders"))
    assert builds.count(BETA) == 1  # nor does a change of ALPHA make it anew
    site.user("another", ROOT_OF_BETA, EVERYTHING)
    site.run(bundle(other, "orders"))
    assert builds.count(BETA) == 2
