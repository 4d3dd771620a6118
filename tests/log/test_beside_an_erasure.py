"""Whatever is written beside an erasure, the log holds nothing personal of the person behind it."""

import asyncio
import base64
import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from events.commands.ballots import CastVote
from events.commands.bookmarks import SetBookmark
from events.commands.erasure import EraseVisitor
from events.commands.reports import ReportReview
from events.commands.reviews import DecideReview, EditReview, SubmitReview
from events.erasure import VisitorIsErased
from events.log.command import Command
from events.log.committer import Committer
from events.log.vault import Vault
from events.reviews import Changes
from services.web.erased import ErasedVisitors
from tests.support.catalogs import import_tools, new_id
from tests.support.log import patient
from tests.support.settings import settings
from tests.support.sites import client

MOST_WRITES = 2_000
"""Writes of one writer, should it never be refused."""
ROUNDS = int(os.environ.get("BALLOTPRESS_EXAMPLES", "6"))
VAULT = Vault([base64.b64encode(os.urandom(32)).decode()])
SLUGS = ("alpha", "beta", "gamma")
# What stands behind a person's erasure and is no taking back.
BEHIND = """
select e.type from log.events e
where e.position > (select min(position) from log.events where type = 'PersonErased' and data->>'person' = $1)
  and coalesce(e.data->>'visitor', e.data->>'voter') = $1
  and e.type in ('ToolBookmarked', 'ReviewSubmitted', 'ReviewPlaced', 'ReviewEdited', 'ReviewReported', 'BookmarksJoined')
"""
KEYS = "select owner from vault.keys where owner <> $1"


def submission(visitor: str, slug: str) -> SubmitReview:
    """Return the command that reviews a tool."""
    review = new_id()
    own, keep = VAULT.new_key(review)
    text = own.seal("text", "It is good.")
    return SubmitReview(visitor=visitor, slug=slug, review=review, verdict="ship", score=None, text=text, name=None, keep=keep)


def reporting(visitor: str, review: str) -> ReportReview:
    """Return the command that reports a review of `alpha`."""
    report = new_id()
    own, keep = VAULT.new_key(report)
    words = own.seal("words", "Why.")
    return ReportReview(visitor=visitor, slug="alpha", review=review, report=report, ground="fake", words=words, keep=keep)


async def others_review(committer: Committer) -> str:
    """Return a public review of `alpha` by somebody else."""
    await import_tools(committer, *SLUGS)
    review = (await committer.submit(submission(new_id(), "alpha"))).value.review
    await committer.submit(DecideReview(review, "approve", "op"))
    return review


async def test_after_an_erasure_every_writing_command_is_refused(committer: Committer, connection: Any) -> None:
    """What comes after it appends nothing and keeps no key; to take back stays open, and a vote counts."""
    theirs = await others_review(committer)
    ada = new_id()
    mine = (await committer.submit(submission(ada, "alpha"))).value.review
    await committer.submit(reporting(ada, theirs))
    await committer.submit(SetBookmark(ada, "alpha", keep=True))
    await committer.submit(EraseVisitor(ada))
    head = await connection.fetchval("select position from log.head")
    refused: list[Command[Any]] = [
        SetBookmark(ada, "alpha", keep=True),
        SetBookmark(ada, "beta", keep=True),
        submission(ada, "alpha"),
        EditReview(ada, mine, Changes(score=1)),
        reporting(ada, theirs),
    ]
    for command in refused:
        with pytest.raises(VisitorIsErased):
            await committer.submit(command)
    assert (await committer.submit(SetBookmark(ada, "alpha", keep=False))).appended == 0
    assert await connection.fetchval("select position from log.head") == head
    assert await connection.fetch(KEYS, theirs) == []
    assert (await committer.submit(CastVote(ada, "alpha", "ship"))).appended == 1


