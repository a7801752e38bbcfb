"""Anomalies: a stolen key is found, usual work is not; the back-test on generated histories; memory with a million principals."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest
from tests.attack.installation import ALPHA, Answer, Installation, Key, document, form, installed, trust
from tests.histories import DAY, HOUR, Record, history
from tests.oauth_client import api

from daypass.domain.access.baseline import SURE, THRESHOLD, Baselines, deviation, seen_of

PROXY = {"trusted_proxies": ["127.0.0.1"]}
ALL = document({"Effect": "Allow", "Action": "*", "Resource": "*"})


def assumed(site: Installation, key: Key, role: str, ip: str) -> Answer:
    body = form("AssumeRole", {"RoleArn": role, "RoleSessionName": "job"})
    headers = [*site.signed(key, body), (b"x-forwarded-for", ip.encode())]
    return site.send(headers=headers, body=body)


def found(site: Installation) -> list[dict[str, object]]:
    """The anomalies, when what has happened was looked at."""
    watch = site.runtime._anomalies
    assert watch is not None
    site.run(watch._look(site.runtime.env))
    answer = api(site, "GET", "/anomalies")
    assert answer.status == 200, answer.body
    return list(json.loads(answer.body)["anomalies"])


def test_key_that_is_used_from_elsewhere_at_night_is_found_with_reasons(tmp_path: Path) -> None:
    with installed(tmp_path, server=PROXY) as site:
        _, key = site.user("job", policy=ALL)
        role = site.role("deploy", trust(f"arn:aws:iam::{ALPHA}:user/job"), policy=ALL)
        for _ in range(25):  # every day at the same time, from one network
            site.wall.time += DAY
            assert assumed(site, key, role, "10.1.2.3").status == 200
        assert found(site) == []
        site.wall.time += DAY
        assert assumed(site, key, role, "10.1.2.77").status == 200, "the same network"
        assert found(site) == []
        site.wall.time += DAY + 9 * HOUR
        thief = assumed(site, key, role, "203.0.113.9")
        assumed(site, key, role, "203.0.113.9")
        anomalies = found(site)
        assert [(each["severity"], each["source_ip"]) for each in anomalies] == [("high", "203.0.113.9")]
        (one,) = anomalies
        assert isinstance(one["score"], int)
        assert one["score"] >= SURE
        assert "network is new" in str(one["why"])
        assert "no session around" in str(one["why"])
        assert thief.key[1] not in str(site.record_bytes())
        metrics = site.runtime.render_metrics().decode()
        assert 'daypass_anomalies_total{account="other",severity="high"} 1.0' in metrics


def test_baselines_of_a_start_come_from_the_record(tmp_path: Path) -> None:
    with installed(tmp_path, server=PROXY) as site:
        _, key = site.user("job", policy=ALL)
        role = site.role("deploy", trust(f"arn:aws:iam::{ALPHA}:user/job"))
        for _ in range(25):
            site.wall.time += DAY
            assumed(site, key, role, "10.1.2.3")
        wall = site.wall
    with installed(tmp_path, wall, server=PROXY, first_keys="") as site:
        watch = site.runtime._anomalies
        assert watch is not None
        site.run(watch._remember(site.runtime.env))
        site.wall.time += DAY + 9 * HOUR
        assumed(site, key, role, "203.0.113.9")
        assert [each["severity"] for each in found(site)] == ["high"]


def test_anomalies_of_another_account_are_not_shown(tmp_path: Path) -> None:
    with installed(tmp_path) as site:
        _, key = site.user("reader")
        assert api(site, "GET", "/anomalies", key=key).status == 403
        site.run(asyncio.sleep(0))


@pytest.mark.slow
def test_back_test_finds_planted_incidents_with_few_false_alarms() -> None:
    """The figures in docs/how-to/monitor.md."""
    uses, record, baselines = history(seed=0), Record(), Baselines(1 << 20)
    caught: dict[int, set[int]] = {THRESHOLD: set(), SURE: set()}
    false: dict[int, set[tuple[str, int]]] = {THRESHOLD: set(), SURE: set()}
    today = 0
    for use in uses:
        if use.at // DAY != today:
            today = use.at // DAY
            baselines.forget_denials()
        if use.denied:
            baselines.note_denial(use.principal)
        else:
            seen = seen_of(use.principal, use.role, use.ip, use.at)
            estimate = baselines.learn(seen)
            if today >= 30 and estimate >= THRESHOLD:
                score, _ = deviation(record.facts(use))
                for limit in (each for each in (THRESHOLD, SURE) if score >= each):
                    if use.incident >= 0:
                        caught[limit].add(use.incident)
                    else:
                        false[limit].add((use.principal, today))
        record.add(use)
    weeks = 30 / 7
    for limit, recall, precision, false_a_week in ((THRESHOLD, 0.7, 0.6, 5.0), (SURE, 0.45, 0.9, 0.5)):
        right, wrong = len(caught[limit]), len(false[limit])
        print(
            f"{limit}: recall {right / 40:.0%}, precision {right / (right + wrong):.0%}, false {wrong / weeks:.1f} a week"
        )
        assert right / 40 >= recall
        assert right / (right + wrong) >= precision
        assert wrong / weeks <= false_a_week


def test_learn_gives_what_estimating_and_noting_each_session_gives() -> None:
    """With refusals, and filters so small that generations end."""
    choose, learning, plain = random.Random(7), Baselines(1 << 12), Baselines(1 << 12)
    deviating = 0
    for number in range(6_000):
        who = choose.randrange(12)
        if number % 200 == 0:
            learning.note_denial(f"p{who}")
            plain.note_denial(f"p{who}")
        elif number % 1_900 == 0:
            learning.forget_denials()
            plain.forget_denials()
        ip = f"10.{choose.randrange(30) if choose.random() < 0.02 else who}.0.1"
        seen = seen_of(f"p{who}", f"r{who % 3}", ip, number // 600 * 3_600_000)
        expected = plain.estimate(seen)
        plain.note(seen)
        assert learning.learn(seen) == expected
        deviating += expected > 0
    assert 100 < deviating < 3_000
    assert learning._new.members == plain._new.members


@pytest.mark.slow
def test_a_million_principals_take_the_memory_of_a_thousand() -> None:
    baselines = Baselines(1 << 23)
    for number in range(1_000_000):
        baselines.note(seen_of(f"principal-{number}", f"role-{number % 500}", f"10.{number % 250}.0.1", number))
        baselines.note_denial(f"principal-{number}")
    assert baselines.bytes <= 2 * (1 << 23) // 8
    assert (baselines.denials_of("principal-999999"), baselines.denials_of("principal-0")) == (1, 0)
    assert len(baselines._denied) == 4_096
    last = seen_of("principal-999999", "role-499", "10.249.0.1", 999_999)
    assert baselines.estimate(last) < THRESHOLD, "the newest are known"
