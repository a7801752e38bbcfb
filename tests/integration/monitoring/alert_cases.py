"""For each alert, series with which it fires and series with which it does not, in promtool's notation."""

from __future__ import annotations

from typing import Final, NamedTuple


class Case(NamedTuple):
    """`fires`, `quiet`: values by series, one for each `step`. `at`: when they are looked at. All are of one region."""

    alert: str
    fires: dict[str, str]
    quiet: dict[str, str]
    at: str = "30m"
    step: str = "1m"


def attempts(values: str, proof: str = "key", outcome: str = "issued", cause: str = "none") -> dict[str, str]:
    labels = f'operation="sts:AssumeRole",proof="{proof}",outcome="{outcome}",cause="{cause}",role_class="standard"'
    return {f"daypass_assume_total{{{labels}}}": values}


def refused(cause: str, values: str) -> dict[str, str]:
    return {f'daypass_refused_total{{cause="{cause}"}}': values, "daypass_requests_total": "0+100x500"}


def checks(expects: str, outcome: str, values: str, check: str = "c", cause: str = "none") -> dict[str, str]:
    labels = f'check="{check}",cause="{cause}",expects="{expects}",outcome="{outcome}"'
    return {f"daypass_checks_total{{{labels}}}": values}


def wanted(check: str, cause: str, values: str) -> dict[str, str]:
    """Refusals that a probe wanted."""
    return checks("refusal", "passed", values, check, cause)


def unavailable(each_minute: int) -> dict[str, str]:
    """1000 attempts a minute, and these on top of them for which the service was unavailable."""
    return attempts("0+1000x500") | attempts(f"0+{each_minute}x500", outcome="unavailable", cause="unavailable")


def slow(under: str) -> dict[str, str]:
    return {
        f'daypass_issuance_seconds_bucket{{le="{le}"}}': values
        for le, values in (("0.2", under), ("0.5", "0+100x60"), ("+Inf", "0+100x60"))
    }


def anomalies(severity: str) -> dict[str, str]:
    return {f'daypass_anomalies_total{{severity="{severity}"}}': "0x20 1x40"}


UP, DOWN = {'up{job="daypass",instance="a"}': "1x60"}, {'up{job="daypass",instance="a"}': "1x10 0x60"}
OTHER_UP = {'up{job="daypass",instance="b"}': "1x60"}
CAUSE: Final = "expired"

