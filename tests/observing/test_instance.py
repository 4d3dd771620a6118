"""A site that `up` runs, seen from outside: by a real Prometheus, and by whoever reads what it says of itself."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import calling
from tests.support.busy_day import SECRET, Day, Mail, receiving
from tests.support.collector import Collector, collecting
from tests.support.http import Caller, Site
from tests.support.processes import PATIENCE, Instance
from tests.support.prometheus import Prometheus, faults_of, panels, rules, watching

pytestmark = pytest.mark.server

SELECTOR = re.compile(r"\b(?:ballotpress|process|python)_\w+(?:\{[^}]*\})?")
"""The selectors of an expression; no label's value of ours has a brace in it but a route, which is spelled out below."""
ROUTE = re.compile(r"\{(\w+)\}")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """The collector of the site's traces."""
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def mail() -> Iterator[Mail]:
    """The site's relay."""
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def instance(collector: Collector, mail: Mail) -> Iterator[Instance]:
    """The `up` of this file."""
    more = {"BALLOTPRESS_MAIL_WEBHOOK_SECRETS": SECRET, "SMTP_URL": mail.url, "BALLOTPRESS_DNS_SERVERS": "127.0.0.1:9"}
    more["BALLOTPRESS_BASE_URL"] = "https://verdicts.example"  # mail of a site that is not public is not checked
    with tempfile.TemporaryDirectory(prefix="test-") as folder:
        instance = Instance(Path(folder) / "home", **collector.environ, **more)
        try:
            yield instance.start().ready()
        finally:
            instance.stop()


@pytest.fixture(scope="module")
def site(instance: Instance) -> Iterator[Site]:
    """Its site, with the operator that `up` made."""
    with calling.Client(base_url=f"http://127.0.0.1:{instance.port}", timeout=PATIENCE) as client:
        site = Site(client)
        site.operator = Caller(client, (instance.home / "operator.token").read_text().strip())
        yield site


@pytest.fixture(scope="module")
def prometheus(site: Site, instance: Instance) -> Iterator[Prometheus]:
    """A Prometheus that watches it, once it has something to tell: votes, a request that failed, a check of its mail."""
    for choice in ("ship", "skip"):
        site.visitor().vote("aider", choice)
    assert site.anyone.get("/v1/categories", after=10**9).status_code == 503
    instance.command("mail", "check")
    with tempfile.TemporaryDirectory(prefix="test-") as folder, watching(f"127.0.0.1:{instance.port}", Path(folder)) as made:
        yield made


def selectors(expression: str) -> set[str]:
    """Return the selectors of an expression: metrics with what is asked of their labels."""
    spelled = ROUTE.sub(r"<\1>", expression)
    return {re.sub(r"<(\w+)>", r"{\1}", found) for found in SELECTOR.findall(spelled)}


def test_promtool_finds_nothing_wrong_with_the_metrics(site: Site) -> None:
    """Names, types and texts are as Prometheus wants them; of one name it takes the last word for microseconds."""
    kept = "ballotpress_mail_about_us metric names should not contain abbreviated units"
    assert faults_of(site.anyone.get("/metrics").content) == [kept]


@pytest.mark.parametrize("alarm", sorted(rules()))
def test_every_metric_of_an_alarm_exists(prometheus: Prometheus, alarm: str) -> None:
    """The site has each metric that an alarm asks for, with the labels that it asks for."""
    expression = rules()[alarm]["expr"]
    missing = [one for one in selectors(expression) if not prometheus.shows(one)]
    assert selectors(expression) and missing == []


def test_every_panel_shows_something(prometheus: Prometheus) -> None:
    """Each expression of the dashboard is right, and finds its metrics."""
    wrong = []
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$job", ".+").replace("$__rate_interval", "1m")
            prometheus.query(expression)
            wrong += [f"{panel['title']}: {one}" for one in selectors(expression) if not prometheus.shows(one)]
    assert wrong == []


def test_prometheus_keeps_the_traces_of_votes(prometheus: Prometheus, collector: Collector) -> None:
    """From a bucket of the votes' time an exemplar leads to a trace that the collector has."""
    (found, *_) = prometheus.exemplars('ballotpress_http_request_seconds_bucket{method="PUT"}')
    trace = found["exemplars"][0]["labels"]["trace_id"]
    assert collector.await_span(lambda span: span.trace == trace and span.name == "PUT /v1/tools/{tool}/vote")


def test_no_alarm_sounds_on_a_good_day(prometheus: Prometheus) -> None:
    """A site that just runs sets none off."""
    assert [found["metric"]["alertname"] for found in prometheus.query('ALERTS{alertstate="firing"}')] == []


def test_nothing_personal_is_written_down(instance: Instance, site: Site, mail: Mail, collector: Collector) -> None:
    """After a day on which much went wrong no address, id, token, name or text of it stands in logs, metrics and traces."""
    day = Day(instance, site, mail)
    day.happen()
    told = day.told(collector.raw)
    assert {"typed", "a visitor", "a visitor's token", "a reader", "a link's token"} <= set(day.names.values())
    assert "CheckViolationError" in told["what `up` wrote"] and "violates check constraint" in told["PostgreSQL's log"]
    assert "relay.conversation" in told["traces"] and "PUT /v1/tools/{tool}/vote" in told["traces"]
    leaks = [(where, what, name) for where, text in told.items() for name, what in day.names.items() if name in text]
    assert [f"{where} holds {what}: {around(told[where], name)}" for where, what, name in leaks] == []


def around(text: str, name: str) -> str:
    """Return where a name stands in a text."""
    at = text.index(name)
    return text[max(0, at - 160) : at + len(name) + 40]
