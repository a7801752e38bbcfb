from __future__ import annotations

import json

import pytest
from tests.unit.client.servers import NOW, PROFILE, Clock, Script, as_json, error, parameters, result, xml

from daypass.client import http
from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError, Profile
from daypass.client.transport import CONNECT_SECONDS, ClientResponse, NoAnswer, endpoint_of

DONE = result("GetCallerIdentity", "<Arn>arn:x</Arn>")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_call_failing_for_a_while_is_repeated(status: int) -> None:
    server = Script(error("Busy", "later", status), error("Busy", "later", status), DONE)
    assert server.connection().sts("GetCallerIdentity").findtext("Arn") == "arn:x"
    assert server.clock.slept == [0.1, 0.2]


@pytest.mark.parametrize("status", [301, 400, 403, 404, 409, 501])
def test_call_refused_for_good_is_not_repeated(status: int) -> None:
    server = Script(error("No", "never", status))
    with pytest.raises(ClientError) as refused:
        server.connection().sts("GetCallerIdentity")
    assert (refused.value.code, refused.value.status, len(server.sent)) == ("No", status, 1)


def test_call_server_down_is_reported_within_two_seconds_with_its_address() -> None:
    server = Script(NoAnswer("connection refused", sent=False))
    with pytest.raises(
        ClientError, match=r"server at http://127.0.0.1:8700 does not answer: connection refused"
    ) as refused:
        server.connection().sts("GetCallerIdentity")
    assert refused.value.unavailable
    assert 1 < len(server.sent) < 7
    assert server.clock.now - NOW < 2


def test_call_server_down_is_tried_three_times_however_little_time_has_passed() -> None:
    server = Script(NoAnswer("connection refused", sent=False))
    connection = server.connection()
    connection.sleep = lambda _: None
    with pytest.raises(ClientError, match="connection refused"):
        connection.sts("GetCallerIdentity")
    assert len(server.sent) == 3


def test_call_server_that_accepts_no_connection_is_tried_once_for_the_connect_timeout() -> None:
    def silent(_: object) -> ClientResponse:
        server.clock.sleep(CONNECT_SECONDS)
        raise NoAnswer(f"no connection within {CONNECT_SECONDS} s", sent=False)

    server = Script(silent)
    with pytest.raises(ClientError, match="does not answer: no connection within"):
        server.connection().sts("GetCallerIdentity")
    assert len(server.sent) == 1
    assert server.clock.now - NOW < 2


def test_call_server_without_its_database_is_reported_at_once() -> None:
    server = Script(error("ServiceUnavailable", "The service is unavailable.", 503))
    with pytest.raises(ClientError, match="unavailable"):
        server.connection().sts("GetCallerIdentity")
    assert server.clock.now - NOW <= 1


def test_call_repeated_after_503_waits_for_a_slow_answer() -> None:
    def slow(_: object) -> ClientResponse:
        server.clock.sleep(5)
        return DONE

    server = Script(error("ServiceUnavailable", "The service is unavailable.", 503), slow)
    assert server.connection(deadline=20).sts("GetCallerIdentity").findtext("Arn") == "arn:x"
    assert server.seconds == [20, pytest.approx(19.9)]


def test_call_server_hanging_ends_at_the_total_deadline() -> None:
    server = Script(NoAnswer("no answer in time"), takes=8)
    with pytest.raises(ClientError):
        server.connection(deadline=20).sts("GetCallerIdentity")
    assert server.clock.now - NOW <= 20.2
    assert server.seconds[-1] < 4  # the last attempt has only what is left


def test_call_untrusted_certificate_is_not_repeated() -> None:
    server = Script(NoAnswer("its certificate is not trusted", sent=False, final=True))
    with pytest.raises(ClientError, match="not trusted"):
        server.connection().sts("GetCallerIdentity")
    assert len(server.sent) == 1


