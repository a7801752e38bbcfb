from __future__ import annotations

import json

from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Server, policy

from daypass.domain.directory import Role

PATH = "/roles/{}/settings"
_EXCEEDS = "The requested DurationSeconds exceeds the"


async def test_put_role_settings_lets_chained_sessions_last_longer_and_no_others(server: Server) -> None:
    _, key = await server.user("ana", TENANT, policy("sts:AssumeRole"))
    first = await server.role("first", TENANT, TENANT, policy("sts:AssumeRole"))
    statement = {"Effect": "Allow", "Principal": {"AWS": first.arn}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    env = server.runtime.env
    second = Role(
        env.ids.unique("AROA"), TENANT, "second", "/", 0, trust, ((first.arn, first.id),), max_session_seconds=14_400
    )
    await server.write(second)
    session = await server.assume(key, first.arn)

    async def chained(seconds: int) -> str:
        asked = {"RoleArn": second.arn, "RoleSessionName": "hop", "DurationSeconds": str(seconds)}
        answer = await server.sts(session, "AssumeRole", **asked)
        return answer.findtext(".//Message", "") or "ok"

    assert await chained(7200) == f"{_EXCEEDS} 1 hour session limit for roles assumed by role chaining."
    answer = await server.api(TENANT_ROOT, "PUT", PATH.format("second"), body={"chained_max_seconds": 7200})
    assert answer.json == {"arn": second.arn, "chained_max_seconds": 7200}
    assert await chained(7200) == "ok"
    assert await chained(7201) == f"{_EXCEEDS} 7200 second session limit for roles assumed by role chaining."
    assert (await server.api(TENANT_ROOT, "GET", PATH.format("second"))).json["chained_max_seconds"] == 7200


async def test_put_role_settings_out_of_bounds_or_of_others_is_refused(server: Server) -> None:
    await server.role("r", TENANT, TENANT)
    for seconds in (899, 43_201):
        body = {"chained_max_seconds": seconds}
        assert (await server.api(TENANT_ROOT, "PUT", PATH.format("r"), body=body)).code == "ValidationError"
    body = {"chained_max_seconds": 900}
    assert (await server.api(TENANT_ROOT, "PUT", PATH.format("none"), body=body)).code == "NoSuchEntity"
    assert (await server.api(ROOT, "PUT", PATH.format("r"), body=body)).code == "NoSuchEntity"
    assert (await server.api(ROOT, "PUT", PATH.format("r"), {"account": TENANT}, body=body)).status == 200
    _, key = await server.user("nobody", TENANT)
    assert (await server.api(key, "PUT", PATH.format("r"), body=body)).code == "AccessDenied"


async def test_service_linked_role_is_assumed_by_nobody(server: Server) -> None:
    await server.iam(ROOT, "CreateServiceLinkedRole", AWSServiceName="autoscaling.amazonaws.com")
    arn = f"arn:aws:iam::{OPERATOR}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    _, everything = await server.user("everything", OPERATOR, policy("*"))
    answer = await server.query(everything, "sts", "2011-06-15", "AssumeRole", RoleArn=arn, RoleSessionName="mine")
    assert answer.status == 403
    record = next(e for e in await server.events() if e.get("operation") == "sts:AssumeRole")
    assert (record["type"], record["error"]) == ("request.denied", "access_denied")
