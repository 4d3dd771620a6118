"""An issue is seen on its way: planned, sent in chunks, each mail a conversation with the relay, and nobody named."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.newsletter import issues
from services.setting_groups import Tracing
from services.settings import Newsletter
from tests.support import catalogs
from tests.support.collector import Collector, collecting
from tests.support.newsroom import Newsroom, newsroom
from tests.support.settings import settings

MONDAY = datetime(2099, 11, 23, 9, tzinfo=UTC)


@pytest.fixture
async def traced(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[tuple[Newsroom, Collector]]:
    """A newsroom that traces every chunk."""
    newsletter = Newsletter(sender="Verdicts <digest@verdicts.example>")
    with collecting() as collector:
        given = settings(dsn, valkey_url, home=tmp_path, newsletter=newsletter)
        async with newsroom(replace(given, tracing=Tracing(endpoint=collector.address, share=1.0))) as room:
            yield room, collector


async def test_an_issue_is_traced_to_each_conversation(traced: tuple[Newsroom, Collector]) -> None:
    """One trace holds the issue, its chunks and their conversations; a chunk of single mails is a trace of its own."""
    room, collector = traced
    await room.import_tools(catalogs.tool("alpha"))
    readers = [await room.subscribe(f"{name}@elsewhere.example") for name in ("ada", "grace")]
    room.sink.rcpt = lambda recipient: "550 5.1.1 no such user" if "grace" in recipient else "250 ok"
    await room.project()
    await issues.tick(room.database, room.settings.database_url, room.schedule, MONDAY, tracing=room.tracing)
    await room.deliver()
    issue = collector.await_span(lambda span: span.name == "newsletter.issue")
    assert issue.attributes == {"ballotpress.issue": 1, "ballotpress.edition": "weekly"} and issue.parent == ""
    chunk = collector.await_span(lambda span: span.name == "newsletter.chunk" and span.attributes["ballotpress.issue"] == 1)
    assert (chunk.trace, chunk.parent) == (issue.trace, issue.id)
    mails = [span for span in collector.spans() if span.name == "relay.conversation" and span.parent == chunk.id]
    assert len(mails) == chunk.attributes["ballotpress.mails"]
    outcomes = {(span.attributes["ballotpress.relay.outcome"], span.attributes["ballotpress.relay.code"]) for span in mails}
    assert outcomes == {("accepted", 250), ("rejected", 550)}
    assert {span.service for span in collector.spans()} == {"ballotpress-worker"}
    raw = collector.raw.decode("latin-1")
    assert not [name for name in ("elsewhere.example", "ada@", "grace@", *readers) if name in raw]