def test_api_unrepeatable_and_answer_lost_is_not_repeated() -> None:
    server = Script(NoAnswer("connection reset", sent=True), as_json({}))
    with pytest.raises(ClientError, match="may have acted on it"):
        server.connection().api("POST", "/accounts", body={}, repeatable=False)
    assert len(server.sent) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_api_unrepeatable_and_failed_is_not_repeated(status: int) -> None:
    server = Script(as_json({"error": {"code": "X", "message": "y"}}, status), as_json({}))
    with pytest.raises(ClientError):
        server.connection().api("POST", "/accounts", body={}, repeatable=False)
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    "step", [NoAnswer("connection refused", sent=False), as_json({"error": {"code": "Throttling", "message": ""}}, 429)]
)
def test_api_unrepeatable_and_surely_undone_is_repeated(step: ClientResponse | NoAnswer) -> None:
    server = Script(step, as_json({"id": "1"}, 201))
    assert server.connection().api("POST", "/accounts", body={}, repeatable=False) == {"id": "1"}


@pytest.mark.parametrize("message", ["Signature expired: …", "Signature not yet current: …"])
def test_call_our_clock_wrong_takes_the_servers_once(message: str) -> None:
    clock = Clock(NOW - 5 * 86_400)
    server = Script(error("SignatureDoesNotMatch", message, 403, date="Fri, 15 Jan 2027 08:00:00 GMT"), DONE)
    connection = server.connection(clock=clock)
    connection.sts("GetCallerIdentity")
    assert connection.offset == 5 * 86_400
    assert [r.headers["x-amz-date"][:8] for r in server.sent] == ["20270110", "20270115"]


def test_call_clock_still_wrong_after_correction_is_refused() -> None:
    server = Script(error("SignatureDoesNotMatch", "Signature expired: …", 403, date="Fri, 15 Jan 2027 08:00:00 GMT"))
    with pytest.raises(ClientError, match="Signature expired"):
        server.connection().sts("GetCallerIdentity")
    assert len(server.sent) == 2


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Jan 2027 08:00:00 GMT"])
def test_call_clock_wrong_and_no_date_is_refused(date: str) -> None:
    server = Script(error("SignatureDoesNotMatch", "Signature expired: …", 403, date=date))
    with pytest.raises(ClientError):
        server.connection().sts("GetCallerIdentity")
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><br></html>",
        b"\xff\xfe<\x00",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><R><XResult>&a;</XResult></R>",
        b"<!--" + b"x" * 5000 + b"--><!DOCTYPE x [<!ENTITY a 'b'>]><R><XResult>&a;</XResult></R>",
        "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE x><R><XResult/></R>".encode("utf-16"),
        b"<R><Other/></R>",
    ],
)
def test_sts_answer_not_ours_is_a_client_error(body: bytes) -> None:
    with pytest.raises(ClientError, match="the server's answer"):
        Script(ClientResponse(200, {}, body)).connection().sts("X")


@pytest.mark.parametrize("body", [b"<html>", b'{"a":', b"[" * 100_000, b"\xff"])
def test_api_answer_not_json_is_a_client_error(body: bytes) -> None:
    with pytest.raises(ClientError, match="not JSON"):
        Script(ClientResponse(200, {}, body)).connection().api("GET", "/x")


def test_api_answer_without_a_member_is_a_client_error() -> None:
    answer = Script(as_json({"other": [{"id": 1}]})).connection().api("GET", "/x")
    with pytest.raises(ClientError, match="has no 'roles'"):
        answer["roles"]
    with pytest.raises(ClientError, match="has no 'name'"):
        answer["other"][0]["name"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"error": "x"}'),
        ("application/json", b"[]"),
        ("application/json", b"[" * 100_000),
        ("text/html", b"<html><br>Bad Gateway"),
        ("text/xml", b"<ErrorResponse/>"),
        ("", b""),
    ],
)
def test_refusal_in_a_strange_form_shows_the_status(content_type: str, body: bytes) -> None:
    with pytest.raises(ClientError, match="HTTP status 418") as refused:
        Script(ClientResponse(418, {"content-type": content_type, "x-amzn-requestid": "r-9"}, body)).connection().sts(
            "X"
        )
    assert (refused.value.code, refused.value.request_id) == ("", "r-9")


