import pytest

from daypass.domain.policy.model import PrincipalFacts
from daypass.domain.policy.principal import Principals, Reach

ACCOUNT = "111111111111"
ROOT, USER, ROLE = (f"arn:aws:iam::{ACCOUNT}:{rest}" for rest in ("root", "user/a", "role/r"))
SESSION, FEDERATED = (f"arn:aws:sts::{ACCOUNT}:{rest}" for rest in ("assumed-role/r/s", "federated-user/f"))
UID, RID, OLD = "AIDAUSERUSERUSER", "AROAROLEROLEROLE", "AROAOLDOLDOLDOLD"
BINDINGS = {USER: UID, ROLE: RID, SESSION: RID}

ALICE = PrincipalFacts("User", ACCOUNT, ((USER, UID),), canonical_id="c" * 64)
DEPLOY = PrincipalFacts("AssumedRole", ACCOUNT, ((SESSION, RID), (ROLE, RID)))
BOB = PrincipalFacts("FederatedUser", ACCOUNT, ((FEDERATED, f"{ACCOUNT}:f"), (USER, UID)))
BOSS = PrincipalFacts("Account", ACCOUNT, ((ROOT, ACCOUNT),))
SAML = PrincipalFacts("Anonymous", "", (), federated="arn:aws:iam::111111111111:saml-provider/x")
SERVICE = PrincipalFacts("Anonymous", "", (), service="x.example.com")
NOBODY = PrincipalFacts("Anonymous", "", ())


def aws(*values):
    return Principals.of([("AWS", value) for value in values])


@pytest.mark.parametrize(
    ("who", "principals", "reach"),
    [
        (ALICE, aws("*"), Reach.DIRECT),
        (NOBODY, aws("*"), Reach.DIRECT),
        (ALICE, aws(USER), Reach.USER),
        (ALICE, aws(UID), Reach.USER),
        (ALICE, aws(USER, ROOT), Reach.USER),
        (ALICE, aws(ROOT), Reach.ACCOUNT),
        (ALICE, aws(ACCOUNT), Reach.ACCOUNT),
        (ALICE, aws("222222222222"), Reach.NONE),
        (ALICE, aws(USER + "2"), Reach.NONE),
        (ALICE, aws(USER.upper()), Reach.NONE),
        (ALICE, Principals.of([("CanonicalUser", "c" * 64)]), Reach.ACCOUNT),
        (DEPLOY, aws(SESSION), Reach.DIRECT),
        (DEPLOY, aws(ROLE), Reach.ENTITY),
        (DEPLOY, aws(RID), Reach.ENTITY),
        (DEPLOY, aws(ROLE, SESSION), Reach.DIRECT),
        (DEPLOY, aws(OLD), Reach.NONE),
        (BOB, aws(FEDERATED), Reach.DIRECT),
        (BOB, aws(USER), Reach.ENTITY),
        (BOSS, aws(ROOT), Reach.ACCOUNT),
        (SAML, Principals.of([("Federated", SAML.federated)]), Reach.DIRECT),
        (SAML, Principals.of([("Federated", "accounts.google.com")]), Reach.NONE),
        (SAML, aws(ACCOUNT), Reach.NONE),
        (SERVICE, Principals.of([("Service", "x.example.com")]), Reach.DIRECT),
        (NOBODY, Principals.of([("Federated", "a.b"), ("Service", "a.b"), ("CanonicalUser", "c" * 64)]), Reach.NONE),
    ],
)
def test_reach_of_each_way_to_name_a_principal(who, principals, reach):
    assert principals.reach(who, BINDINGS) is reach


@pytest.mark.parametrize("bindings", [{}, {USER: OLD, ROLE: OLD, SESSION: OLD}, {USER: "", ROLE: "", SESSION: ""}])
def test_a55_reach_arn_bound_to_another_or_to_none_means_nobody(bindings):
    assert aws(USER).reach(ALICE, bindings) is Reach.NONE
    assert aws(ROLE, SESSION).reach(DEPLOY, bindings) is Reach.NONE
    assert aws(USER).reach(PrincipalFacts("User", ACCOUNT, ((USER, ""),)), bindings) is Reach.NONE
    assert aws(FEDERATED).reach(BOB, bindings) is Reach.DIRECT  # there is no entity behind the name to bind to


def test_reach_without_bindings_compares_names_alone():
    assert aws(USER).reach(PrincipalFacts("User", ACCOUNT, ((USER, ""),)), None) is Reach.USER


@pytest.mark.parametrize(
    ("who", "principals", "excepted"),
    [
        (ALICE, aws("*"), True),
        (NOBODY, aws("*"), True),
        (ALICE, aws(USER, ROOT), True),
        (ALICE, aws(UID, ACCOUNT), True),
        (ALICE, aws(USER), False),
        (ALICE, aws(ROOT), False),
        (ALICE, Principals.of([("AWS", USER), ("CanonicalUser", "c" * 64)]), True),
        (DEPLOY, aws(SESSION, ROLE, ROOT), True),
        (DEPLOY, aws(RID, ROOT), True),
        (DEPLOY, aws(ROLE, ROOT), False),
        (DEPLOY, aws(SESSION, ROLE), False),
        (BOSS, aws(ROOT), True),
        (BOSS, aws(USER), False),
        (SAML, Principals.of([("Federated", SAML.federated)]), True),
        (SAML, aws(ACCOUNT), False),
        (SERVICE, Principals.of([("Service", "x.example.com")]), True),
        (SERVICE, Principals.of([("Service", "y.example.com")]), False),
        (NOBODY, aws(ROOT), False),
    ],
)
def test_excepts_only_who_is_listed_by_every_name(who, principals, excepted):
    assert principals.excepts(who, BINDINGS) is excepted


def test_a55_excepts_not_a_recreated_principal():
    assert not aws(USER, ROOT).excepts(ALICE, {USER: OLD})
    assert aws(USER, ROOT).excepts(ALICE, None)


def test_reach_renamed_user_is_still_meant_by_the_old_arn_and_the_new_owner_of_the_name_is_not():
    renamed = PrincipalFacts("User", ACCOUNT, ((USER + "-renamed", UID),))
    successor = PrincipalFacts("User", ACCOUNT, ((USER, OLD),))
    assert aws(USER).reach(renamed, BINDINGS) is Reach.USER
    assert aws(USER, ROOT).excepts(renamed, BINDINGS)
    assert aws(USER).reach(successor, BINDINGS) is Reach.NONE
    assert not aws(USER, ROOT).excepts(successor, BINDINGS)


def test_reach_binding_of_a_session_arn_names_no_other_session_of_the_role():
    other = PrincipalFacts("AssumedRole", ACCOUNT, ((SESSION + "2", RID), (ROLE, RID)))
    assert aws(SESSION).reach(other, BINDINGS) is Reach.NONE
    assert aws(SESSION).reach(DEPLOY, BINDINGS) is Reach.DIRECT
