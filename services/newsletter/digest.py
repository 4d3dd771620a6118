"""Write the part of a digest that readers of the same categories share: rendered and encoded once for all of them.

A reader's review is opened at that moment. If it was erased after the issue was compiled, a fixed line stands in its place.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from emails.message import From, PreparedDigest, prepare
from emails.rendering import render_shared
from events.log.reads import Reads
from events.log.vault import Erased, SealBroken, Vault
from events.reviews import Ties
from projections import reviews, subscribers
from projections.comparison import community_line, panel_line, verdict_line
from projections.issues import MOST_KEPT, Content, PairFact, ReviewFact, ToolFact, decode_content, is_newly_settled
from projections.settled import settled
from projections.tally import community, percent
from services.newsletter import mailed
from services.newsletter.ledger import ClaimedMail, Database
from services.newsletter.look import look_of
from services.setting_groups import Newsletter
from services.settings import Settings

Fact = TypeVar("Fact", ToolFact, ReviewFact)
BookmarkLines: TypeAlias = Sequence[Mapping[str, str]]
"""A name, url and line for each of a reader's bookmarked tools that changed."""

MOST_PREPARED: Final = 200
SENDER_ID_SHORTEST: Final = 5
_SHORT_ROOT: Final = 12
TAKEN_BACK: Final = "Its author took this review back."

READ_ISSUE: Final = """
select number, edition, period_from, compiled_at, from_position, to_position, checkpoint, content
from newsletter.issues where number = $1
"""


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """An issue's number, edition, and period; its place in the log, and the checkpoint that it carries, a signed note."""

    number: int
    edition: str
    period_from: datetime
    period_to: datetime
    from_position: int
    to_position: int
    checkpoint: str | None


class StoredIssue(msgspec.Struct, frozen=True):
    """An issue with its facts, as the ledger keeps it."""

    heading: Heading
    content: Content


class ReviewText(msgspec.Struct, frozen=True):
    """A reader's review, opened for rendering."""

    verdict: str
    score: int | None
    text: str
    name: str | None
    ties: Ties | None = None


class Digests:
    """The digests of one worker. Prepared ones are kept for the next chunk."""

    def __init__(self, database: Database, settings: Settings, vault: Vault) -> None:
        self._database = database
        self._settings = settings
        self._vault = vault
        self._from = sender_of(settings.newsletter)
        self.look = look_of(settings)
        self._issues: dict[int, StoredIssue] = {}
        self._prepared: dict[tuple[object, ...], PreparedDigest] = {}

    async def read(self, mails: Sequence[ClaimedMail]) -> dict[ClaimedMail, tuple[PreparedDigest, BookmarkLines]]:
        """Return the digest of each mail, and the lines about its reader's bookmarks.

        A review is opened once a call, so a call after its erasure shows nothing of it.
        """
        found: dict[ClaimedMail, tuple[PreparedDigest, BookmarkLines]] = {}
        for number in {mail.issue for mail in mails}:
            issue = await self._issue(number)
            theirs = [mail for mail in mails if mail.issue == number]
            lines = await self.bookmark_lines(issue, [mail.reader for mail in theirs])
            chosen = {categories: await self.prepare(issue, categories) for categories in {mail.categories for mail in theirs}}
            found.update({mail: (chosen[mail.categories], lines.get(mail.reader, [])) for mail in theirs})
        return found

    async def prepare(self, issue: StoredIssue, categories: Collection[str], *, mark: str = "") -> PreparedDigest:
        """Return the issue's digest for these categories, encoded for all their readers; a mark begins the subject."""
        content = within(issue.content, categories)
        review = await open_review(self._database, self._vault, content)
        key = (issue.heading.number, tuple(sorted(categories)), review, mark)
        if (known := self._prepared.get(key)) is None:
            values = digest_values(issue.heading, content, review, self._settings.base_url)
            shared = render_shared({**values, "postal_address": self._settings.newsletter.postal_address}, self.look)
            shared = shared._replace(subject=mark + shared.subject)
            names = (f"issue-{issue.heading.number}", issue.heading.edition, "digest", sender_id(self._from.domain))
            known = prepare(shared, self._from, f"digest.{self._from.domain}", ":".join(names), self.look.newsletter_name)
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.clear()
            self._prepared[key] = known
        return known

    async def bookmark_lines(self, issue: StoredIssue, readers: Sequence[str]) -> dict[str, BookmarkLines]:
        """Return, by reader, the changes on the tools they bookmarked. Readers with no such tool are left out."""
        changes = issue.content.changes
        if not changes:
            return {}
        chosen = await subscribers.read_bookmarks(self._database, readers, [tool.tool for tool in changes])
        return {
            reader: [self._bookmark_line(tool) for tool in changes if tool.tool in tools] for reader, tools in chosen.items()
        }

    @property
    def bookmarks_url(self) -> str:
        """Where a reader's bookmarks are listed."""
        return f"{self._settings.base_url}/bookmarks"

    def _bookmark_line(self, tool: ToolFact) -> dict[str, str]:
        return {**_link(tool, self._settings.base_url), "line": change_line(tool)}

    async def _issue(self, number: int) -> StoredIssue:
        if number not in self._issues:
            self._issues[number] = await read_issue(self._database, number)
        return self._issues[number]


