"""The spans of a real site, as a real receiver of OTLP sees them: from a request to the card that shows its vote."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.collector import Collector, Seen, collecting
from tests.support.http import Site, serving
from tests.support.processes import wait_for

VOTE = "PUT /v1/tools/{tool}/vote"
PARENT = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """The collector of these tests."""
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site's processes say."""
    return tmp_path_factory.mktemp("traced") / "site.log"


@pytest.fixture(scope="module")
def site(postgres: servers.Postgres, template: str, valkey_url: str, log: Path, collector: Collector) -> Iterator[Site]:
    """A site that traces every request."""
    asyncio.run(servers.execute(postgres.dsn(), f"create database traced template {template}"))
    with serving(postgres.dsn("traced"), valkey_url, log, **collector.environ) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_yet(collector: Collector) -> None:
    """Begin each test with no span of the one before."""
    collector.forget()


def traceparent(flags: str = "01") -> dict[str, str]:
    """Return the header of a caller that traces."""
    return {"traceparent": f"00-{PARENT[0]}-{PARENT[1]}-{flags}"}


def under(collector: Collector, parent: Seen, name: str) -> Seen:
    """Wait for the span of this name below another."""
    return collector.await_span(lambda span: span.name == name and span.parent == parent.id and span.trace == parent.trace)


def test_a_vote_is_seen_from_its_request_to_the_card(site: Site, collector: Collector) -> None:
    """One trace holds the request, its wait, the batch and commit, the window of each view, and the refresh of the cards."""
    tool, visitor = site.add_tool(), site.visitor()
    assert site.anyone.get(f"/v1/tools/{tool}").status_code == 200  # the card is in memory, and followed from now on
    answer = visitor.put(f"/v1/tools/{tool}/vote", {"choice": "ship"}, traceparent())
    position = answer.json()["position"]
    request = collector.await_span(lambda span: span.name == VOTE)
    assert (request.trace, request.parent, request.service) == (*PARENT, "ballotpress-api")
    assert request.attributes == {
        "http.request.method": "PUT", "http.route": "/v1/tools/{tool}/vote", "http.response.status_code": 200,
    }  # fmt: skip
    wait, batch = under(collector, request, "log.wait"), under(collector, request, "log.batch")
    assert wait.attributes == {"ballotpress.position": position} and wait.links == [(batch.trace, batch.id)]
    assert batch.attributes == {"ballotpress.commands": 1, "ballotpress.events": 1, "ballotpress.position": position}
    assert batch.links == [(request.trace, request.id)]
    commit = under(collector, batch, "log.commit")
    assert request.began <= wait.began <= wait.ended <= batch.began <= commit.began <= commit.ended == batch.ended
    views = {"cards", "hours"}
    assert wait_for(lambda: views <= {span.attributes["ballotpress.view"] for span in windows(collector, position)})
    cards = next(span for span in windows(collector, position) if span.attributes["ballotpress.view"] == "cards")
    assert (cards.service, cards.trace, cards.parent) == ("ballotpress-projector", batch.trace, batch.id)
    refresh = under(collector, cards, "cards.refresh")
    assert refresh.attributes == {"ballotpress.position": position} and refresh.links == [(cards.trace, cards.id)]
    served = wait_for(lambda: ask(site, collector, tool, refresh))
    assert served is not None and served.attributes["ballotpress.position"] == position


def windows(collector: Collector, position: int) -> list[Seen]:
    """Return the spans of the windows that took a position in."""
    found = [span for span in collector.spans() if span.name == "view.window"]
    return [
        one
        for one in found
        if int(one.attributes["ballotpress.from"]) < position <= int(one.attributes["ballotpress.position"])
    ]


def ask(site: Site, collector: Collector, tool: str, refresh: Seen) -> Seen | None:
    """Ask for a card, and return the span of a request that names the refresh which brought it."""
    assert site.anyone.get(f"/v1/tools/{tool}").status_code == 200
    reads = (span for span in collector.spans() if span.name == "GET /v1/tools/{tool}")
    return next((span for span in reads if (refresh.trace, refresh.id) in span.links), None)


@pytest.mark.parametrize(
    "header",
    [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ada@example.com",
        "x" * 4000,
    ],
)
def test_a_malformed_parent_is_passed_over(site: Site, collector: Collector, header: str) -> None:
    """The request is traced as one without a parent, and nothing of the header gets out."""
    assert site.anyone.get("/v1/categories", {"traceparent": header}).status_code == 200
    seen = collector.await_span(lambda span: span.name == "GET /v1/categories")
    assert seen.parent == "" and seen.trace != PARENT[0]
    assert b"ada@example.com" not in collector.raw


def test_a_caller_that_does_not_trace_is_not_traced(site: Site, collector: Collector) -> None:
    """The sampled flag of a parent is honoured: 00 has no span at all."""
    assert site.anyone.get("/v1/tools", traceparent("00")).status_code == 200
    assert site.anyone.get("/v1/categories").status_code == 200
    collector.await_span(lambda span: span.name == "GET /v1/categories")
    assert not [span for span in collector.spans() if span.name == "GET /v1/tools"]


def test_exemplars_and_logs_name_the_trace(site: Site, log: Path) -> None:
    """OpenMetrics names a trace in a bucket, Prometheus' own format none; a request's lines in the log carry the trace's id."""
    assert site.anyone.get("/v1/categories", traceparent()).status_code == 200
    openmetrics = site.anyone.get("/metrics", {"accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"})
    assert openmetrics.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert openmetrics.text.endswith("# EOF\n")
    bucket = (
        r'ballotpress_http_request_seconds_bucket\{le="[^"]+",method="GET",route="/v1/categories",status="2xx"\} [0-9.]+ # '
    )
    assert re.search(rf'{bucket}\{{trace_id="{PARENT[0]}"\}}', openmetrics.text)
    assert PARENT[0] not in site.anyone.get("/metrics").text
    wrong = {"authorization": "Bearer an-operator-token-that-is-wrong", **traceparent()}
    assert site.anyone.get("/v1/ops/status", wrong).status_code == 401
    line = next(line for line in log.read_text().splitlines() if "token was wrong" in line)
    assert f'"trace_id": "{PARENT[0]}"' in line and '"request_id"' in line


def test_a_method_that_somebody_made_up_is_named_nowhere(site: Site, collector: Collector) -> None:
    """Spans and metrics call it `_OTHER`: they are as few as the routes, and hold nothing that a caller spelled."""
    for method in ("ALICE-SECRET-METHOD", "X" * 5000):
        assert site.anyone.call(method, "/v1/categories").status_code == 405
    seen = collector.await_span(lambda span: span.name.startswith("_OTHER "))
    assert seen.attributes["http.request.method"] == "_OTHER"
    metrics = site.anyone.get("/metrics").text
    assert 'method="_OTHER"' in metrics
    for found in (collector.raw.decode("latin-1"), metrics):
        assert "ALICE" not in found and "XXXX" not in found