async def write_until_refused(committer: Committer, command: Callable[[int], Command[Any]], written: asyncio.Semaphore) -> bool:
    """Submit one command after another until the visitor is refused; return whether it was. Each one that isn't is counted."""
    for n in range(MOST_WRITES):
        try:
            await committer.submit(command(n))
        except VisitorIsErased:
            return True
        written.release()
    return False


async def test_nothing_is_written_behind_an_erasure_of_another_process(dsn: str, committer: Committer, connection: Any) -> None:
    """Writers go on in one process while another erases: each is refused, and nothing of theirs stands behind the erasure."""
    theirs = await others_review(committer)

    async def erase(other: Committer, visitor: str, written: asyncio.Semaphore, after: int) -> None:
        """Erase the visitor once so much is written."""
        for _ in range(after):
            await written.acquire()
        await other.submit(EraseVisitor(visitor, operator="op"))

    async with patient(dsn) as other:
        for after in (n % 20 for n in range(ROUNDS)):
            ada, written = new_id(), asyncio.Semaphore(0)
            await committer.submit(SetBookmark(ada, "gamma", keep=True))
            reviews = [committer.submit(submission(ada, slug)) for slug in SLUGS]
            ends = await asyncio.gather(
                write_until_refused(committer, lambda n, who=ada: SetBookmark(who, "alpha", keep=n % 2 == 0), written),  # type: ignore[misc]
                write_until_refused(committer, lambda _, who=ada: SetBookmark(who, "beta", keep=True), written),  # type: ignore[misc]
                write_until_refused(committer, lambda _, who=ada: reporting(who, theirs), written),  # type: ignore[misc]
                erase(other, ada, written, after),
                *reviews,
                return_exceptions=True,
            )
            assert ends[:4] == [True, True, True, None]
            assert all(isinstance(end, VisitorIsErased) or not isinstance(end, BaseException) for end in ends[4:])
            assert await connection.fetch(BEHIND, ada) == []
            assert await connection.fetch(KEYS, theirs) == []


async def test_a_site_that_hasnt_read_of_an_erasure_answers_as_one_that_has(
    dsn: str, valkey_url: str, committer: Committer, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator erases whom a site takes writes of, and the site doesn't learn of it: all the same its answer is 403."""

    async def never(_: ErasedVisitors) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ErasedVisitors, "run", never)
    theirs = await others_review(committer)
    review = {"verdict": "ship", "body": "Twenty characters or a few more of them."}
    async with client(settings(dsn, valkey_url)) as http:
        token = (await http.post("/v1/visitors")).json()
        ada, me = token["visitor"], {"authorization": f"Bearer {token['token']}"}
        assert (await http.put("/v1/bookmarks/gamma", headers=me)).status_code == 200

        begun = asyncio.Event()

        async def keep(slug: str) -> httpx.Response:
            """Keep a tool and let it go again until that is refused."""
            for n in range(MOST_WRITES):
                answer = await http.put(f"/v1/bookmarks/{slug}", headers=me)
                if answer.status_code != 200:
                    break
                if n > 2:
                    begun.set()
                await http.delete(f"/v1/bookmarks/{slug}", headers=me)
            return answer

        keeping = [asyncio.create_task(keep(slug)) for slug in ("alpha", "beta")]
        await begun.wait()
        await committer.submit(EraseVisitor(ada, operator="op"))
        answers = [
            *await asyncio.gather(*keeping),
            await http.post("/v1/tools/beta/reviews", json=review, headers=me),
            await http.post(f"/v1/tools/alpha/reviews/{theirs}/reports", json={"ground": "fake", "words": "Why."}, headers=me),
        ]
        assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [(403, "/problems/visitor-erased")] * 4
        assert await connection.fetch(BEHIND, ada) == []
        assert (await http.put("/v1/tools/alpha/vote", json={"choice": "ship"}, headers=me)).status_code == 200
    assert await connection.fetch(KEYS, theirs) == []
