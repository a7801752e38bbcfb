import pytest

from daypass.domain.policy.model import PrincipalFacts
from daypass.domain.policy.principal import GrantScope, Principals

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
    ("who", "principals", "scope"),
    [
        (ALICE, aws("*"), GrantScope.DIRECT),
        (NOBODY, aws("*"), GrantScope.DIRECT),
        (ALICE, aws(USER), GrantScope.USER),
        (ALICE, aws(UID), GrantScope.USER),
        (ALICE, aws(USER, ROOT), GrantScope.USER),
        (ALICE, aws(ROOT), GrantScope.ACCOUNT),
        (ALICE, aws(ACCOUNT), GrantScope.ACCOUNT),
        (ALICE, aws("222222222222"), GrantScope.NONE),
        (ALICE, aws(USER + "2"), GrantScope.NONE),
        (ALICE, aws(USER.upper()), GrantScope.NONE),
        (ALICE, Principals.of([("CanonicalUser", "c" * 64)]), GrantScope.ACCOUNT),
        (DEPLOY, aws(SESSION), GrantScope.DIRECT),
        (DEPLOY, aws(ROLE), GrantScope.ENTITY),
        (DEPLOY, aws(RID), GrantScope.ENTITY),
        (DEPLOY, aws(ROLE, SESSION), GrantScope.DIRECT),
        (DEPLOY, aws(OLD), GrantScope.NONE),
        (BOB, aws(FEDERATED), GrantScope.DIRECT),
        (BOB, aws(USER), GrantScope.ENTITY),
        (BOSS, aws(ROOT), GrantScope.ACCOUNT),
        (SAML, Principals.of([("Federated", SAML.federated)]), GrantScope.DIRECT),
        (SAML, Principals.of([("Federated", "accounts.google.com")]), GrantScope.NONE),
        (SAML, aws(ACCOUNT), GrantScope.NONE),
        (SERVICE, Principals.of([("Service", "x.example.com")]), GrantScope.DIRECT),
        (
            NOBODY,
            Principals.of([("Federated", "a.b"), ("Service", "a.b"), ("CanonicalUser", "c" * 64)]),
            GrantScope.NONE,
        ),
    ],
)
def test_reach_of_each_way_to_name_a_principal(who, principals, scope):
    assert principals.grant_scope(who, BINDINGS) is scope


@pytest.mark.parametrize("bindings", [{}, {USER: OLD, ROLE: OLD, SESSION: OLD}, {USER: "", ROLE: "", SESSION: ""}])
def test_a55_reach_arn_bound_to_another_or_to_none_means_nobody(bindings):
    assert aws(USER).grant_scope(ALICE, bindings) is GrantScope.NONE
    assert aws(ROLE, SESSION).grant_scope(DEPLOY, bindings) is GrantScope.NONE
    assert aws(USER).grant_scope(PrincipalFacts("User", ACCOUNT, ((USER, ""),)), bindings) is GrantScope.NONE
    assert (
        aws(FEDERATED).grant_scope(BOB, bindings) is GrantScope.DIRECT
    )  # there is no entity behind the name to bind to


def test_reach_without_bindings_compares_names_alone():
    assert aws(USER).grant_scope(PrincipalFacts("User", ACCOUNT, ((USER, ""),)), None) is GrantScope.USER


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
    assert aws(USER).grant_scope(renamed, BINDINGS) is GrantScope.USER
    assert aws(USER, ROOT).excepts(renamed, BINDINGS)
    assert aws(USER).grant_scope(successor, BINDINGS) is GrantScope.NONE
    assert not aws(USER, ROOT).excepts(successor, BINDINGS)


def test_reach_binding_of_a_session_arn_names_no_other_session_of_the_role():
    other = PrincipalFacts("AssumedRole", ACCOUNT, ((SESSION + "2", RID), (ROLE, RID)))
    assert aws(SESSION).grant_scope(other, BINDINGS) is GrantScope.NONE
    assert aws(SESSION).grant_scope(DEPLOY, BINDINGS) is GrantScope.DIRECT
