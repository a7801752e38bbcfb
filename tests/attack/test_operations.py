"""Operations of AWS that are not served: each says so to whoever has signed, does nothing, and is on the record."""

from __future__ import annotations

import pytest
from tests.attack.installation import HOST, ROOT, Installation, form

from daypass.operations.iam.service import OPERATIONS as IAM
from daypass.wire.aws.models import load
from daypass.wire.aws.sts import STS_OPERATIONS as STS

UNSERVED = [
    (service, name) for service, served in (("sts", STS), ("iam", IAM)) for name in load(service).names - set(served)
]


def test_operations_that_are_not_served_are_unsupported_and_on_the_record(site: Installation) -> None:
    assert ("iam", "SetSecurityTokenServicePreferences") in UNSERVED
    for service, name in UNSERVED:
        operation = load(service).operation(name)
        assert operation is not None
        answer = site.call(ROOT, name, service=service)
        assert (answer.code, answer.status) == ("UnsupportedOperation", 400), name
        assert answer.text("Message") == f"{name} is not supported by this service."
        [record] = site.records(answer.request_id)
        assert (record["operation"], record["error"]) == (f"{service}:{name}", "unsupported_operation")


@pytest.mark.parametrize(("service", "name"), [("iam", "SetSecurityTokenServicePreferences"), ("sts", "AssumeRoot")])
def test_operations_that_are_not_served_tell_nothing_to_whoever_has_not_signed(
    site: Installation, service: str, name: str
) -> None:
    answer = site.send(headers=[(b"host", HOST.encode())], body=form(name, {}, service))
    assert (answer.code, answer.status) == ("MissingAuthenticationToken", 403)
