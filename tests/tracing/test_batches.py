"""One batch holds the commands of many: its span is linked to all that are traced, and says nothing of what was refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from events.ballots import Choice
from events.commands.ballots import CastVote
from events.commands.catalog import ImportCatalog
from events.log.cadence import Cadence
from events.log.committer import Committer
from events.registry import REGISTRY
from services.clock import fresh_id
from services.setting_groups import Tracing
from services.tracing.commands import Commands
from services.tracing.requests import Requests
from services.tracing.sampling import Sampling
from services.tracing.spans import Spans
from services.tracing.views import Windows
from tests.support import catalogs
from tests.support.collector import Collector, Seen, collecting


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of the test's own."""
    with collecting() as made:
        yield made


@pytest.fixture
def spans(collector: Collector) -> Iterator[Spans]:
    """The spans of a process."""
    made = Spans(Tracing(endpoint=collector.address), "api")
    yield made
    made.close()


@pytest.fixture
async def traced(dsn: str, spans: Spans) -> AsyncIterator[Committer]:
    """A committer that is traced, with one listed tool."""
    async with Committer(dsn, REGISTRY, patience=60, cadence=Cadence(rest=0.2, enough=100), tracing=Commands(spans)) as made:
        await made.submit(ImportCatalog.of(catalogs.file(catalogs.tool("alpha")), fresh_id, "op"))
        yield made


async def vote(committer: Committer, spans: Spans, tool: str, share: float, choice: Choice = "ship") -> None:
    """Vote in a request of its own, traced or not."""
    requests = Requests(spans, Sampling(share))
    span = requests.begin({})
    try:
        await committer.submit(CastVote(fresh_id(), tool, choice))
        status = 200
    except Exception:
        status = 404
    if span is not None:
        requests.end(span, "PUT", "/vote", status)


def named(collector: Collector, name: str) -> list[Seen]:
    """Return the spans of a name."""
    return [span for span in collector.spans() if span.name == name]


async def test_a_batch_is_linked_to_every_request_in_it(traced: Committer, spans: Spans, collector: Collector) -> None:
    """Of eight commands in one batch four are traced: one span of the batch, below the first, linked to these four."""
    tools = ["alpha"] * 7 + ["no-such-tool"]
    await asyncio.gather(
        *(vote(traced, spans, tool, share) for tool, share in zip(tools, [1, 1, 1, 0, 0, 0, 0, 1], strict=True))
    )
    spans.close()
    (batch,), (commit,) = named(collector, "log.batch"), named(collector, "log.commit")
    requests, waits = named(collector, "PUT /vote"), named(collector, "log.wait")
    assert sorted(batch.links) == sorted((span.trace, span.id) for span in requests) and len(requests) == 4
    assert (batch.attributes["ballotpress.commands"], batch.attributes["ballotpress.events"]) == (8, 7)
    assert (batch.trace, batch.parent) in batch.links and commit.parent == batch.id
    assert {(wait.trace, wait.parent) for wait in waits} == set(batch.links)
    assert all(wait.links == [(batch.trace, batch.id)] for wait in waits)
    (refused,) = [wait for wait in waits if "error.type" in wait.attributes]
    assert refused.attributes == {"error.type": "ToolNotListed"}


async def test_a_batch_that_fails_says_so(
    traced: Committer, spans: Spans, collector: Collector, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A batch that the server refuses has no position; each of its commands, tried alone, is a batch again."""
    await connection.execute("alter table log.events add constraint no_skips check (data->>'choice' <> 'skip') not valid")
    await asyncio.gather(vote(traced, spans, "alpha", 1), vote(traced, spans, "alpha", 1, "skip"))
    spans.close()
    together = [span for span in named(collector, "log.batch") if span.attributes["ballotpress.commands"] == 2]
    alone = [span for span in named(collector, "log.batch") if span.attributes["ballotpress.commands"] == 1]
    assert [span.attributes["ballotpress.events"] for span in together] == [0]
    assert sorted(int(span.attributes["ballotpress.events"]) for span in alone) == [0, 1]


def test_a_word_finds_the_window_whichever_comes_first(spans: Spans, collector: Collector) -> None:
    """A window is traced once for a batch in it, be the projector told of it before or after; nonsense is passed over."""
    windows, told = Windows(spans), list[str]()
    windows.tell = told.append
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    windows.hear(f"12-{trace}-{span} nonsense 13-xyz -1-{trace}-{span} 14--")
    windows.folded("cards", 10, 12, 1)
    windows.folded("hours", 12, 20, 1)
    windows.hear(f"15-{trace}-{span}")
    windows.folded("hours", 20, 21, 1)
    spans.close()
    seen = [
        (one.attributes["ballotpress.view"], one.attributes["ballotpress.position"]) for one in named(collector, "view.window")
    ]
    assert sorted(seen) == [("cards", 12), ("hours", 20)]
    assert all(one.links == [(trace, span)] and one.parent == span for one in named(collector, "view.window"))
    (word,) = told
    assert word.startswith(f"12-{trace}-")
