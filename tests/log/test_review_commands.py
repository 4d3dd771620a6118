"""What reviews promise of the log and the vault together: a key lives exactly as long as its review."""

import asyncio
import base64
import os
from typing import Any

import asyncpg
import pytest

from events import bookmarks
from events.catalog import ToolNotListed
from events.commands.bookmarks import SetBookmark
from events.commands.erasure import EraseVisitor, Erasure
from events.commands.reviews import DecideReview, EditReview, SubmitReview, WithdrawReview
from events.commands.voters import CorrectVoters
from events.erasure import VisitorIsErased
from events.log import ids
from events.log.command import Command, IdempotencyKey, Receipt
from events.log.committer import Committer
from events.log.vault import Erased, Vault
from events.reviews import Changes, Review, ReviewExists, ReviewNotFound
from events.voters import VoterIsDisqualified
from services.web.erased import ErasedVisitors
from tests.support.catalogs import import_tools, new_id
from tests.support.log import append

TOOL = new_id()
VAULT = Vault([base64.b64encode(os.urandom(32)).decode()])


def submission(visitor: str, slug: str = "alpha", key: IdempotencyKey | None = None) -> SubmitReview:
    review = new_id()
    own, keep = VAULT.new_key(review)
    return SubmitReview(
        visitor=visitor,
        slug=slug,
        review=review,
        verdict="ship",
        score=78,
        text=own.seal("text", "It is good."),
        name=own.seal("name", "Ada"),
        keep=keep,
        key=key,
    )


async def submit(committer: Committer, visitor: str, slug: str = "alpha") -> Receipt[Review]:
    return await committer.submit(submission(visitor, slug))


async def disqualify(committer: Committer, visitor: str) -> None:
    async def tallies(*_: object) -> dict[str, tuple[int, int]]:
        return {}

    await committer.submit(CorrectVoters(new_id(), [visitor], "bot", tallies, reinstate=False, operator="op"))


async def types(connection: Any) -> list[str]:
    return [row["type"] for row in await connection.fetch("select type from log.events order by position")]


async def owners(connection: Any) -> set[str]:
    return {row["owner"] for row in await connection.fetch("select owner from vault.keys")}


async def test_a_submitted_review_opens(committer: Committer, connection: Any) -> None:
    """The key is kept with the event; no text stands in the log."""
    await import_tools(committer, "alpha")
    receipt = await submit(committer, new_id())
    review = receipt.value
    assert (review.status, review.current.number, receipt.appended) == ("pending", 1, 2)
    key = await VAULT.key_of(connection, review.review)
    assert (key.open("text", review.current.text), key.open("name", review.current.name or "")) == ("It is good.", "Ada")
    assert await connection.fetchval("select count(*) from log.events where data::text like '%good%'") == 0
    assert (await types(connection))[-2:] == ["ReviewSubmitted", "ReviewPlaced"]


async def test_a_refused_review_keeps_no_key(committer: Committer, connection: Any) -> None:
    """A second review is told the first one's id, however the two race, and leaves nothing in the vault."""
    await import_tools(committer, "alpha")
    ada = new_id()
    answers = await asyncio.gather(*(submit(committer, ada) for _ in range(5)), return_exceptions=True)
    (first,) = (answer for answer in answers if isinstance(answer, Receipt))
    refusals = [answer for answer in answers if isinstance(answer, ReviewExists)]
    assert [refusal.args for refusal in refusals] == [(first.value.review,)] * 4
    with pytest.raises(ToolNotListed):
        await submit(committer, ada, "unknown")
    assert await owners(connection) == {first.value.review}


async def test_a_retried_review_is_the_same(committer: Committer, connection: Any) -> None:
    """A retry under the same idempotency key, with texts sealed anew, gives the first receipt and keeps no second key."""
    await import_tools(committer, "alpha")
    ada = new_id()
    key = IdempotencyKey(ada, "k", b"fingerprint")
    first = await committer.submit(submission(ada, key=key))
    assert await committer.submit(submission(ada, key=key)) == first
    assert await owners(connection) == {first.value.review}


async def test_a_review_is_edited_and_decided(committer: Committer, connection: Any) -> None:
    """An edit carries over what it leaves out; operators stand in `meta`."""
    await import_tools(committer, "alpha")
    ada = new_id()
    review = (await submit(committer, ada)).value
    await committer.submit(DecideReview(review.review, "approve", operator="op", revision=1))
    sealed = (await VAULT.key_of(connection, review.review)).seal("text", "Better now.")
    edited = (await committer.submit(EditReview(ada, review.review, Changes(text=sealed)))).value
    assert (edited.status, edited.current.name, edited.published) == ("pending", review.current.name, review.current)
    decided = await committer.submit(DecideReview(review.review, "approve", operator="op", revision=2))
    again = await committer.submit(DecideReview(review.review, "approve", operator="op", revision=2))
    assert decided.value.published == edited.current
    assert (again.appended, again.position, again.value) == (0, decided.position, decided.value)
    assert await connection.fetchval("select meta->>'operator' from log.events order by position desc limit 1") == "op"