def sender_of(newsletter: Newsletter) -> From:
    """Return the name and address that mails are from."""
    return From(*parseaddr(newsletter.sender))


def sender_id(domain: str) -> str:
    """Return the name by which Gmail counts complaints about a sender: always the same, 5 to 15 characters of its domain."""
    name = re.sub(r"[^a-z0-9]+", "-", domain.lower())[:15].strip("-")
    return name if len(name) >= SENDER_ID_SHORTEST else f"{name}-mail"


async def read_issue(database: Reads, number: int) -> StoredIssue:
    """Read an issue that was compiled."""
    return stored_issue(await database.fetchrow(READ_ISSUE, number))


def stored_issue(row: Any) -> StoredIssue:
    """Return the issue that a row of the ledger holds."""
    heading = Heading(
        number=row["number"],
        edition=row["edition"],
        period_from=row["period_from"],
        period_to=row["compiled_at"],
        from_position=row["from_position"],
        to_position=row["to_position"],
        checkpoint=row["checkpoint"],
    )
    return StoredIssue(heading, decode_content(row["content"]))


async def open_review(database: Reads, vault: Vault, content: Content) -> ReviewText | None:
    """Return the first review that the content names; None if it names none, or the review was withdrawn or erased."""
    if not content.reviews:
        return None
    review = await reviews.read_public(database, content.reviews[0].review)
    if review is None:
        return None
    try:
        key = await vault.key_of(database, review.review)
        name = key.open("name", review.sealed_name) if review.sealed_name else None
        return ReviewText(review.verdict, review.score, key.open("text", review.sealed_text), name, review.ties)
    except (Erased, SealBroken):
        return None


def within(content: Content, categories: Collection[str]) -> Content:
    """Return the part of a content that is in these categories; everything if there are none."""
    if not categories:
        return content
    chosen = set(categories)
    return replace(
        content,
        newly_settled=UNSET if content.newly_settled is UNSET else _in(chosen, content.newly_settled),
        new_comparisons=tuple(pair for pair in content.new_comparisons if chosen.intersection(pair.categories)),
        new_tools=_in(chosen, content.new_tools),
        movers=_in(chosen, content.movers),
        closest=_in(chosen, content.closest),
        disagreements=_in(chosen, content.disagreements),
        reviews=_in(chosen, content.reviews),
    )


def _in(categories: set[str], facts_: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts_ if fact.category in categories)


def digest_values(heading: Heading, content: Content, review: ReviewText | None, base_url: str) -> dict[str, Any]:
    """Return an issue's content as templates and the archive show it; `review` is the text of its first review."""
    sections = {name: _entries(content, name, base_url) for name in SECTIONS}
    return {
        "number": heading.number,
        "edition": heading.edition,
        "period": {"from": heading.period_from.date().isoformat(), "to": heading.period_to.date().isoformat()},
        "quiet": content.is_quiet,
        **sections,
        "new_comparisons": _comparisons(content, base_url),
        "more": {name: _more(len(_facts(content, name)), most) for name, (most, _) in SECTIONS.items()},
        "lists": {name: f"{base_url}{path}" for name, path in LISTS.items()},
        "best_review": _review(content, review, base_url),
        "settled_url": f"{base_url}/settled" if content.by_settled else "",
        "archive_url": f"{base_url}/issues/{heading.number}",
        **_in_the_log(heading, base_url),
    }


def _in_the_log(heading: Heading, base_url: str) -> dict[str, object]:
    """Return where an issue stands in the public log, and the note that says so; `root` is the beginning of its root."""
    note = heading.checkpoint
    checkpoint = None if note is None else mailed.read(note)
    return {
        "from_position": heading.from_position,
        "to_position": heading.to_position,
        "checkpoint": note,
        "origin": "" if checkpoint is None else checkpoint.origin,
        "root": "" if checkpoint is None else b64encode(checkpoint.root).decode()[:_SHORT_ROOT],
        "proof_url": f"{base_url}/proof",
    }


def _facts(content: Content, name: str) -> Sequence[Any]:
    return getattr(content, name) or ()  # an old issue has no settled verdicts


def _entries(content: Content, name: str, base_url: str) -> list[dict[str, object]]:
    most, shown = SECTIONS[name]
    entries = [(fact, shown(fact, base_url)) for fact in _facts(content, name)[:most]]
    return [{**entry, **_called(fact, content)} if isinstance(fact, ToolFact) else entry for fact, entry in entries]


def _called(tool: ToolFact, content: Content) -> dict[str, object]:
    """Return the verdict on a tool, where its share likely lies, and whether a title may tell of it.

    Old issues are for a single look, as they were sent.
    """
    tally = community(*tool.community)
    if tool.held:
        return {"verdict_line": "Still being checked", "likely": tally.settled_interval, "leads": False}
    if not content.by_settled:
        return {"verdict_line": "", "likely": tally.interval, "leads": True}
    told = {"settled": tally.settled, "settled_interval": tally.settled_interval}
    return {"verdict_line": verdict_line(tally), "likely": tally.settled_interval, "leads": bool(tally.settled), **told}


