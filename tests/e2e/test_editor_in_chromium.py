"""Roles and rules that are written by forms, in a browser: parts and JSON change each other, the linter follows."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page
from tests.chromium import chromium, needs_chromium
from tests.e2e.conftest import OPERATOR, Server
from tests.e2e.test_console_in_chromium import API, PROVIDER, Person, server

pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium", "server"]
ANN = f"arn:aws:iam::{OPERATOR}:user/ann"


def sent(page: Page) -> str:
    """The text that the form sends: the editor of the JSON writes it."""
    return page.locator("textarea[name=document]").input_value()


def write(page: Page, label: str, text: str) -> None:
    """Replaces the JSON by the keyboard."""
    page.get_by_label(label, exact=True).press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(text)


def trust_of(server: Server, name: str) -> dict[str, Any]:
    document = server.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    return document if isinstance(document, dict) else json.loads(unquote(document))


@pytest.mark.parametrize("look", [("light", 1280), ("dark", 360)])
def test_role_is_created_edited_and_deleted_without_json(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    ada, name = Person(server, chromium, "ada", look), f"built-{look[0]}"
    page = ada.open("/console/roles")
    page.get_by_role("link", name="New role").click()
    page.get_by_label("Name", exact=True).fill(name)
    principal = page.get_by_label("Principal 1", exact=True)
    principal.fill("ann")
    page.get_by_role("option", name=ANN).click()  # the picker has found her
    assert principal.input_value() == ANN
    page.get_by_role("button", name="Needs MFA").click()
    written = json.loads(sent(page))["Statement"][0]
    assert written["Principal"] == {"AWS": ANN}
    assert written["Condition"]["Bool"] == {"daypass:Approved": "true", "aws:MultiFactorAuthPresent": "true"}
    ada.judge("role-edit")
    page.get_by_role("button", name="Create the role").click()
    page.wait_for_url(f"**/console/role?name={name}**")
    assert trust_of(server, name)["Statement"] == [written]
    page.get_by_role("link", name="Edit").click()
    on_one_line = json.dumps(json.loads(sent(page)))
    write(page, "Trust policy", on_one_line.replace(ANN, "*").replace("daypass:Approved", "daypass:Aproved"))
    page.locator("#findings", has_text="daypass:Aproved").wait_for()  # as it is typed
    assert page.get_by_label("Principal 1", exact=True).input_value() == "*"
    write(page, "Trust policy", '{"Statement": []}')
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.type('"V')
    page.get_by_role("option", name="Version").click()  # what the language knows here
    page.get_by_text("The JSON cannot be read").wait_for()
    page.locator(".cm-lint-marker-error").wait_for()
    write(page, "Trust policy", json.dumps({"Version": "2012-10-17", "Statement": [written]}))
    page.get_by_role("button", name="Remove condition on aws:MultiFactorAuthPresent").click()
    page.get_by_label("Description").fill("By hand")
    page.get_by_role("button", name="Save the role").click()
    page.wait_for_url(f"**/console/role?name={name}**")
    assert trust_of(server, name)["Statement"][0]["Condition"] == {"Bool": {"daypass:Approved": "true"}}
    page.get_by_role("button", name="Delete the role").click()
    page.get_by_role("button", name="Delete a role").click()
    page.wait_for_url("**/console/roles?done=deleted")
    ada.close()


def test_a613_name_that_scripts_could_take_for_their_own_is_kept_like_any_other(
    server: Server, chromium: Browser
) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    page = ada.open("/console/policy?holder=User&name=ada")
    strange = {"__proto__": {"polluted": "yes"}, "Bool": {"__proto__": "true"}}
    write(page, "Policy", json.dumps({"Statement": [{"Effect": "Allow", "Action": "x:Y", "Condition": strange}]}))
    value = page.get_by_label("Values of condition 1, with commas")
    value.fill("no")
    value.blur()
    changed = {**strange, "__proto__": {"polluted": "no"}}
    assert json.loads(sent(page))["Statement"][0]["Condition"] == changed
    assert page.evaluate("({}).polluted") is None
    ada.close()


@pytest.mark.parametrize("look", [("light", 1280), ("dark", 360)])
def test_action_is_picked_by_service_with_what_it_does(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    ada = Person(server, chromium, "ada", look)
    page = ada.open("/console/policy?holder=User&name=ada")
    action = page.get_by_label("Action 1", exact=True)
    action.fill("")
    action.press_sequentially("storage serv")
    page.get_by_role("option", name="s3: Amazon Simple Storage Service").wait_for()
    action.press("ArrowDown")
    action.press("Enter")  # the service, whose actions follow
    action.press_sequentially("getobj")
    page.get_by_role("option", name="s3:GetObject Retrieves an object from Amazon S3.").wait_for()
    ada.judge("action-picker")
    action.press("ArrowDown")
    action.press("Enter")
    assert (action.input_value(), page.locator(".options").count()) == ("s3:GetObject", 0)
    page.locator(".builder .hint", has_text="Retrieves an object").wait_for()
    assert json.loads(sent(page))["Statement"][0]["Action"] == "s3:GetObject"
    write(page, "Policy", json.dumps(json.loads(sent(page))).replace("s3:GetObject", "daypass:RevokeSession"))
    page.locator(".builder .hint", has_text="Ends sessions").wait_for()
    ada.close()


def test_rule_is_written_as_a_sentence(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    page = ada.open("/console/rule")
    page.get_by_label("Name", exact=True).fill("built")
    page.get_by_label("Role 1", exact=True).fill("role/built-*")
    page.get_by_label("Hours", exact=True).fill("2")
    page.get_by_role("button", name="Add a stage of approval").click()
    page.get_by_role("group", name="and", exact=True).get_by_role("button", name="Add approver").click()
    page.get_by_label("Approver 1", exact=True).nth(1).fill("user/ada")
    page.get_by_label("Number of approvals of stage 1").fill("2")
    page.get_by_label("Number of approvals of stage 1").blur()
    page.locator("#findings", has_text="has no role role/built-*").wait_for()  # as it is typed
    page.locator(".cm-lint-marker-warning").first.wait_for()
    page.get_by_role("button", name="They are on call").click()
    page.locator("#findings", has_text="has no on_call schedule").wait_for()
    page.get_by_label("Add a setting").last.select_option("on_call")
    page.get_by_label("Calendar", exact=True).fill("shifts.ics")
    page.get_by_label("Calendar", exact=True).blur()
    page.locator("#findings", has_text="has no on_call schedule").wait_for(state="detached")
    ada.judge("rule-edit")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/console/rules?done=saved")
    rule = json.loads(server.api("GET", "/approval-rules/built")["document"])
    assert rule["roles"] == ["role/built-*"]
    assert rule["max_seconds"] == 7200
    assert rule["requesters"]["condition"] == {"Bool": {"daypass:OnCall": "true"}}
    assert rule["on_call"] == {"calendar": "shifts.ics"}
    assert [(each["approvers"]["principals"], each.get("threshold", 1)) for each in rule["stages"]] == [
        (["group/leads"], 2),
        (["user/ada"], 1),
    ]
    ada.close()


def test_settings_of_a_client_and_a_resource_server_are_changed_by_forms(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    ada.open("/console/clients").get_by_role("link", name="app", exact=True).click()
    page = ada.page
    page.get_by_role("button", name="Add redirect URI").click()
    page.get_by_label("Redirect URIs 2", exact=True).fill("https://app.example.com/again")
    page.get_by_label("Add a setting").select_option("refresh_token_seconds")
    page.get_by_label("Refresh token seconds", exact=True).fill("3600")
    page.get_by_role("group", name="Grant types").get_by_label("Refresh token").check()
    page.get_by_label("Redirect URIs 2", exact=True).fill("ftp://app.example.com/")
    page.get_by_label("Redirect URIs 2", exact=True).blur()
    page.locator("#findings", has_text="redirect_uris").wait_for()
    page.get_by_label("Redirect URIs 2", exact=True).fill("https://app.example.com/again")
    page.get_by_label("Redirect URIs 2", exact=True).blur()
    page.locator("#findings", has_text="redirect_uris").wait_for(state="detached")
    ada.judge("client-edit")
    page.get_by_role("button", name="Save the settings").click()
    page.wait_for_url("**done=saved**")
    (client,) = [each for each in server.api("GET", "/clients")["clients"] if each["name"] == "app"]
    settings = server.api("GET", f"/clients/{client['client_id']}")["settings"]
    assert settings["redirect_uris"] == ["https://app.example.com/callback", "https://app.example.com/again"]
    assert settings["refresh_token_seconds"] == 3600
    assert settings["grant_types"] == ["authorization_code", "refresh_token"]
    page = ada.open(f"/console/resource-server?identifier={API}")
    page.get_by_role("button", name="Add scope").click()
    page.get_by_label("Name of scope").nth(1).fill("write")
    page.get_by_label("Name of scope").nth(1).blur()
    page.get_by_role("group", name="write").get_by_label("Add a setting").select_option("description")
    page.get_by_label("Description", exact=True).fill("Change orders")
    page.get_by_label("Description", exact=True).blur()
    ada.judge("resource-server-edit")
    page.get_by_role("button", name="Save the settings").click()
    page.wait_for_url("**done=saved**")
    scopes = server.api("GET", f"/resource-servers/{API}")["settings"]["scopes"]
    assert scopes == {"read": {}, "write": {"description": "Change orders"}}
    ada.close()


def test_setting_of_a_provider_that_is_added_has_the_members_that_it_needs(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    page = ada.open(f"/console/provider?arn=arn:aws:iam::{OPERATOR}:oidc-provider/{PROVIDER}")
    page.get_by_label("Add a setting").select_option("sign_in")
    page.get_by_label("Client ID", exact=True).fill("daypass")
    page.get_by_label("Client ID", exact=True).blur()
    page.get_by_role("button", name="Add role").click()
    page.get_by_label("Roles 1", exact=True).fill(f"arn:aws:iam::{OPERATOR}:role/reader")
    page.get_by_label("Roles 1", exact=True).blur()
    settings = json.loads(page.locator("textarea[name=settings]").input_value())
    assert settings["sign_in"] == {"client_id": "daypass", "roles": [f"arn:aws:iam::{OPERATOR}:role/reader"]}
    ada.close()
