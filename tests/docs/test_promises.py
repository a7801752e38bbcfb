"""The promises of ADR 0016, of the consent page, of the sign-in by password and of SECURITY.md, each with the test that shows it.

A promise that is reworded, and a test that is renamed, must be changed here too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
ADR: Final = "docs/adr/0016-oauth-clients.md"
CONSENT: Final = "src/daypass/wire/web/templates/what.html"
PASSWORD: Final = "src/daypass/operations/sign_in/password.py"
SECURITY: Final = "SECURITY.md"
OAUTH: Final = "tests/integration/oauth"
WEB: Final = "tests/integration/web"

PROMISES: Final = (
    (ADR, "Clients get roles of their own account", f"{OAUTH}/test_clients.py::test_a162_client_of_another_account_gets_no_role_even_if_the_role_names_it"),
    (ADR, "A workload's client is its role", f"{OAUTH}/test_clients.py::test_workload_is_its_role"),
    (ADR, "Everything made from the session inherits them", "tests/attack/test_audiences.py::test_a520_ceilings_hold_in_the_aws_form_and_in_every_session_made_from_it"),
    (ADR, "by exchange with or without a client", "tests/attack/test_audiences.py::test_a520_exchange_without_the_client_gets_no_more_than_the_person_consented_to"),
    (ADR, "needs `daypass:GetAccessToken` on its ARN", "tests/attack/test_audiences.py::test_a521_registered_audience_needs_a_permission_for_each_scope"),
    (ADR, "with identity, boundary, session and guardrail layers", "tests/attack/test_audiences.py::test_a521_session_policies_boundaries_and_guardrails_limit_tokens"),
    (ADR, "Each use of a refresh token is decided again", "tests/attack/test_audiences.py::test_a521_refresh_after_the_permission_was_taken_away_is_refused"),
    (ADR, "also needs the resource policy of the resource server", "tests/attack/test_audiences.py::test_a522_principal_of_another_account_needs_both_policies"),
    (ADR, "An audience is unique in the installation", "tests/attack/test_audiences.py::test_a522_audience_of_another_account_cannot_be_registered_too"),
    (ADR, "Three answers, one decision", "tests/attack/test_audiences.py::test_a523_offline_verification_introspection_and_decisions_agree_on_every_token"),
    (ADR, "never authenticated by another method than its own", f"{OAUTH}/test_clients.py::test_a161_client_secret_authenticates_by_its_own_method_while_it_is_active"),
    (ADR, "every refusal of a sender who has proved nothing reads the same", f"{OAUTH}/test_clients.py::test_a71_client_that_does_not_exist_is_refused_in_the_same_words"),
    (ADR, "every refusal of a sender who has proved nothing reads the same", "tests/attack/test_fapi_algorithms.py::test_a225_forged_assertion_of_another_algorithm_learns_no_reason"),
    (ADR, "tokens authenticates them in `wire/access_token.py`", "tests/docs/test_promises.py::test_access_tokens_are_authenticated_in_one_place"),
    (ADR, "a refused request consumes its", "tests/attack/test_dpop.py::test_a73_dpop_proof_of_a_refused_request_is_used"),
    (ADR, "holds over processes and restarts", "tests/attack/test_dpop.py::test_a73_dpop_proof_is_remembered_by_another_process_and_after_a_restart"),
    (ADR, "Without the database these grants are refused", "tests/integration/server/test_operations_in_outages.py::test_one_time_proof_without_the_database_is_refused_with_the_reason"),
    (ADR, "Every DPoP proof needs one", "tests/attack/test_dpop.py::test_a74_nonce_that_is_old_or_not_of_this_server_is_refused"),
    (ADR, "Both limit", f"{OAUTH}/test_clients.py::test_scope_is_the_session_policy_of_the_resource_server"),
    (ADR, "so that one revocation ends them", f"{OAUTH}/test_refresh.py::test_revocation_of_the_person_or_the_client_ends_refresh"),
    (ADR, "a guess ends nothing", f"{OAUTH}/test_refresh.py::test_altered_refresh_token_ends_nothing"),
    (ADR, "so a token never gives two", f"{OAUTH}/test_refresh.py::test_lost_response_is_repeated_for_some_seconds_with_the_same_session"),
    (ADR, "only after a client of the account has listed the URL", "tests/attack/test_client_documents.py::test_a14_document_is_fetched_only_for_people_of_an_account_that_lists_it"),
    (ADR, "is off by default", f"{WEB}/test_registration.py::test_registration_is_off_by_default"),
    (ADR, "Credentials are never allowed, and no cookie has an effect there", "tests/attack/test_cross_origin.py::test_a301_cookie_and_a_bearer_of_a_page_give_no_more_than_the_token"),
    (ADR, "allows nothing in Daypass", "tests/attack/test_gate.py::test_identity_token_is_exchanged_for_nothing"),
    (ADR, "A client with the defaults cannot get a bearer token", f"{WEB}/test_fapi_plan.py::test_fapi2_dpop_is_required_and_checked"),
    (CONSENT, "your account, your user name and id, when you signed in and how", f"{WEB}/test_consent.py::test_application_learns_what_the_page_says_and_nothing_else"),
    (CONSENT, "learns your email address", f"{WEB}/test_claims.py::test_claims_are_those_of_the_scopes_that_the_person_consented_to"),
    (CONSENT, "can do nothing else in your name", "tests/attack/test_gate.py::test_identity_token_is_exchanged_for_nothing"),
    (CONSENT, "if the role's trust policy admits you", f"{WEB}/test_authorization_code.py::test_role_that_does_not_admit_the_person_gives_no_token"),
    (CONSENT, "is limited to", "tests/attack/test_audiences.py::test_a520_token_for_one_audience_gives_none_for_another"),
    (CONSENT, "also after you have signed out", f"{WEB}/test_consent.py::test_application_renews_after_the_person_has_signed_out_for_as_long_as_the_page_says"),
    (CONSENT, "can use this at", "tests/attack/test_audiences.py::test_a520_exchange_without_the_client_gets_no_more_than_the_person_consented_to"),
    (PASSWORD, "Every wrong attempt gets the same answer", f"{WEB}/test_sign_in.py::test_wrong_attempts_get_the_same_answer_and_cost_one_hash_each"),
    (PASSWORD, "computed in every case", f"{WEB}/test_sign_in.py::test_wrong_attempts_get_the_same_answer_and_cost_one_hash_each"),
    (PASSWORD, "is shown only after the right password", f"{WEB}/test_sign_in.py::test_what_the_account_requires_is_shown_only_after_the_right_password"),
    (SECURITY, "act beyond what policy allows", "tests/attack/test_gate.py::test_session_that_denies_everything_is_refused_every_operation_of_the_management_api"),
    (SECURITY, "read another account's data", "tests/attack/test_other_accounts.py::test_a89_every_path_with_what_another_account_has_shows_and_changes_nothing"),
    (SECURITY, "how, and where it is\ntested", "tests/docs/test_pages.py::test_threat_model_names_every_attack_on_the_surfaces_there_are"),
    (SECURITY, "a status of 500, a traceback", "tests/attack/test_fuzz.py::test_any_request_at_all_is_answered_in_form"),
    (SECURITY, "Serve HTTPS, or bind to the loopback", "tests/unit/server/test_startup.py::test_plain_http_beyond_loopback_is_warned_of"),
    (SECURITY, "`serve --dev` is for trying", "tests/unit/server/test_startup.py::test_dev_beyond_loopback_is_refused"),
)  # fmt: skip


@pytest.mark.parametrize(("page", "promise", "test"), PROMISES)
def test_promise_is_made_and_its_test_is_there(page: str, promise: str, test: str) -> None:
    assert " ".join(promise.split()) in " ".join((ROOT / page).read_text().split())
    path, _, name = test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_access_tokens_are_authenticated_in_one_place() -> None:
    found = {
        str(path.relative_to(ROOT / "src/daypass"))
        for path in (ROOT / "src/daypass").rglob("*.py")
        if re.search(r"\bbearer_caller\(", path.read_text()) and "def bearer_caller" not in path.read_text()
    }
    assert found == {"wire/access_token.py"}
