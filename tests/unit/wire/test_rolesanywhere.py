"""The REST wire of Roles Anywhere: paths, parameters and JSON by the service model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.rolesanywhere.table import OPERATIONS
from daypass.wire.content import json_of
from daypass.wire.rolesanywhere import PATHS, RolesAnywhereEndpoint
from daypass.wire.rolesanywhere_model import load, segments_of, wire_error
from daypass.wire.routing import Route, Routes

ID = "0a1b2c3d-0000-4000-8000-000000000001"


def parse(method: str, path: str, content: Any = None, query: str = "") -> tuple[str, Any]:
    segments = segments_of(path.encode())
    operation = load().find(method, segments)
    raw = content if isinstance(content, bytes) else json.dumps(content).encode() if content is not None else b""
    return operation.name, operation.parse(segments, query.encode(), raw)


def refused(kind: ErrorKind, *arguments: Any) -> str:
    with pytest.raises(DaypassError) as caught:
        parse(*arguments)
    assert caught.value.kind is kind
    return caught.value.public


def test_every_operation_of_the_model_is_served_and_routed() -> None:
    assert set(load().operations) == set(OPERATIONS)
    endpoint: Any = RolesAnywhereEndpoint
    table = Routes(Route(path, endpoint, "") for path in PATHS)
    for operation in load().operations.values():
        assert table.find(f"/{'/'.join(operation.path)}".encode()) is not None


def test_find_tells_operations_apart_by_method_and_path() -> None:
    assert parse("GET", f"/trustanchor/{ID}") == ("GetTrustAnchor", {"trustAnchorId": ID})
    assert parse("DELETE", f"/trustanchor/{ID}") == ("DeleteTrustAnchor", {"trustAnchorId": ID})
    arn = f"arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/{ID}"
    quoted = arn.replace(":", "%3A").replace("/", "%2F")
    assert parse("POST", f"/trustanchor/{quoted}/disable") == ("DisableTrustAnchor", {"trustAnchorId": arn})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/trustanchor/"),
        ("GET", f"/trustanchor/{ID}/"),
        ("PUT", f"/trustanchor/{ID}"),
        ("GET", f"/trustanchor//{ID}"),
        ("GET", f"/trustanchorx/{ID}"),
        ("GET", f"/TRUSTANCHOR/{ID}"),
        ("POST", "/trustanchors/"),
        ("GET", "/trustanchor/%ff"),
        ("GET", "/"),
    ],
)
def test_find_of_any_other_path_is_refused(method: str, path: str) -> None:
    refused(ErrorKind.UNKNOWN_OPERATION, method, path)


def test_parse_takes_members_from_where_the_model_has_them() -> None:
    name, params = parse(
        "DELETE",
        f"/profiles/{ID}/mappings",
        {"certificateField": "x509SAN"},
        "certificateField=x509Subject&specifiers=CN&specifiers=OU",
    )
    assert name == "DeleteAttributeMapping"
    assert params == {"profileId": ID, "certificateField": "x509Subject", "specifiers": ["CN", "OU"]}
    assert parse("GET", "/profiles", None, "pageSize=7&nextToken=x") == (
        "ListProfiles",
        {"pageSize": 7, "nextToken": "x"},
    )
    _, params = parse("PATCH", f"/profile/{ID}", {"profileId": "other", "name": "n"})
    assert params == {"profileId": ID, "name": "n"}


def test_parse_passes_over_what_the_model_does_not_know_and_nulls() -> None:
    content = {"name": "n", "roleArns": [], "tags": None, "futureMember": {"a": [1]}}
    assert parse("POST", "/profiles", content)[1] == {"name": "n", "roleArns": []}


def test_parse_reads_blobs_as_bytes() -> None:
    anchor = f"arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/{ID}"
    content = {"name": "n", "crlData": "AAEC", "trustAnchorArn": anchor}
    assert parse("POST", "/crls", content)[1]["crlData"] == b"\x00\x01\x02"
    assert "'crlData'" in refused(ErrorKind.VALIDATION, "POST", "/crls", {**content, "crlData": "A A"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "2 validation errors detected: Value at 'name' failed to satisfy constraint: Member must not be null; "),
        (
            {"name": "n", "roleArns": "x"},
            "Value at 'roleArns' failed to satisfy constraint: Member must be of type list",
        ),
        ({"name": "n/", "roleArns": []}, "Value at 'name' failed to satisfy constraint: Member must satisfy regular"),
        ({"name": "", "roleArns": []}, "length greater than or equal to 1"),
        ({"name": "n", "roleArns": [], "durationSeconds": 899}, "value greater than or equal to 900"),
        ({"name": "n", "roleArns": [], "durationSeconds": 43201}, "value less than or equal to 43200"),
        ({"name": "n", "roleArns": [], "durationSeconds": 900.0}, "Member must be of type integer"),
        ({"name": "n", "roleArns": [], "durationSeconds": True}, "Member must be of type integer"),
        ({"name": "n", "roleArns": [], "enabled": 1}, "Member must be of type boolean"),
        ({"name": "n", "roleArns": [1]}, "Value at 'roleArns.1.member' failed"),
        ({"name": "n", "roleArns": [], "tags": [{"key": "a"}]}, "Value at 'tags.1.member.value' failed"),
        ({"name": "n", "roleArns": ["x"] * 251}, "length less than or equal to 250"),
        ({"name": "n\n", "roleArns": []}, "regular expression"),
    ],
)
def test_parse_names_the_member_and_the_constraint(content: dict[str, Any], told: str) -> None:
    assert told in refused(ErrorKind.VALIDATION, "POST", "/profiles", content)


@pytest.mark.parametrize(
    "raw",
    [b"{", b"[]", b"1", b'{"name":"a","name":"b"}', b'{"a":NaN}', b"\xff", b"[" * 100_000, '{"a":1}'.encode("utf-16")],
)
def test_parse_of_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    refused(ErrorKind.MALFORMED_REQUEST, "POST", "/profiles", raw)


def test_parse_of_twin_query_parameters_is_refused() -> None:
    refused(ErrorKind.MALFORMED_REQUEST, "GET", "/profiles", None, "pageSize=1&pageSize=2")
    refused(ErrorKind.MALFORMED_REQUEST, "GET", "/profiles", None, "nextToken=%ff")
    refused(ErrorKind.MALFORMED_REQUEST, "GET", "/profiles", None, "&".join(f"a{n}=1" for n in range(101)))
    refused(ErrorKind.VALIDATION, "GET", "/profiles", None, "pageSize=１")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "source", "sourceData", "tags", "key"]), inner)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["/trustanchors", "/profiles", "/crls", "/TagResource"]), _JSON)
def test_parse_of_any_json_is_parameters_or_a_refusal(path: str, content: Any) -> None:
    kinds = []
    try:
        parse("POST", path, content)
    except DaypassError as error:
        kinds.append(error.kind)
    assert set(kinds) <= {ErrorKind.VALIDATION, ErrorKind.MALFORMED_REQUEST}


def test_wire_error_knows_every_kind() -> None:
    for kind in ErrorKind:
        code, status = wire_error(kind)
        assert code.endswith("Exception")
        assert 400 <= status <= 503


def test_json_of_nothing_is_nothing() -> None:
    assert json_of(b"") is None
