"""Random histories: what people and operators do to a few tools, through the real commands and a real committer."""

import base64
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any, Literal

from asyncpg import Connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from events import integrity, subscribers
from events.ballots import Choice
from events.catalog import (
    ComparisonAnnounced,
    FormerSlugAdded,
    PanelReviewPublished,
    PanelReviewRevised,
    PersonaDescribed,
    ToolDescribed,
    ToolListed,
    ToolNotListed,
    ToolRenamed,
    ToolUnlisted,
    Verdict,
    persona_stream,
)
from events.commands.ballots import CastVote
from events.commands.bookmarks import SetBookmark
from events.commands.erasure import EraseVisitor
from events.commands.quarantine import DropEvent
from events.commands.reports import ReportReview
from events.commands.reviews import DecideReview, EditReview, SubmitReview, WithdrawReview
from events.commands.voters import CorrectVoters
from events.erasure import PersonErased, VisitorIsErased
from events.integrity import CohortHeld, Suspected
from events.log import ids
from events.log.committer import Committer
from events.log.event import Event
from events.log.vault import Key, Vault
from events.reviews import Changes, Ground, Judgement, ReviewEditedSince, ReviewExists, ReviewNotFound, Ties
from events.voters import Tally, VoterIsDisqualified, VoterUnknown
from projections.registry import SHOWN
from tests.support.log import append, tool_added

