"""One gate: every operation of every wire asks the evaluator, also one that needs no permission. A session whose policy is
`Deny *` is refused everything, apart from a list of exceptions, each with its reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote, urlencode

import pytest
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.serialize import create_serializer
from msgspec.structs import replace
from tests.attack.installation import ALPHA, Answer, Installation, Key, document
from tests.attack.test_other_accounts import BODIES, name_in
from tests.browser import forms
from tests.console import fill
from tests.directory_service import PATCH, USER, directory_of
from tests.oauth import ACCESS_TOKEN, AWS, FORM, bearer, exchange, refusal
from tests.oauth_client import api
from tests.sign_in import allowed, members, redeemed, signed_in, site_with_pages, target, user, web_client, with_device
from tests.unit.domain.test_session_payload import PLAIN

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import IDENTITY_ONLY
from daypass.operations.assume.forms import AWS_FORM
from daypass.operations.iam.service import OPERATIONS as IAM
from daypass.operations.rolesanywhere.table import OPERATIONS as ROLES_ANYWHERE
from daypass.wire.aws.sts import STS_OPERATIONS as STS
from daypass.wire.endpoints.table import OPERATIONS as MANAGEMENT

DENY: Final = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})
EXEMPT: Final[Mapping[str, str]] = {
    "sts:GetCallerIdentity": "AWS: no permission is needed, and an explicit deny has no effect",
    "sts:GetSessionToken": "AWS: policies do not control it; only a long-term key may call it, and its user's policies apply",
    "sts:AssumeRoleWithSAML": "it has no caller: the assertion is the proof, and the role's trust policy decides",
    "sts:AssumeRoleWithWebIdentity": "it has no caller: the token is the proof, and the role's trust policy decides",
    "daypass:GetCallerSession": "the form of GetCallerIdentity for sessions: it says what the session token contains",
}
VALUES: Final[Mapping[str, str]] = {
    "UserName": "ann",
    "RoleName": "prod-orders",
    "GroupName": "engineers",
    "PolicyArn": f"arn:aws:iam::{ALPHA}:policy/none",
    "PolicyDocument": DENY,
    "AssumeRolePolicyDocument": document(
        {"Principal": {"AWS": f"arn:aws:iam::{ALPHA}:root"}, "Action": "sts:AssumeRole"}
    ),
    "RoleArn": f"arn:aws:iam::{ALPHA}:role/prod-orders",
    "OpenIDConnectProviderArn": f"arn:aws:iam::{ALPHA}:oidc-provider/token.example",
    "SAMLProviderArn": f"arn:aws:iam::{ALPHA}:saml-provider/none",
    "Arn": f"arn:aws:iam::{ALPHA}:user/ann",
    "PolicySourceArn": f"arn:aws:iam::{ALPHA}:user/ann",
    "VersionId": "v1",
    **dict.fromkeys(("subjectId", "trustAnchorId", "profileId", "crlId"), "00000000-0000-0000-0000-000000000000"),
    "clusterName": "prod",
    "token": "e30.e30.x",
    "ServiceNamespace": "s3",
    "SigningAlgorithm": "ES384",
}


class Walker(NamedTuple):
    """A user of the account with recent MFA and every permission, and a session of it whose policy denies everything."""

    site: Installation
    name: str
    session: Key

    def served(self, answer: Answer) -> list[str]:
        """The operations that a request has performed, as the record says."""
        records = self.site.records(answer.request_id)
        assert records, answer.body
        return [record["operation"] for record in records if "error" not in record]

    def judged(self, answer: Answer, operation: str, about: Any) -> None:
        """The session was refused by a policy, and the record says so; unless the operation is exempt."""
        served = self.served(answer)
        if operation not in EXEMPT:
            assert (served, answer.status) == ([], 403), (operation, about, answer.body)
            assert {record["error"] for record in self.site.records(answer.request_id)} == {"access_denied"}


@pytest.fixture(scope="module")
def walker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walker]:
    with site_with_pages(tmp_path_factory.mktemp("gate")) as site:
        fill(ALPHA, site.iam, lambda method, path, body: members(api(site, method, path, body)))
        _, key = site.user("eve", policy=document({"Action": "*", "Resource": "*"}))
        code = with_device(site, "eve")
        mfa = {"SerialNumber": f"arn:aws:iam::{ALPHA}:mfa/eve", "TokenCode": code.at(site.now() // 1000)}
        session = site.call(key, "GetSessionToken", mfa).key
        assert api(site, "POST", "/recovery-codes", key=session).status == 201  # the MFA is recent
        yield Walker(site, "eve", site.call(session, "GetScopedCredentials", {"Policy": DENY}).key)


QUERIES: Final[Mapping[str, str]] = {
    "/access/policy-bundle": "?service=orders",
    "/access/what-can": "?principal=user/eve",
    "/access/who-can": "?action=s3:GetObject&resource=*",
    "/audit/summary": "?since=1&until=2",
    "/consents": "?person=eve",
    "/find": "?text=orders",
    "/measurements": "?since=1&until=2",
    "/role-suggestions": "?action=s3:GetObject&resource=*",
}
MORE_BODIES: Final[Mapping[str, Any]] = {
    "/access-requests": {"roles": [VALUES["RoleArn"]], "reason": "a good reason"},
    "/accounts": {"name": "third"},
    "/certificates": {
        "kind": "ssh-user",
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINgqk0R1gjZzAjVK1jC7VdUuP2sHGfvlUHjbyNNjAyP7",
        "names": ["eve"],
    },
    "/clients": {"name": "mine", "settings": {}},
    "/grants/end-for-ticket": {"ticket": "OPS-1"},
    "/issuers/allowed": {"issuers": []},
    "/jwt-svids": {"audiences": ["https://orders.example"]},
    "/lint": {"document": DENY},
    "/offboardings": {"user": "ann"},
    "/pod-identity-associations": {
        "subject": "prod/shop/orders",
        "role": "prod-orders",
        "issuer": "https://k8s.example",
    },
    "/revocations": {"subject": "session", "value": "0" * 32},
    "/scim-tokens": {"name": "mine", "user": "eve"},
    "/simulate": {"actions": ["s3:GetObject"]},
    "/trust/test": {"role": VALUES["RoleArn"], "token": "e30.e30.x"},
}


def test_session_that_denies_everything_is_refused_every_operation_of_the_management_api(walker: Walker) -> None:
    for method, path, name in ((each.method, each.path, each.name) for each in MANAGEMENT):
        values = {"name": name_in(path), "account_id": ALPHA, "seq": "1"}
        filled = re.sub(r"\{([^}]*)\}", lambda found: quote(values.get(found[1], "0" * 32), safe=""), path)  # noqa: B023
        body = {**BODIES, **MORE_BODIES}.get(path, {}) if method in ("POST", "PUT") else None
        answer = api(walker.site, method, filled + QUERIES.get(path, ""), body, key=walker.session)
        walker.judged(answer, f"daypass:{name}", (method, path))


def example(shape: Shape, name: str = "") -> Any:
    """A value of a shape of a service model, with its required members alone."""
    if name in VALUES:
        return VALUES[name]
    match shape.type_name:
        case "structure":
            required = shape.required_members or list(shape.members)[:1] if name else shape.required_members
            return {each: example(shape.members[each], each) for each in required}
        case "list":
            return [example(shape.member, name.removesuffix("s"))]
        case "map":
            return {"k": "v"}
        case "integer" | "long":
            return max(int(shape.metadata.get("min", 0)), 900 if "Duration" in name else 1)
        case "boolean":
            return True
        case "blob":
            return b"x"
        case "timestamp":
            return "2026-01-01T00:00:00Z"
        case _:
            return shape.enum[0] if shape.enum else "1" * max(int(shape.metadata.get("min", 0)), 6)


def operations(service: str, served: Any) -> list[OperationModel]:
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    return [model.operation_model(name) for name in model.operation_names if name in served]


@pytest.mark.parametrize(("service", "served"), [("sts", STS), ("iam", IAM)])
def test_session_that_denies_everything_is_refused_every_operation_of_aws(
    walker: Walker, service: str, served: Any
) -> None:
    serializer = create_serializer("query", include_validation=False)
    for operation in operations(service, served):
        params = example(operation.input_shape) if operation.input_shape is not None else {}
        params |= {"DurationSeconds": 900} if operation.name == "GetScopedCredentials" else {}
        body = serializer.serialize_to_request(params, operation)["body"]
        sent = {name: str(value) for name, value in body.items() if name not in ("Action", "Version")}
        answer = walker.site.call(walker.session, operation.name, sent, service=service)
        walker.judged(answer, f"{service}:{operation.name}", sent)


@pytest.mark.parametrize(
    ("service", "served"), [("rolesanywhere", ROLES_ANYWHERE), ("eks-auth", ("AssumeRoleForPodIdentity",))]
)
def test_session_that_denies_everything_is_refused_every_operation_of_the_rest_protocol(
    walker: Walker, service: str, served: Any
) -> None:
    serializer = create_serializer("rest-json", include_validation=False)
    names = {name.partition(":")[2] or name for name in served}
    for operation in operations(service, names):
        params = example(operation.input_shape) if operation.input_shape is not None else {}
        sent = serializer.serialize_to_request(params, operation)
        body, query = sent["body"] or b"", urlencode(sent["query_string"], doseq=True)
        method, path = sent["method"], sent["url_path"]
        headers = walker.site.signed(walker.session, body, service, method=method, path=path, query=query, extra={})
        answer = walker.site.send(method, headers, body, path=path.encode(), query=query.encode())
        walker.judged(answer, f"{service}:{operation.name}", sent)


QUESTION: Final[Mapping[str, Any]] = {
    "subject": {"type": "user", "id": "ann"},
    "action": {"name": "s3:GetObject"},
    "resource": {"type": "s3", "id": "arn:aws:s3:::data/x"},
}
STREAM: Final[Mapping[str, Any]] = {"stream_id": "0" * 32}
OTHERS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("POST", "/access/v1/evaluation", QUESTION),
    ("POST", "/access/v1/evaluations", {"evaluations": [QUESTION]}),
    ("POST", "/access/v1/search/subject", {**QUESTION, "subject": {"type": "user"}}),
    ("POST", "/access/v1/search/resource", {**QUESTION, "resource": {"type": "role"}}),
    ("POST", "/access/v1/search/action", {"subject": QUESTION["subject"], "resource": QUESTION["resource"]}),
    ("GET", "/access/v1/requests/" + "0" * 32, None),
    ("GET", "/events/revocations", None),
    ("POST", "/ssf/streams", {"delivery": {"method": "urn:ietf:rfc:8936"}}),
    ("GET", "/ssf/streams", None),
    ("PATCH", "/ssf/streams", STREAM),
    ("PUT", "/ssf/streams", {**STREAM, "delivery": {"method": "urn:ietf:rfc:8936"}}),
    ("DELETE", "/ssf/streams?stream_id=" + "0" * 32, None),
    ("GET", "/ssf/status?stream_id=" + "0" * 32, None),
    ("POST", "/ssf/status", {**STREAM, "status": "paused"}),
    ("POST", "/ssf/subjects/add", {**STREAM, "subject": {"format": "opaque", "id": "x"}}),
    ("POST", "/ssf/subjects/remove", {**STREAM, "subject": {"format": "opaque", "id": "x"}}),
    ("POST", "/ssf/verification", STREAM),
    ("POST", "/ssf/poll/" + "0" * 32, {}),
)


@pytest.mark.parametrize(("method", "target", "body"), OTHERS)
def test_session_that_denies_everything_is_refused_by_the_other_wires(
    walker: Walker, method: str, target: str, body: Any
) -> None:
    data = json.dumps(body).encode() if body is not None else b""
    path, _, query = target.partition("?")
    extra = {"content-type": "application/json"} if data else {}
    headers = walker.site.signed(walker.session, data, "daypass", method=method, path=path, query=query, extra=extra)
    answer = walker.site.send(method, headers, data, path=path.encode(), query=query.encode())
    walker.judged(answer, "", target)


SPOILED: Final = (
    *({"duration": each} for each in ("²", "9" * 5_000, "900", 1.5, True, [900], -1, 2**70)),
    *({"resource": each} for each in ("x" * 600, "https://x\0", "orders", "https://x example", 5, ["https://x"], {})),
)


def test_sign_in_token_of_a_wrong_duration_or_resource_is_refused(walker: Walker) -> None:
    _, key = walker.site.user("durable", policy=document({"Action": "*", "Resource": "*"}))
    session = walker.site.call(key, "GetSessionToken").key
    query, extra = "x-amz-client-auth-method=iam", {"content-type": "application/json"}
    wanted = {"grant_type": "client_credentials", "resource": "https://x.example"}
    for spoiled in SPOILED:
        data = json.dumps({**wanted, **spoiled}).encode()
        headers = walker.site.signed(session, data, "signin", method="POST", path="/v1/token", query=query, extra=extra)
        answer = walker.site.send("POST", headers, data, path=b"/v1/token", query=query.encode())
        assert (answer.status, walker.served(answer)) == (400, []), spoiled


def test_key_of_a_user_whose_policy_denies_everything_makes_a_session_that_may_do_nothing(walker: Walker) -> None:
    """The session of GetSessionToken has the permissions of its user, so the Deny applies to it."""
    _, key = walker.site.user("denied", policy=DENY)
    session = walker.site.call(key, "GetSessionToken").key
    for caller in (key, session):
        walker.judged(
            walker.site.call(caller, "GetAccessKeyInfo", {"AccessKeyId": key[0]}), "sts:GetAccessKeyInfo", caller
        )
        walker.judged(api(walker.site, "GET", "/grants", key=caller), "daypass:ListGrants", caller)


def test_directory_whose_user_is_denied_everything_performs_nothing_by_scim(walker: Walker) -> None:
    directory = directory_of(walker.site, "gate")
    made = directory.user("kim")
    walker.site.iam("PutUserPolicy", UserName="scim-gate", PolicyName="no", PolicyDocument=DENY)
    body = {"schemas": [USER], "userName": "lou"}
    edit = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "active", "value": False}]}
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}
    for kind in ("Users", "Groups"):
        for method, path, sent in (
            ("GET", kind, None),
            ("POST", kind, body),
            ("POST", f"{kind}/.search", search),
            ("GET", f"{kind}/{made['id']}", None),
            ("PUT", f"{kind}/{made['id']}", body),
            ("PATCH", f"{kind}/{made['id']}", edit),
            ("DELETE", f"{kind}/{made['id']}", None),
        ):
            walker.judged(directory.send(method, path, sent), "daypass:Provision", (method, path))


SIGN_IN: Final = (
    ("/list-sessions", {}),
    ("/get-session", {"sessionArn": f"arn:aws:signin::{ALPHA}:session/0"}),
    ("/batch-revoke-sessions", {"sessionArns": [f"arn:aws:signin::{ALPHA}:session/0"]}),
    ("/v1/revoke?x-amz-client-auth-method=iam", {"token": "dprt_" + "0" * 60}),
    ("/v1/introspect?x-amz-client-auth-method=iam", {"token": "e30.e30.x"}),
    (
        "/v1/token?x-amz-client-auth-method=iam",
        {"grant_type": "client_credentials", "resource": "https://x.example", "duration": 900},
    ),
)


@pytest.mark.parametrize(("target", "body"), SIGN_IN)
def test_session_that_denies_everything_is_refused_by_aws_sign_in(walker: Walker, target: str, body: Any) -> None:
    data = json.dumps(body).encode()
    path, _, query = target.partition("?")
    extra = {"content-type": "application/json"}
    headers = walker.site.signed(walker.session, data, "signin", method="POST", path=path, query=query, extra=extra)
    answer = walker.site.send("POST", headers, data, path=path.encode(), query=query.encode())
    walker.judged(answer, "", target)


# --- A browser ---------------------------------------------------------------------------------------------------------


def test_browser_of_a_person_whose_policy_denies_everything_performs_nothing(walker: Walker) -> None:
    site = walker.site
    person = user(site)
    browser = signed_in(site, person)
    csrf = forms(browser.get("/account"))["/logout"].fields
    site.iam("PutUserPolicy", UserName=person, PolicyName="no", PolicyDocument=DENY)
    walked = 0
    for route in site.application.routes.rows:
        if (
            not route.path.startswith(("/console/", "/account", "/device", "/oauth2/authorize"))
            or "setup" in route.path
        ):
            continue
        fields = {"id": "0" * 32, "name": "x", "user": "ann", "role": VALUES["RoleArn"], "reason": "a good reason"}
        fields |= {"holder": "User", "policy": "p", "document": DENY, "chosen": "ann x", "confirmed": "yes"}
        for method in {"GET", "POST"} & set(route.methods):
            walked += 1
            answer = (
                browser.get(f"{route.path}?{urlencode(fields)}")
                if method == "GET"
                else browser.post(route.path, {**fields, **csrf})
            )
            assert answer.status < 500, (route.path, answer.body)
            done = [record for record in site.records(answer.request_id) if "error" not in record]
            assert not [each for each in done if each["operation"] not in EXEMPT], (route.path, done)
    assert walked > 100


# --- An application to which a person has consented for `openid` alone -----------------------------------------------


@pytest.fixture(scope="module")
def identity_token(walker: Walker) -> str:
    site = walker.site
    client = web_client(site)
    code = allowed(signed_in(site, user(site)), target(client))["code"]
    return str(members(redeemed(client, code))["access_token"])


async def test_session_for_identity_alone_has_no_aws_form() -> None:
    """Whatever grant asks for it: no form is made, even if the exchange of the token were allowed."""
    with pytest.raises(DaypassError) as caught:
        await AWS_FORM.prepare(cast(Any, None), replace(PLAIN, policies=(IDENTITY_ONLY,)))
    assert caught.value.kind is ErrorKind.ACCESS_DENIED


@pytest.mark.parametrize("requested", ["", AWS, ACCESS_TOKEN])
def test_identity_token_is_exchanged_for_nothing(walker: Walker, identity_token: str, requested: str) -> None:
    more = {"requested_token_type": requested} if requested else {}
    answer = exchange(walker.site, identity_token, ACCESS_TOKEN, **more)
    assert refusal(walker.site, answer, "invalid_request")["error"] == "access_denied"


@pytest.mark.parametrize(("method", "target", "body"), OTHERS)
def test_identity_token_opens_no_other_wire(
    walker: Walker, identity_token: str, method: str, target: str, body: Any
) -> None:
    data = json.dumps(body).encode() if body is not None else b""
    path, _, query = target.partition("?")
    headers = [bearer(identity_token), (b"content-type", b"application/json")]
    answer = walker.site.send(method, headers, data, path=path.encode(), query=query.encode())
    walker.judged(answer, "", target)


def test_identity_token_says_who_the_person_is_and_ends_itself(walker: Walker, identity_token: str) -> None:
    """UserInfo, introspection and revocation of a token by itself ask no policy: they give and change nothing else."""
    site = walker.site
    assert site.send("GET", [bearer(identity_token)], path=b"/oauth2/userinfo").status == 200
    sent = urlencode({"token": identity_token}).encode()
    introspected = site.send("POST", [*FORM, bearer(identity_token)], sent, path=b"/oauth2/introspect")
    assert members(introspected)["active"] is True
    assert site.send("POST", [*FORM, bearer(identity_token)], sent, path=b"/oauth2/revoke").status == 200
    assert site.send("GET", [bearer(identity_token)], path=b"/oauth2/userinfo").status == 401