async def test_withdrawing_destroys_the_key(committer: Committer, connection: Any) -> None:
    """A withdrawn review's texts are gone for good, and its place is free for a new one."""
    await import_tools(committer, "alpha", "beta")
    ada = new_id()
    first, other = (await submit(committer, ada)).value, (await submit(committer, ada, "beta")).value
    with pytest.raises(ReviewNotFound):
        await committer.submit(WithdrawReview(new_id(), first.review))
    assert (await committer.submit(WithdrawReview(ada, first.review))).appended == 2
    assert (await committer.submit(WithdrawReview(ada, first.review))).appended == 0
    with pytest.raises(Erased):
        await VAULT.key_of(connection, first.review)
    for command in (DecideReview(first.review, "approve", operator="op"), EditReview(ada, first.review, Changes(score=1))):
        with pytest.raises(ReviewNotFound):
            await committer.submit(command)
    second = (await submit(committer, ada)).value
    assert (await committer.submit(WithdrawReview(ada, second.review))).appended == 2
    assert await owners(connection) == {other.review}


@pytest.mark.parametrize("review", ["", "nonsense", "x" * 22, "AAAAAAAAAAAAAAAAAAAAAA"])
async def test_what_is_no_review_is_not_found(committer: Committer, review: str) -> None:
    """An id of no review, or what is no id at all, is not found."""
    commands: list[Command[Any]] = [
        EditReview(new_id(), review, Changes(score=1)),
        WithdrawReview(new_id(), review),
        DecideReview(review, "approve", operator="op"),
    ]
    for command in commands:
        with pytest.raises(ReviewNotFound):
            await committer.submit(command)


async def test_the_disqualified_may_only_erase(committer: Committer, connection: Any) -> None:
    """A disqualified visitor's writes are refused, but not its erasure."""
    await import_tools(committer, "alpha", "beta")
    ada = new_id()
    review = (await submit(committer, ada)).value.review
    await disqualify(committer, ada)
    commands: list[Command[Any]] = [
        submission(ada, "beta"),
        EditReview(ada, review, Changes(score=1)),
        WithdrawReview(ada, review),
    ]
    for command in commands:
        with pytest.raises(VoterIsDisqualified):
            await committer.submit(command)
    assert (await committer.submit(EraseVisitor(ada))).value == Erasure(1, 0)
    assert await owners(connection) == set()


async def test_erasure_takes_all_that_was_written(committer: Committer, connection: Any) -> None:
    """A visitor's reviews and bookmarks go and their keys with them; other visitors' stay; twice changes nothing.

    What an earlier release let be written behind it goes at the next.
    """
    await import_tools(committer, "alpha", "beta")
    ada, bob = new_id(), new_id()
    theirs = (await submit(committer, bob)).value.review
    for slug in ("alpha", "beta"):
        await submit(committer, ada, slug)
        await committer.submit(SetBookmark(ada, slug, keep=True))
    await committer.submit(SetBookmark(ada, "beta", keep=False))
    receipt = await committer.submit(EraseVisitor(ada, operator="op"))
    assert (receipt.value, receipt.appended) == (Erasure(2, 1), 6)
    assert sorted((await types(connection))[-6:]) == sorted(
        ["ReviewWithdrawn", "ReviewCleared"] * 2 + ["BookmarkRemoved", "PersonErased"]
    )
    assert await owners(connection) == {theirs}
    again = await committer.submit(EraseVisitor(ada))
    assert (again.value, again.appended, again.position) == (Erasure(0, 0), 0, receipt.position)
    await committer.submit(append((bookmarks.stream(ada, TOOL), bookmarks.ToolBookmarked(visitor=ada, tool=TOOL))))
    assert (await committer.submit(EraseVisitor(ada))).value == Erasure(0, 1)


async def test_every_process_learns_who_was_erased(dsn: str, committer: Committer) -> None:
    """What another process, or an operator at a shell, erased is read from the log, from its beginning and as it goes on."""
    await import_tools(committer, "alpha")
    ada, bob = new_id(), new_id()
    for visitor in (ada, bob):
        await committer.submit(SetBookmark(visitor, "alpha", keep=True))
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        erased = ErasedVisitors(pool)
        await committer.submit(EraseVisitor(ada))
        await erased.read_on()
        assert (ada in erased, bob in erased) == (True, False)
        await committer.submit(EraseVisitor(bob, operator="op"))
        await erased.read_on()
        with pytest.raises(VisitorIsErased):
            erased.refuse(bob)


async def test_erasing_a_stranger_is_no_event(committer: Committer, connection: Any) -> None:
    """A visitor without events is erased without a trace; what is no id is refused."""
    receipt = await committer.submit(EraseVisitor(new_id()))
    assert (receipt.value, receipt.appended, receipt.position) == (Erasure(0, 0), 0, None)
    with pytest.raises(ValueError, match="not an id"):
        await committer.submit(EraseVisitor("nonsense"))
    assert await types(connection) == []


async def test_a_visitors_neighbour_is_left_alone(committer: Committer, connection: Any) -> None:
    """Two visitors whose ids share their first 8 bytes share a range of streams, but not what is erased."""
    await import_tools(committer, "alpha")
    shared = os.urandom(10)
    ada, bob = ids.new_id(1_800_000_000_000, shared), ids.new_id(1_800_000_000_000, shared[:2] + os.urandom(8))
    theirs = (await submit(committer, bob)).value.review
    await committer.submit(SetBookmark(bob, "alpha", keep=True))
    await submit(committer, ada)
    assert (await committer.submit(EraseVisitor(ada))).value == Erasure(1, 0)
    assert await owners(connection) == {theirs}
