"""Who votes, writes, reads or decides is told to that person and to operators alone: a whole run of a site is searched."""

import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from events.commands.voters import CorrectVoters
from events.log import ids
from projections.cards import tallies_at_head
from services.clock import fresh_id
from services.proof import export
from services.web.app import PAGES, ROUTES
from tests.support.http import OPERATOR_TOKENS, SCOPES, Caller, Site, serving
from tests.support.newsroom import Newsroom
from tests.support.processes import wait_for

OPERATOR = "zebulon-quill"
ADDRESSES = ("ada.lovelace@example.com", "grace.hopper@example.com")
PUBLIC_STREAMS = ("Tool", "Comparison", "Panel", "Review", "Correction", "LogKey", "LogRestarted")
"""The beginnings of the types whose streams are known by an id that everybody sees."""
MOST_PAGES = 300
NOT_ASKED = {"/v1/tallies/live", "/outbox", "/outbox/{mail:str}", "/outbox/{mail:str}/html"}
"""A stream without end; and mails, which are searched by themselves."""


@pytest.fixture
def site(dsn: str, valkey_url: str, tmp_path: Path) -> Iterator[Site]:
    """A site whose operator has a name that stands nowhere else."""
    operator = f"{OPERATOR}:{'+'.join(SCOPES)}:{OPERATOR_TOKENS['all']}"
    with serving(dsn, valkey_url, tmp_path / "site.log", BALLOTPRESS_OPERATOR_TOKENS=operator) as made:
        yield made


async def live(site: Site, room: Newsroom) -> list[Caller]:
    """Let three visitors vote, change, keep, review and sign up; an operator decide; an issue be sent. Give the visitors."""
    tools = [site.add_tool(slug=slug) for slug in ("alpha", "beta")]
    visitors = [site.visitor() for _ in range(3)]
    for visitor in visitors:
        for choice in ("ship", "skip"):
            visitor.vote(tools[0], choice)
        visitor.vote(tools[1], "ship")
        assert visitor.put(f"/v1/bookmarks/{tools[0]}").status_code == 200
    assert visitors[1].delete(f"/v1/tools/{tools[1]}/vote").status_code == 200
    review = {"verdict": "ship", "body": "It does what it says, and says what it does.", "display_name": "Q."}
    written = visitors[0].post(f"/v1/tools/{tools[0]}/reviews", review).json()
    decision = {"decision": "approve", "revision": 1}
    assert site.operator.post(f"/v1/ops/reviews/{written['id']}/decision", decision).status_code == 200
    for address, visitor in zip(ADDRESSES, visitors, strict=False):
        await room.subscribe(address, visitor=visitor.visitor)
    await room.committer.submit(
        CorrectVoters(fresh_id(), [visitors[2].visitor], "a farm", tallies_at_head, reinstate=False, operator=OPERATOR)
    )
    assert site.anyone.get("/v1/categories", after=site.head()).status_code == 200
    await room.send_now()
    await room.deliver()
    return visitors


async def names_of(room: Newsroom) -> dict[str, str]:
    """Return all that nobody else may be told, with what it is: visitors, subscribers, streams, addresses, the operator."""
    rows = await room.database.fetch("""
        select e.stream, min(e.type) as type,
               array_remove(array_agg(distinct e.data->>'voter') || array_agg(distinct e.data->>'visitor')
                            || array_agg(distinct e.data->>'subscriber'), null) as people
        from log.events e group by e.stream""")
    found = dict.fromkeys(ADDRESSES, "an address") | {OPERATOR: "the operator"}
    for row in rows:
        found |= dict.fromkeys(row["people"], "a visitor or subscriber")
        if not row["type"].startswith(PUBLIC_STREAMS):
            stream = UUID(str(row["stream"]))
            spelled = (str(stream), stream.hex, ids.from_bytes(stream.bytes))
            found |= dict.fromkeys(spelled, f"the stream of a {row['type']}")
    return found