CASES: Final = (
    Case("DaypassDown", DOWN, DOWN | OTHER_UP),
    Case("DaypassDown", {}, UP),  # no target at all
    Case("DaypassInstanceDown", DOWN | OTHER_UP, UP | OTHER_UP),
    Case("DaypassBudgetEscalation", unavailable(300), unavailable(100)),
    Case("DaypassBudgetFastBurn", unavailable(30), unavailable(10)),
    # It was bad, and is good again: only the long window remembers.
    Case(
        "DaypassBudgetFastBurn",
        unavailable(30),
        attempts("0+1000x60") | attempts("0+100x10 1000+0x50", outcome="unavailable", cause="unavailable"),
    ),
    Case("DaypassBudgetBurn", unavailable(10), unavailable(4), "7h"),
    Case("DaypassBudgetSlowBurn", unavailable(2), unavailable(0), "80h", "30m"),
    Case(
        "DaypassWidespreadFailures",
        attempts("0+10x60") | attempts("0+10x60", outcome="failed", cause="credentials"),
        attempts("0+10x60") | attempts("0+1000x60", outcome="failed", cause="request"),
    ),
    # A probe is the only client.
    Case(
        "DaypassWidespreadFailures",
        attempts("0+10x60") | attempts("0+10x60", outcome="denied", cause="trust_policy"),
        attempts("0+10x60")
        | attempts("0+10x60", outcome="denied", cause="trust_policy")
        | wanted("other role is refused", "trust_policy", "0+10x60"),
    ),
    Case(
        "DaypassTrustDenials",
        attempts("0+10x60") | attempts("0+10x60", outcome="denied", cause="trust_policy"),
        attempts("0+10x60")
        | attempts("0+10x60", outcome="denied", cause="trust_policy")
        | wanted("other role is refused", "trust_policy", "0+10x60"),
    ),
    Case(
        "DaypassAuthFailures",
        refused("credentials", "0+10x60") | wanted("unknown key is refused", "credentials", "0+4x60"),
        refused("credentials", "0+10x60") | wanted("unknown key is refused", "credentials", "0+10x60"),
    ),
    Case(
        "DaypassExpiredTokens",
        refused("expired", "0+2x60") | wanted("expired token is refused", "expired", "0+1x60"),
        refused("expired", "0+2x60") | wanted("expired token is refused", "expired", "0+2x60"),
    ),
    Case("DaypassIssuanceSlow", slow("0+90x60"), slow("0+99x60")),
    Case("DaypassExpiredTokens", refused("expired", "0x20 2x40"), refused("revoked", "0x20 2x40")),
    Case(
        "DaypassTrustDenials",
        attempts("0+100x60") | attempts("0+2x60", outcome="denied", cause="trust_policy"),
        attempts("0+1000x60") | attempts("0+2x60", outcome="denied", cause="trust_policy"),
    ),
    Case("DaypassCheckFailing", checks("success", "failed", "0+1x60"), checks("success", "failed", "0x20 1x40")),
    Case("DaypassCheckFailing", checks("success", "failed", "0+1x60"), checks("refusal", "failed", "0+1x60")),
    Case("DaypassChecksMissing", checks("success", "passed", "5x60"), checks("success", "passed", "0+1x60"), "40m"),
    Case("DaypassChecksMissing", UP, checks("success", "passed", "0+1x60"), "40m"),
    Case("DaypassForbiddenAccepted", checks("refusal", "accepted", "0x25 1x40"), checks("refusal", "passed", "0+1x60")),
    Case(
        "DaypassChainedFailures",
        attempts("0+100x60", "session") | attempts("0+1x60", "session", "denied", "trust_policy"),
        attempts("0+100x60", "session") | attempts("0+100x60", "key", "denied", "trust_policy"),
    ),
    Case(
        "DaypassRecordIncomplete",
        {"daypass_record_expected_total": "0+10x60", "daypass_record_found_total": "0+10x20 199+10x40"},
        {"daypass_record_expected_total": "0+10x60", "daypass_record_found_total": "0+10x60"},
    ),
    Case("DaypassAuthFailures", refused("credentials", "0+10x60"), refused("credentials", "0+4x60")),
    Case("DaypassAuthFailures", refused("issuer", "0+10x60"), refused("request", "0+10x60")),
    Case(
        "DaypassAuthFailuresUnremediated",
        refused(CAUSE, "0+10x60"),
        refused(CAUSE, "0+10x20 200+0x40"),  # remedied after 20 minutes
        "45m",
    ),
    Case("DaypassDatabaseUnavailable", {"daypass_degraded": "0x10 1x50"}, {"daypass_degraded": "0x29 1x30"}),
    Case("DaypassDirectoryStale", {"daypass_directory_staleness_seconds": "90x60"}, {"daypass_directory_staleness_seconds": "5x60"}),
    Case("DaypassSpoolRejected", {"daypass_spool_rejected": "1x60"}, {"daypass_spool_rejected": "0x60"}),
    Case(
        "DaypassDiskFull",
        {'daypass_disk_free_ratio{job="daypass"}': "0.04x60"},
        {'daypass_disk_free_ratio{job="daypass"}': "0x60"},  # it has not been read yet
    ),
    Case("DaypassClockWrong", {"daypass_clock_offset_seconds": "-30x60"}, {"daypass_clock_offset_seconds": "0.2x60"}),
    Case("DaypassIssuerFailing", {"daypass_issuers_failing": "1x60"}, {"daypass_issuers_failing": "0x20 1x4 0x40"}),
    Case(
        "DaypassCertificateExpires",
        {'daypass_certificate_expires_seconds{job="daypass"}': "900000x60"},  # time begins at 0
        {'daypass_certificate_expires_seconds{job="daypass"}': "9000000x60"},
    ),
    Case("DaypassInternalErrors", {"daypass_errors_total": "0x20 1x40"}, {"daypass_errors_total": "1x60"}),
    Case(
        "DaypassEmergencyAccess",
        {'daypass_access_requests_total{event="emergency"}': "0x20 1x40"},
        {'daypass_access_requests_total{event="requested"}': "0x20 1x40"},
    ),
    Case("DaypassAnomaly", anomalies("high"), anomalies("low")),
    Case("DaypassUnusualSessions", anomalies("unjudged"), anomalies("high")),
    Case("DaypassWatchdog", {}, {}),
)  # fmt: skip
