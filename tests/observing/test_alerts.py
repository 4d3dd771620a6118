"""Each alarm of docs/alerts.yml sounds when it should and not otherwise, by Prometheus' own promtool."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests.support.prometheus import RULES, promtool, rules

SPAN = "x180"
"""Three hours, a value a minute; alarms are looked at after two."""
AFTER = "2h"


class Case(NamedTuple):
    """Series with which an alarm sounds, series with which it doesn't (promtool's notation), and the labels it sounds with."""

    sounds: dict[str, str]
    silent: dict[str, str]
    labels: Mapping[str, str] = MappingProxyType({})


def still(value: float) -> str:
    """Return a series that stays as it is."""
    return f"{value}+0{SPAN}"


def gauge(name: str, high: float, low: float, **labels: str) -> Case:
    """Return the case of one gauge that is too high, or as it should be."""
    chosen = ",".join(f'{key}="{value}"' for key, value in labels.items())
    series = f"ballotpress_{name}{{{chosen}}}"
    return Case({series: still(high)}, {series: still(low)}, labels)


REQUESTS = 'ballotpress_http_requests_total{status="%sxx"}'
CASES = {
    "BallotpressTakesNoVotes": gauge("log_stuck_seconds", 11, 9),
    "BallotpressRefuses": Case(
        {"ballotpress_http_refused_total": f"0+120{SPAN}"}, {"ballotpress_http_refused_total": f"0+30{SPAN}"}
    ),
    "BallotpressFails": Case({REQUESTS % 5: f"0+60{SPAN}"}, {REQUESTS % 5: f"0+3{SPAN}", REQUESTS % 2: f"0+6000{SPAN}"}),
    "BallotpressViewHalted": gauge("view_halted", 1, 0, view="cards"),
    "BallotpressViewBehind": gauge("view_lag_events", 10_001, 10_000, view="hours"),
    "BallotpressProcessInTrouble": gauge("process_troubles", 1, 0, kind="worker"),
    "BallotpressLogRefused": gauge("public_log", 1, 0, of="refused"),
    "BallotpressLogUnsigned": gauge("public_log", 61, 59, of="unsigned_seconds"),
    "BallotpressIssueUnproven": gauge("issues_unproven", 1, 0, of="week"),
    "BallotpressCohortsWait": gauge("cohorts_unsettling", 1, 0, status="waiting")._replace(labels={}),
    "BallotpressVoidStands": gauge("cohorts", 1, 0, status="undoing")._replace(labels={}),
    "BallotpressScanFails": gauge("scan", 1801, 1799, of="silent_seconds"),
    "BallotpressPurgesFail": gauge("purges", 3, 2, of="failures")._replace(labels={}),
    "BallotpressWebhookOff": gauge("webhooks", 1, 0, of="gone_off")._replace(labels={}),
    "BallotpressMailWaits": gauge("mail_overdue_seconds", 901, 899, mail="first"),
    "BallotpressMailWentWrong": gauge("mail_check", 1, 0, of="went_wrong")._replace(labels={}),
    "BallotpressReplicaLeft": gauge("replicas", 1, 0, of="wrong")._replace(labels={}),
    "BallotpressBackupWrong": gauge("backups", 1, 0, of="wrong")._replace(labels={}),
    "BallotpressMailUncertain": gauge("mails", 1, 0, state="uncertain"),
    "BallotpressMailHeld": gauge("mail_about_us", 1, 0, of="held_providers"),
    "BallotpressIssueLate": gauge("issue_late", 1, 0, edition="weekly"),
    "BallotpressLimitsLocal": Case(
        {'ballotpress_limits_shared{in="valkey"}': still(0)},
        {'ballotpress_limits_shared{in="valkey"}': still(1)},
        {"in": "valkey"},
    ),
    "BallotpressDiskFills": Case(
        {'ballotpress_disk_bytes{of="free"}': f"200-1{SPAN}"},
        {'ballotpress_disk_bytes{of="free"}': f"20000-1{SPAN}"},
        {"of": "free"},
    ),
}


def test_each_alarm_has_a_case() -> None:
    """An alarm that is added or renamed needs series with which it sounds, and some with which it doesn't."""
    assert rules().keys() == CASES.keys()


def test_the_rules_are_right() -> None:
    """Promtool finds nothing wrong with the file."""
    assert f"SUCCESS: {len(CASES)} rules found" in promtool("check", "rules", RULES)


@pytest.mark.parametrize("sounds", [True, False])
def test_each_alarm_sounds_when_it_should(tmp_path: Path, sounds: bool) -> None:
    """With its series every alarm sounds, its text filled in; with those of a good day none does."""
    series = {name: values for case in CASES.values() for name, values in (case.sounds if sounds else case.silent).items()}
    looks = [{"alertname": name, "eval_time": AFTER, "exp_alerts": [_alert(name)] if sounds else []} for name in CASES]
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": given, "alert_rule_test": looks}
    (file := tmp_path / "cases.yml").write_text(json.dumps({"rule_files": [str(RULES)], "tests": [test]}))
    promtool("test", "rules", file)


def _alert(name: str) -> dict[str, Any]:
    """Return an alarm as it sounds, its text filled in."""
    labels = {**CASES[name].labels, **rules()[name].get("labels", {})}
    fill = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
    texts = rules()[name]["annotations"].items()
    return {
        "exp_labels": labels,
        "exp_annotations": {key: fill.sub(lambda found: labels[found[1]], text) for key, text in texts},
    }