def test_refusal_brings_code_request_id_and_encoded_message() -> None:
    body = {
        "error": {"code": "AccessDenied", "message": "no", "request_id": "r-2", "encoded_authorization_message": "abc"}
    }
    with pytest.raises(ClientError) as refused:
        Script(as_json(body, 403)).connection().api("GET", "/x")
    found = refused.value
    assert (found.code, found.message, found.request_id, found.encoded) == ("AccessDenied", "no", "r-2", "abc")


def test_a99_refusal_of_a_megabyte_is_cut() -> None:
    with pytest.raises(ClientError) as refused:
        Script(error("X" * 1_000_000, "y" * 1_000_000, 400)).connection().sts("X")
    assert len(refused.value.code) + len(refused.value.message) < 5000


def test_sts_parameters_take_the_query_protocols_form() -> None:
    server = Script(result("AssumeRole", ""))
    server.connection().sts(
        "AssumeRole", RoleArn="r", Policy="", Tags=[{"Key": "a", "Value": ""}], TransitiveTagKeys=["a"], Nothing=None
    )
    assert parameters(server.sent[0]) == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": "r",
        "Tags.member.1.Key": "a",
        "Tags.member.1.Value": "",
        "TransitiveTagKeys.member.1": "a",
    }


def test_api_segments_and_values_are_quoted() -> None:
    server = Script(as_json({}))
    server.connection().api("GET", f"/sessions/{http.segment('../x y?z')}", {"after": "a&b", "empty": ""})
    assert server.sent[0].target == "/api/v1/sessions/..%2Fx%20y%3Fz?after=a%26b"


def test_request_carries_the_key_id_and_never_the_secret() -> None:
    server = Script(DONE)
    server.connection().sts("GetCallerIdentity")
    assert PROFILE.access_key_id in server.sent[0].headers["Authorization"]
    assert PROFILE.secret_access_key not in repr(server.sent[0])


def test_secret_is_in_no_repr_and_no_error() -> None:
    server = Script(NoAnswer("connection refused"))
    connection = server.connection()
    with pytest.raises(ClientError) as refused:
        connection.sts("GetCallerIdentity")
    for shown in (repr(connection), repr(PROFILE), repr(refused.value), str(refused.value)):
        assert "top-secret" not in shown


@pytest.mark.parametrize(
    "url",
    ["", "ftp://h", "http://", "h:80", "http://h:x", "http://h:99999", "http://h:0", "http://u:p@h", "http://h/path",
     "http://h?q", "http://h#f", "http://[::1"],
)  # fmt: skip
def test_endpoint_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(LocalStateError):
        endpoint_of(url)
    with pytest.raises(LocalStateError):
        Connection(Profile(url, "a", "b")).sts("X")


@pytest.mark.parametrize("url", ["http://u:pa55@h", "http://u:pa55@h@h:80", "u:pa55@h", "http://u:pa55@h:x"])
def test_a371_password_in_an_endpoint_is_not_in_the_error(url: str) -> None:
    with pytest.raises(LocalStateError, match="…@h") as refused:
        endpoint_of(url)
    assert "pa55" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8700", "https://daypass.example.com", "http://[::1]:80/"])
def test_endpoint_of_the_form_is_taken(url: str) -> None:
    assert endpoint_of(url).hostname


def test_ca_bundle_absent_or_broken_is_a_local_failure(tmp_path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for bundle in (str(broken), str(tmp_path / "absent.pem")):
        with pytest.raises(LocalStateError, match="CA bundle"):
            Connection(Profile("https://127.0.0.1", "a", "b", ca_bundle=bundle)).sts("X")


def test_members_are_plain_json_again() -> None:
    assert json.loads(json.dumps(http.Members(a=http.Members(b=1)))) == {"a": {"b": 1}}


def test_xml_answer_over_namespaces_is_found() -> None:
    answer = xml('<a:XResponse xmlns:a="urn:a"><a:XResult><a:Arn>y</a:Arn></a:XResult></a:XResponse>')
    assert Script(answer).connection().sts("X").findtext("Arn") == "y"