def _more(kept: int, most: int) -> str:
    """Return how many facts are not shown; of a sort that was cut when the issue was compiled, the least there can be."""
    if kept <= most:
        return ""
    return f"at least {kept - most} more" if kept == MOST_KEPT else f"{kept - most} more"


def change_line(tool: ToolFact) -> str:
    """Return the changes on a tool in the period, as a line."""
    parts = []
    if tool.panel_spoke:
        parts.append(f"the panel spoke: {panel_line(*tool.panel)}")
    if tool.votes:
        before, after = percent(tool.before[0], sum(tool.before)), percent(tool.community[0], sum(tool.community))
        moved = f"{before}% ship before, {after}% now" if None not in (before, after) else community_line(*tool.community)
        parts.append(f"{moved} ({tool.votes} {'vote' if tool.votes == 1 else 'votes'})")
    if is_newly_settled(tool):
        parts.append(f"now settled: {settled(*tool.community)}")
    return "; ".join(parts)


def _link(tool: ToolFact, base_url: str) -> dict[str, str]:
    return {"name": tool.name, "url": f"{base_url}/tools/{tool.slug}"}


def _comparison(pair: PairFact, base_url: str) -> dict[str, object]:
    return {"title": pair.title, "url": f"{base_url}/compare/{pair.slug}"}


def _comparisons(content: Content, base_url: str) -> list[dict[str, object]]:
    """Return the new pairs that are shown, each with a line on those of its tools that something happened to."""
    most, shown = SECTIONS["new_comparisons"]
    known = {tool.slug: tool for tool in content.changes}
    return [{**shown(pair, base_url), "line": _pair_line(pair, known)} for pair in content.new_comparisons[:most]]


def _pair_line(pair: PairFact, known: Mapping[str, ToolFact]) -> str:
    parts = pair.slug.split("-vs-")
    sides = ("-vs-".join(parts[:n]) for n in range(1, len(parts)))
    left = next((side for side in sides if side in known), parts[0])
    right = pair.slug.removeprefix(f"{left}-vs-")
    return "; ".join(f"{known[side].name}: {_standing(known[side])}" for side in (left, right) if side in known)


def _standing(tool: ToolFact) -> str:
    """Return what readers say of a tool, or the panel where no reader has voted."""
    total = sum(tool.community)
    if not total:
        return f"panel {panel_line(*tool.panel)}"
    return f"{percent(tool.community[0], total)}% ship of {total:,} {'vote' if total == 1 else 'votes'}"


def _new_tool(tool: ToolFact, base_url: str) -> dict[str, object]:
    return {**_link(tool, base_url), "tagline": tool.tagline, "panel_line": panel_line(*tool.panel)}


def _newly_settled(tool: ToolFact, base_url: str) -> dict[str, object]:
    total = sum(tool.community)
    return {**_link(tool, base_url), "ship_percent": percent(tool.community[0], total), "total": total}


def _mover(tool: ToolFact, base_url: str) -> dict[str, object]:
    return {
        **_link(tool, base_url),
        "before_percent": percent(tool.before[0], sum(tool.before)),
        "after_percent": percent(tool.community[0], sum(tool.community)),
        "votes": tool.votes,
    }


def _close_call(tool: ToolFact, base_url: str) -> dict[str, object]:
    tally = community(*tool.community)
    return {
        **_link(tool, base_url),
        "ship_percent": tally.ship_percent,
        "total": tally.total,
        "interval": list(tally.interval or ()),
    }


def _disagreement(tool: ToolFact, base_url: str) -> dict[str, object]:
    lines = {"panel_line": panel_line(*tool.panel), "community_line": community_line(*tool.community)}
    return {**_link(tool, base_url), **lines}


LISTS: Final = {"newly_settled": "/tools?sort=settled", "new_comparisons": "/comparisons", "new_tools": "/tools"}
"""Where the facts of a section are found that an issue has no room for, among others."""

SECTIONS: Final[Mapping[str, tuple[int, Callable[[Any, str], dict[str, object]]]]] = {
    "newly_settled": (5, _newly_settled),
    "new_comparisons": (8, _comparison),
    "new_tools": (8, _new_tool),
    "movers": (5, _mover),
    "closest": (3, _close_call),
    "disagreements": (3, _disagreement),
}
"""By the content's field: how many facts are shown, and the values of one."""


def _review(content: Content, review: ReviewText | None, base_url: str) -> dict[str, object] | None:
    if not content.reviews:
        return None
    about = content.reviews[0]
    shown = review or ReviewText("withdrawn", None, TAKEN_BACK, None)
    return {
        "tool_name": about.name,
        "url": f"{base_url}/tools/{about.slug}",
        "verdict": shown.verdict,
        "score": shown.score,
        "text": shown.text,
        "display_name": shown.name,
        "ties": shown.ties,
        "ties_line": shown.ties and reviews.ties_line(shown.ties),
    }
