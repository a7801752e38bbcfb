"""What every look of the console keeps: 360 px, 200 % zoom, reduced motion, long words of 20 languages, a small first page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.chromium import chromium, needs_chromium
from tests.e2e.conftest import OPERATOR, Server
from tests.e2e.test_console_in_chromium import Person, server
from tests.e2e.test_keyboard_in_chromium import MORE, TOUR

pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium", "server"]
FIRST_PAGE = 200_000
_LONG = "Ann-of-the-department-for-" + "x" * 37
WORDS = {
    "German": "Donaudampfschifffahrtsgesellschaftskapitän",
    "Finnish": "Epäjärjestelmällistyttämättömyydellänsäkään",
    "Hungarian": "Megszentségteleníthetetlenségeskedéseitekért",
    "Turkish": "Muvaffakiyetsizleştiricileştiriveremeyebileceklerimizdenmişsinizcesine",
    "Swedish": "Nordvästersjökustartilleriflygspaningssimulatoranläggningsmaterielunderhållsuppföljningssystem",
    "Danish": "Speciallægepraksisplanlægningsstabiliseringsperiode",
    "Dutch": "Kindercarnavalsoptochtvoorbereidingswerkzaamhedenplan",
    "Icelandic": "Vaðlaheiðarvegavinnuverkfærageymsluskúraútidyralyklakippuhringur",
    "Polish": "Dziewięćsetdziewięćdziesięciodziewięcionarodowościowego",
    "Czech": "Nejnezpravděpodobnostňovávatelnějšími",
    "Russian": "Рентгеноэлектрокардиографического",
    "Ukrainian": "Дихлордифенілтрихлорметилметан",
    "Greek": "Ηλεκτροεγκεφαλογραφήματος",
    "Welsh": "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
    "Thai": "กรุงเทพมหานครอมรรัตนโกสินทร์มหินทรายุธยามหาดิลกภพ",
    "Japanese": "東京特許許可局許可局長今日急遽特許許可却下許可",
    "Chinese": "中华人民共和国国家发展和改革委员会价格监督检查与反垄断局",
    "Korean": "국가정보자원관리원클라우드서비스운영담당자권한요청",
    "Arabic": "أفاستسقيناكموهاالمستخدمونالمسؤولون",
    "Hindi": "किंकर्तव्यविमूढ़ताप्रशासनिकअधिकारियों",
}
"""A long word of each language, without a place to break it."""
_SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def too_wide(person: Person, paths: dict[str, str]) -> dict[str, Any]:
    """The pages that scroll sideways."""
    found = {}
    for name, path in paths.items():
        person.open(path)
        found[name] = person.page.evaluate(_SIDEWAYS)
    return {name: each for name, each in found.items() if each > 0}


@pytest.mark.parametrize("look", [("light", 640), ("dark", 360)])
def test_no_page_scrolls_sideways_at_360_px_and_at_a_zoom_of_200_percent(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    """1280 px at 200 % are 640 px of a style sheet (WCAG 2.2, 1.4.4 and 1.4.10)."""
    ada = Person(server, chromium, "ada", look)
    assert too_wide(ada, {**TOUR, **MORE}) == {}
    ada.close()


@pytest.mark.parametrize("look", [("light", 1280), ("dark", 360)])
def test_long_words_of_20_languages_do_not_widen_a_page(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    iam, name = server.client("iam"), f"{_LONG[:63]}{look[0][0]}"
    tagged = {
        each: word for each, word in WORDS.items() if each not in ("Thai", "Hindi")
    }  # tags have no combining marks
    iam.create_user(UserName=name, Tags=[{"Key": each, "Value": word} for each, word in tagged.items()])
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"}]}
    tags = [{"Key": word[:128], "Value": each} for each, word in tagged.items()]
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", **trust}), Tags=tags)
    roles = [f"role/{name}"]
    rule = {"roles": roles, "requesters": {"principals": ["*"]}, "stages": [{"approvers": {"principals": ["*"]}}]}
    rule["description"] = " ".join(WORDS.values())[:256]
    server.api("PUT", f"/approval-rules/{name}", body={"document": json.dumps(rule)})
    ann = Person(server, chromium, "ann", look)
    page = ann.open(f"/console/request?role=arn:aws:iam::{OPERATOR}:role/{name}")
    page.get_by_label("Reason").fill(" ".join(WORDS.values()))
    page.get_by_role("button", name="Send the request").click()
    page.get_by_role("status").wait_for()
    ada = Person(server, chromium, "ada", look)
    paths = ("users", "groups", "roles", "approvals", "inbox", "rules", "graph", "records")
    shown = {each: f"/console/{each}" for each in paths}
    shown |= {each: f"/console/{each}?name={name}" for each in ("user", "group", "role", "rule")}
    shown["request"] = f"/console/access-request{page.url[page.url.index('?') :]}"
    assert too_wide(ada, shown) == {}
    for person in (ann, ada):
        person.close()


def test_nothing_moves_for_those_who_asked_for_less_motion(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    ada.page.route("**/console/role?part=*", lambda route: route.abort())  # the skeletons stay
    ada.open("/console/role?name=reader")
    assert ada.page.evaluate(moving) > 0
    ada.page.emulate_media(reduced_motion="reduce")
    ada.open("/console/role?name=reader")
    assert ada.page.locator(".skeleton").count() == 2
    assert ada.page.evaluate(moving) == 0
    ada.page.context.close()


def test_part_that_fails_leaves_its_page(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    ada.page.route("**/console/role?part=who*", lambda route: route.fulfill(status=503, body="overloaded"))
    page = ada.open("/console/role?name=reader")
    page.locator("#who-list", has_text="could not be loaded").wait_for()
    page.locator("#can-list:not(.skeleton)").wait_for()
    assert page.url.endswith("/console/role?name=reader")
    page.context.close()


def test_picture_is_zoomed_by_buttons_keys_wheel_and_mouse_and_its_links_still_lead(
    server: Server, chromium: Browser
) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    page = ada.open("/console/graph?role=prod-orders")
    frame = page.locator(".graph")

    def place() -> tuple[float, float, float]:
        found = frame.locator("svg > g").evaluate("each => (({a, e, f}) => [a, e, f])(each.getCTM())")
        return (found[0], found[1], found[2])

    whole = place()
    page.get_by_role("button", name="Zoom in").click()
    assert place()[0] > whole[0]
    page.get_by_role("button", name="Whole picture").click()
    assert place() == whole
    frame.focus()
    frame.press("+")
    zoomed = place()
    frame.press("ArrowLeft")
    assert place()[1] > zoomed[1]
    frame.press("0")
    frame.hover()
    page.mouse.wheel(0, -200)
    assert place() == whole  # the wheel alone scrolls the page
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    frame.locator("svg > g:not([transform$='scale(1)'])").wait_for()
    page.get_by_role("button", name="Whole picture").click()
    frame.locator("a .box").first.click()
    page.wait_for_url("**principal=**")
    assert frame.locator("svg > g").count() == 1
    page.context.close()


def test_first_page_is_small(server: Server, chromium: Browser) -> None:
    """What the network carries for the sign-in page and for the first page after it, with an empty cache."""
    sizes = dict[str, float]()

    def watch(page: Page) -> None:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        session.on(
            "Network.loadingFinished", lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]})
        )

    page = chromium.new_page()
    watch(page)
    page.goto(f"{server.url.replace('127.0.0.1', 'localhost')}/login")
    page.wait_for_load_state("networkidle")
    assert 5_000 < sum(sizes.values()) < FIRST_PAGE
    page.close()
    ada = Person(server, chromium, "ada", ("light", 1280))
    watch(ada.page)
    sizes.clear()
    ada.page.goto(ada.page.url)
    ada.page.wait_for_load_state("load")
    assert 5_000 < sum(sizes.values()) < FIRST_PAGE
    ada.close()
