"""Who is the same person: by hops, source identities and linked identities."""

from __future__ import annotations

import pytest

from daypass.domain.access.request import identifier, identifiers, original_principal, same_person
from daypass.domain.session import FeedPosition, Hop

SEEN = FeedPosition("e", 1)
OIDC = "arn:aws:iam::111122223333:oidc-provider/idp.example.com:ann"


def hop(principal_id: str, session_id: str = "", name: str = "x") -> Hop:
    return Hop(session_id, "111122223333", principal_id, 1, SEEN, "AKIA", name)


def test_same_person_through_a_chain_of_roles_is_found() -> None:
    alone = identifiers([hop("AIDA1")])
    chained = identifiers([hop("AIDA1"), hop("AROA1", "a" * 32), hop("AROA2", "b" * 32)])
    assert same_person(alone, chained)


def test_same_role_used_by_two_persons_does_not_make_them_one() -> None:
    one = identifiers([hop("AIDA1"), hop("AROA1", "a" * 32)])
    assert not same_person(one, identifiers([hop("AIDA2"), hop("AROA1", "b" * 32)]))


def test_names_do_not_decide() -> None:
    assert not same_person(identifiers([hop("AIDA1", name="ann")]), identifiers([hop("AIDA2", name="ann")]))


@pytest.mark.parametrize(
    "other",
    [
        OIDC.replace("111122223333", "444455556666"),  # the same issuer, trusted by another account
        OIDC.replace(":ann", ":Ann"),
    ],
)
def test_same_subject_of_one_issuer_is_one_person(other: str) -> None:
    assert identifier(OIDC) == identifier(other)


def test_subject_with_a_line_break_is_one_person_in_every_account() -> None:
    other = OIDC.replace("111122223333", "444455556666")
    assert identifier(f"{OIDC}\n1") == identifier(f"{other}\n1") != identifier(OIDC)


def test_subjects_of_two_issuers_are_two_persons() -> None:
    assert identifier(OIDC) != identifier(OIDC.replace("idp.", "idp2."))


@pytest.mark.parametrize("kind", ["saml-provider/corp", "saml-provider/corp2"])
def test_same_saml_subject_is_one_person_whatever_the_provider_is_called(kind: str) -> None:
    assert identifier(f"arn:aws:iam::111122223333:{kind}:ann@example.com") == "subject:saml-provider:ann@example.com"


def test_source_identity_and_person_tag_link_two_users() -> None:
    assert same_person(identifiers([hop("AIDA1")], "ann"), identifiers([hop("AIDA2")], "ANN"))
    assert same_person(identifiers([hop("AIDA1")], "", ["ann@x.org"]), identifiers([hop("AIDA2")], "", ["Ann@x.org "]))
    assert not same_person(identifiers([hop("AIDA1")], "", [""]), identifiers([hop("AIDA2")], "", [""]))


def test_a_grant_belongs_to_the_first_hop_unless_somebody_else_acts() -> None:
    assert original_principal([hop("AIDA1"), hop("AROA1", "a" * 32)]) == "AIDA1"
    assert original_principal([hop("AIDA1"), hop("AIDA2")]) == ""
    assert original_principal([]) == ""