def told(client: httpx.Client, headers: Mapping[str, str]) -> dict[str, str]:
    """Return every resource that a caller can find or ask for, by address: pages by their links, JSON by its routes."""
    known = {"tool": "alpha", "persona": "builder", "log": "1", "number": "1", "pair": "alpha-vs-beta", "entry": "1"}
    routes = {path for route in (*ROUTES, *PAGES) if "GET" in route.http_methods for path in route.paths} - NOT_ASKED
    waiting = [re.sub(r"\{(\w+):\w+\}", lambda name: known.get(name[1], "x"), path) for path in sorted(routes)]
    size = int(client.get("/log/1/checkpoint").text.split("\n")[1])
    assert size < 256
    waiting += [f"/log/1/tile/0/000.p/{size}", f"/log/1/tile/entries/000.p/{size}", "/v1/log/proof?position=3"]
    waiting += ["/v1/log/consistency?from=2", *(f"/proof/entries/{position}" for position in range(1, size + 1))]
    found: dict[str, str] = {}
    while waiting and len(found) < MOST_PAGES:
        path = waiting.pop(0)
        if path in found:
            continue
        client.cookies.clear()
        answer = client.get(path, headers=headers)
        found[path] = f"{answer.headers}\n{answer.content.decode('latin-1')}"
        if "html" in answer.headers.get("content-type", ""):
            waiting += [link for link in re.findall(r'href="(/[^"#]*)"', answer.text) if not link.startswith("/ops")]
    return found


def leaks(texts: Mapping[str, str], names: Mapping[str, str], *own: str) -> list[str]:
    """Return which texts hold what they must not; what is the reader's own they may."""
    return [
        f"{where} names {what}: {name}"
        for where, text in texts.items()
        for name, what in names.items()
        if name not in own and name in text
    ]


async def test_nobody_is_told_who(site: Site, room: Newsroom, tmp_path: Path) -> None:
    """Pages, feeds, JSON, mails, logs, metrics and the public log name nobody; a visitor's own pages name that one."""
    visitors = await live(site, room)
    names = await names_of(room)
    assert {visitor.visitor for visitor in visitors} <= names.keys() and len(names) > 30
    public = site.anyone.get("/log/1/checkpoint")
    head = site.head()
    assert wait_for(lambda: int(site.anyone.get("/log/1/checkpoint").text.split("\n")[1]) >= head), public.text
    assert leaks(told(site.client, {}), names) == []
    for visitor in visitors:
        seen = told(site.client, {"Authorization": f"Bearer {visitor.token}"})
        assert visitor.visitor in seen["/proof/mine"]
        assert leaks({"/proof/mine": seen["/proof/mine"]}, names) != []
        assert leaks(seen, names, visitor.visitor) == []
    subscribers = {address: await subscriber_of(room, address) for address in ADDRESSES}
    for address, subscriber in subscribers.items():
        mails = {f"a mail to {address}": raw.replace(b"=\r\n", b"").decode() for raw in room.sink.to(address)}
        assert mails and leaks(mails, names, address, subscriber) == []
    metrics = {"/metrics": site.operator.get("/metrics").text, "the log of the processes": (tmp_path / "site.log").read_text()}
    assert leaks(metrics, names) == []
    out = BytesIO()
    async with room.database.acquire() as connection:
        await export.export(connection, out, lambda done, total: None)  # type: ignore[arg-type]
        raw = "".join(row["text"] for row in await connection.fetch("select e::text as text from log.events e"))
    assert leaks({"the public export": out.getvalue().decode()}, names) == []
    assert all(visitor.visitor in raw for visitor in visitors)  # the raw log does name them: the search would find it


async def subscriber_of(room: Newsroom, address: str) -> str:
    """Return a subscriber's id."""
    finder = await room.vault.finder(room.database)
    found: Any = await room.database.fetchval("select person from vault.lookups where mark = $1", finder.mark(address))
    return str(found)