# The voters' first 8 bytes are alike in pairs, so that their ballots' streams lie in one range of the log's primary key.
VOTERS = [ids.new_id(1_780_000_000_000 + n // 2, bytes([0, 0, n] + [7] * 7)) for n in range(4)]
TOOLS = [ids.new_id(1_770_000_000_000 + n, bytes([n] * 10)) for n in range(3)]
SLUGS = ["one", "two", "three"]
PERSONAS = ["Builder", "Founder"]
READERS_DO = ["request", "request", "confirm", "confirm", "choose", "join", "place", "leave", "return"]
READERS_DO += ["suppress", "reinstate", "erase", "import"]

REFUSALS = (
    ToolNotListed,
    VoterIsDisqualified,
    VisitorIsErased,
    VoterUnknown,
    ReviewExists,
    ReviewNotFound,
    ReviewEditedSince,
    CohortHeld,
    subscribers.LinkUsed,
    subscribers.NotSubscribed,
    subscribers.NothingToUndo,
)

VAULT_KEY = base64.b64encode(bytes(32)).decode()
_vault = Vault([VAULT_KEY])

Act = tuple[Any, ...]

_voter = st.sampled_from(VOTERS)
_cohort = st.lists(_voter, min_size=1, max_size=2)
_tool = st.integers(0, 2)
_verdict = st.sampled_from(["ship", "skip"])
_score = st.none() | st.integers(0, 100)

_vote = st.tuples(st.just("vote"), _voter, _tool, st.sampled_from(["ship", "skip", None]))
_bookmark = st.tuples(st.just("bookmark"), _voter, _tool, st.booleans())
_correct = st.tuples(st.just("correct"), _cohort, st.sampled_from([True, False, True]))
# Few reviews, so that much happens to each, and in one window.
_reviewed = (st.sampled_from(VOTERS[:2]), st.just(0))
_write = st.tuples(st.just("review"), *_reviewed, _verdict, _score, st.sampled_from([None, "none", "given"]))
_judgement = st.sampled_from(["approve", "reject", "approve", "reject", "remove", "keep"])
_ground = st.sampled_from(["fake", "ties", None])
_moderate = st.tuples(st.just("moderate"), *_reviewed, _judgement, st.sampled_from([None, None, 1, 2]), _ground)
_report = st.tuples(st.just("report"), *_reviewed, _voter, st.sampled_from(["fake", "ties"]))
_forget = st.tuples(st.just("forget"), _voter)
_withdraw = st.tuples(st.just("withdraw"), *_reviewed)
_catalog = st.one_of(
    st.tuples(st.just("describe"), _tool, st.none() | st.text("ab\u00e9", max_size=3), st.none() | _tool),
    st.tuples(st.just("rename"), _tool, st.integers(0, 2)),
    st.tuples(st.just("elsewhere"), _tool, st.integers(0, 2)),
    st.tuples(st.just("persona"), st.sampled_from(PERSONAS), st.none() | st.just("role"), st.lists(st.text("ab", max_size=2))),
    st.tuples(st.just("relist"), st.integers(1, 2)),
    st.tuples(st.just("panel"), _tool, st.sampled_from(PERSONAS), _verdict, _score),
    st.tuples(st.just("announce"), _tool, _tool),
)
_read = st.tuples(
    st.just("read"),
    st.integers(0, 2),
    st.sampled_from(READERS_DO),
    _voter,
)
_judge = st.tuples(
    st.just("judge"), _tool, st.sampled_from(["void", "dismiss", "watch", "undo", "finish"]), st.sampled_from(["ada", "bob"])
)
_rest = st.just(("rest",))  # what a history shrinks to

# A history is about one subject, so that much happens to each thing, and in one window; or about all of them.
_SUBJECTS = [
    [_vote, _vote, _vote, _correct],
    [_write, _moderate, _write, _moderate, _moderate, _moderate, _write, _moderate, _withdraw, _report, _report],
    [_write, _moderate, _report, _report, _report, _moderate, _forget],
    [_bookmark, _catalog],
    [_read],
    [_judge],
    [],
]


def _about(subject: list[st.SearchStrategy[Act]]) -> st.SearchStrategy[list[Act]]:
    acts = [_rest, *(subject or [act for subject in _SUBJECTS for act in subject])]
    return st.lists(st.sampled_from(acts).flatmap(lambda act: act), min_size=20, max_size=50)


histories = st.one_of([_about(subject) for subject in _SUBJECTS])


A_DAY: list[Act] = [
    *(("vote", voter, tool, "ship") for voter in VOTERS for tool in range(3)),
    ("correct", VOTERS[:2], False),
    ("bookmark", VOTERS[2], 0, True),
    ("review", VOTERS[3], 1, "skip", 40, "given"),
    ("moderate", VOTERS[3], 1, "approve", None, None),
    ("report", VOTERS[3], 1, VOTERS[2], "fake"),
    ("correct", VOTERS[:1], True),
    ("judge", 1, "watch", "ada"),
    ("vote", VOTERS[0], 0, "skip"),
    ("vote", VOTERS[2], 2, None),
]

EXAMPLES = int(os.environ.get("BALLOTPRESS_EXAMPLES", "12"))

sizes = st.lists(st.integers(1, 12), min_size=1, max_size=4)
drops = st.lists(st.tuples(st.sampled_from([p.name for p in SHOWN]), st.integers(1, 100)), min_size=1, max_size=4)

random_histories = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


async def add_three_tools(committer: Committer) -> None:
    """Add the three tools."""
    events = [(ids.stream_of(tool), tool_added(tool, slug)) for tool, slug in zip(TOOLS, SLUGS, strict=True)]
    await committer.submit(append(*events))


class History:
    """Does one act after another; what a rule refuses is no event. Its ids are numbered from `first_id`."""

    def __init__(self, committer: Committer, first_id: int = 0) -> None:
        self._committer = committer
        self._made = first_id
        self._unlisted: set[int] = set()
        self._slugs = [*SLUGS]
        self._elsewhere: set[str] = set()
        self._judged: set[tuple[int, str]] = set()
        self._announced: set[tuple[int, int]] = set()
        self._reviews: dict[tuple[str, int], str] = {}
        self._keys: dict[str, Key] = {}
        self._reported = [0, 0]
        self._readers: dict[int, tuple[str, subscribers.Subscriber | None]] = {}
        self._decided: dict[int, Event | None] = {}

    async def do(self, acts: Sequence[Act]) -> None:
        """Do these acts in turn."""
        for name, *args in acts:
            with suppress(*REFUSALS):
                await getattr(self, name)(*args)

    async def rest(self) -> None:
        """Do nothing."""

    async def vote(self, voter: str, tool: int, choice: Choice | None) -> None:
        await self._committer.submit(CastVote(voter, SLUGS[tool], choice))

    async def bookmark(self, visitor: str, tool: int, keep: bool) -> None:
        await self._committer.submit(SetBookmark(visitor, SLUGS[tool], keep))

    async def correct(self, cohort: list[str], reinstate: bool) -> None:
        correction = self._new_id()
        await self._committer.submit(CorrectVoters(correction, cohort, "why", _tallies, reinstate=reinstate, operator="op"))

    async def review(self, visitor: str, tool: int, verdict: Verdict, score: int | None, ties: Ties | None = None) -> None:
        """Submit a review, or edit the one there is."""
        body = f"text {self._new_id()}"
        if (review := self._reviews.get((visitor, tool))) is not None:
            text = self._keys[review].seal("text", body)
            changes = Changes(verdict=verdict, score=score, text=text, ties=ties)
            await self._committer.submit(EditReview(visitor, review, changes))
            return
        review = self._new_id()
        self._keys[review], keep = _vault.new_key(review)
        submit = SubmitReview(
            visitor=visitor, slug=SLUGS[tool], review=review, verdict=verdict, score=score,
            text=self._keys[review].seal("text", body), name=None, ties=ties, keep=keep,
        )  # fmt: skip
        await self._committer.submit(submit)
        self._reviews[visitor, tool] = review

    async def moderate(
        self, visitor: str, tool: int, judgement: Judgement, revision: int | None, ground: Ground | None = None
    ) -> None:
        """Decide on a review; to keep it is to have read the reports but the last."""
        if (review := self._reviews.get((visitor, tool))) is not None:
            await self._committer.submit(
                DecideReview(review, judgement, "op", revision, ground=ground, through=self._reported[-2])
            )

    async def report(self, visitor: str, tool: int, reporter: str, ground: Ground) -> None:
        """Report a review."""
        if (review := self._reviews.get((visitor, tool))) is not None:
            report = self._new_id()
            key, keep = _vault.new_key(report)
            command = ReportReview(
                visitor=reporter,
                slug=SLUGS[tool],
                review=review,
                report=report,
                ground=ground,
                words=key.seal("words", "why"),
                keep=keep,
            )
            self._reported.append((await self._committer.submit(command)).position or 0)

    async def forget(self, visitor: str) -> None:
        """Erase what a visitor wrote."""
        await self._committer.submit(EraseVisitor(visitor))
        self._reviews = {key: review for key, review in self._reviews.items() if key[0] != visitor}

    async def withdraw(self, visitor: str, tool: int) -> None:
        if (review := self._reviews.get((visitor, tool))) is not None:
            await self._committer.submit(WithdrawReview(visitor, review))
            del self._reviews[visitor, tool]

    async def read(self, reader: int, what: str, visitor: str) -> None:
        """Do what becomes of a reader of the newsletter, by the rules; an erased one is another from then on."""
        subscriber, state = self._readers.setdefault(reader, (self._new_id(), None))
        match what:
            case "request":
                chosen = [visitor[-3:]]
                events = subscribers.request_subscription(state, subscriber, "sealed", chosen, "form", visitor, chosen)
            case "import":
                events = subscribers.import_subscriber(state, subscriber, "sealed", ["c"], "proof", ["c"])
            case "confirm":
                events = subscribers.confirm_subscription(state, 1 + (state.round if state else 0), "form", "token")
            case "choose":
                chosen = [visitor[-2:], "c"]
                events = subscribers.set_preferences(state, chosen, "monthly", "2026-01-31", chosen)
            case "join":
                events = subscribers.join_bookmarks(state, visitor)
            case "place":
                events = subscribers.set_time_zone(state, None if visitor[-1] in "AQgw" else "sealed zone")
            case "leave":
                events = subscribers.unsubscribe(state)
            case "return":
                events = subscribers.undo_unsubscribe(state, "form", "token")
            case "suppress":
                events = subscribers.suppress(state, "complaint")
            case "reinstate":
                events = subscribers.reinstate(state, "a reason")
            case _:
                events = subscribers.erase(state)
        for event in events:
            state = subscribers.evolve(state, event)
        self._readers[reader] = (subscriber, state)
        if any(isinstance(event, PersonErased) for event in events):
            del self._readers[reader]
        await self._committer.submit(append(*((subscribers.stream(subscriber), event) for event in events)))

    async def judge(self, cohort: int, what: Literal["void", "dismiss", "watch", "undo", "finish"], by: str) -> None:
        """Decide on a cohort by the rules, the void of a large one in two steps; or record that a decision is carried out."""
        last, grown = self._decided.get(cohort), cohort + self._made
        self._made += 1
        found = Suspected(
            VOTERS[cohort], TOOLS[cohort], "ship", datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC),
            1, grown, votes=cohort * 10, voters=3, revision=1,
        )  # fmt: skip
        correction = "" if last is None else getattr(last, "correction", None) or ""
        if what == "finish":
            events = integrity.finish(last, correction)
        else:
            events = integrity.decide_cohort(last, found, integrity.Ruling(what, "why", by, self._new_id(), 15))
        await self._committer.submit(append(*((ids.stream_named("cohort", VOTERS[cohort]), event) for event in events)))
        self._decided[cohort] = events[-1] if events else last

    async def describe(self, tool: int, url: str | None, successor: int | None = None) -> None:
        self._made += 1
        described = ToolDescribed(
            tool=TOOLS[tool], name=f"n{self._made}", tagline=url or "", description="d", category="k",
            pricing_tier="paid", pricing_label="$", best_for="b", url=url, disclosure=url,
            reviewed=None if url is None else date(2026, 4, 21), successor=None if successor is None else TOOLS[successor],
        )  # fmt: skip
        await self._catalog(described, tool)

    async def rename(self, tool: int, slug: int) -> None:
        """Give a tool one of a few slugs of its own."""
        if self._slugs[tool] != (taken := [SLUGS[tool], f"{SLUGS[tool]}-b", f"{SLUGS[tool]}-c"][slug]):
            self._slugs[tool] = taken
            await self._catalog(ToolRenamed(tool=TOOLS[tool], slug=taken), tool)

    async def elsewhere(self, tool: int, slug: int) -> None:
        """Let a slug of elsewhere lead to a tool; the last of its own may be such a one."""
        added = [f"{SLUGS[tool]}-x", f"{SLUGS[tool]}-y", f"{SLUGS[tool]}-c"][slug]
        if added not in self._elsewhere and self._slugs[tool] != added:
            self._elsewhere.add(added)
            await self._catalog(FormerSlugAdded(tool=TOOLS[tool], slug=added), tool)

    async def persona(self, persona: str, role: str | None, excited_by: list[str]) -> None:
        """Describe a persona of the panel."""
        described = PersonaDescribed(persona=persona, role=role, excited_by=tuple(excited_by))
        await self._committer.submit(append((persona_stream(persona), described)))

    async def relist(self, tool: int) -> None:
        """Take a tool off the site, or bring it back."""
        kind = ToolListed if tool in self._unlisted else ToolUnlisted
        self._unlisted ^= {tool}
        await self._catalog(kind(tool=TOOLS[tool]), tool)

    async def panel(self, tool: int, persona: str, verdict: Verdict, score: int | None) -> None:
        kind = PanelReviewRevised if (tool, persona) in self._judged else PanelReviewPublished
        self._judged.add((tool, persona))
        self._made += 1
        await self._catalog(kind(tool=TOOLS[tool], persona=persona, score=score, verdict=verdict, take=f"{self._made}"), tool)

    async def announce(self, left: int, right: int) -> None:
        if left != right and (left, right) not in self._announced:
            self._announced.add((left, right))
            await self._catalog(ComparisonAnnounced(left=TOOLS[left], right=TOOLS[right]), left)

    async def drop(self, projection: str, position: int) -> None:
        await self._committer.submit(DropEvent([projection], position, "why", "op"))

    async def _catalog(self, event: Event, tool: int) -> None:
        await self._committer.submit(append((ids.stream_of(TOOLS[tool]), event)))

    def _new_id(self) -> str:
        self._made += 1
        return ids.new_id(1_790_000_000_000 + self._made, bytes(10))


async def _tallies(connection: "Connection[Any]", tools: Sequence[str]) -> dict[str, Tally]:
    """Return the tallies of tools as the log says, whatever the views of a test know of it."""
    rows = await connection.fetch(
        """
        select tool, count(*) filter (where plus = 'ship') - count(*) filter (where minus = 'ship') as ship,
               count(*) filter (where plus = 'skip') - count(*) filter (where minus = 'skip') as skip
        from log.tally_changes where tool = any($1) group by tool
        """,
        list(tools),
    )
    return {row["tool"]: (row["ship"], row["skip"]) for row in rows}
