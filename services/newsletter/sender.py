"""Send the mails of the ledger in short chunks: claim, commit, speak SMTP, commit the outcomes.

Lanes work side by side, so that one speaks SMTP while another asks the database. A worker told to stop finishes the chunks
that it has begun.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import asyncpg
import msgspec

from emails.refusals import Verdict
from emails.smtp import Outcome
from events.log import postgres
from events.log.tasks import end
from services.newsletter import holds, ledger, restored
from services.newsletter.holds import ABOUT_US, RefusalRow
from services.newsletter.ledger import CHUNK, ClaimedMail, MailOutcome
from services.newsletter.letters import Letter, Letters, NoLetter
from services.newsletter.sent_marks import BEHIND, MarksUnusable, SentMarks

if TYPE_CHECKING:
    from services.tracing.mails import Mails

LANES: Final = 2
POLL_SECONDS: Final = 1.0
BACKOFF_SECONDS: Final = (60, 300, 900, 3600, 7200, 14400)
UNREACHABLE_SECONDS: Final = 2
SLOW_SECONDS: Final = 15
RECORD_SECONDS: Final = 600
UNMARKED: Final = "the send marks can't be written or read"
LOST: Final = "the ledger doesn't have mails any more that were sent"
REFUSED: Final[dict[Verdict | None, str]] = {"gone": "hard bounce", "passing": "soft bounce"}
"""The reasons of refusals that are about the reader."""

logger = logging.getLogger(__name__)


class Transport(Protocol):
    """The way out for letters: a relay, or the outbox."""

    async def deliver(self, letter: Letter) -> Outcome:
        """Send one letter and return its outcome."""


class Sender:
    """The sender of one worker; `wake` is set from outside when there may be something to send."""

    def __init__(
        self,
        database: "asyncpg.Pool[asyncpg.Record]",
        letters: Letters,
        transport: Transport,
        *,
        clock: Callable[[], datetime],
        bounced: Callable[[Sequence[MailOutcome]], Awaitable[None]],
        look: Callable[[], Awaitable[None]],
        lease_seconds: int,
        chunk: int = CHUNK,
        tracing: "Mails | None" = None,
        marks: SentMarks | None = None,
    ) -> None:
        self.wake = asyncio.Event()
        self._database = database
        self._letters = letters
        self._transport = transport
        self._clock = clock
        self._bounced = bounced
        self._look = look
        self._lease_seconds = lease_seconds
        self._chunk = chunk
        self._tracing = tracing
        self._marks = marks or SentMarks(None)
        self._stopping = False
        self._recorded: tuple[str, ClaimedMail] | None = None
        self._row = RefusalRow()

    async def run(self) -> None:
        """Send the mails that are due, until `stop`. Failures are logged and tried again."""
        while not self._stopping:
            try:
                await self.turn()
            except postgres.UNAVAILABLE as error:
                logger.warning("sending waits for the database: %r", error)
            except Exception:
                logger.exception("sending failed, trying again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.wake.wait()

    def stop(self) -> None:
        """Begin no other chunk."""
        self._stopping = True
        self.wake.set()

    async def turn(self) -> None:
        """Send all mails that are due now, and close finished issues."""
        self.wake.clear()
        await self._look_back()
        if not self._stopping and await ledger.is_due(self._database):
            results = await asyncio.gather(*(self._lane() for _ in range(LANES)), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        await ledger.settle(self._database)

    async def _lane(self) -> None:
        while not self._stopping:
            await self._look_back()
            name = secrets.token_urlsafe(12)
            claimed = await ledger.claim(self._database, name, self._lease_seconds, self._chunk)
            if not claimed:
                if not await ledger.is_due(self._database):
                    return
                await asyncio.sleep(0.05)  # another lane or worker holds the mails that are due
                continue
            async with self._leased(name):
                with self._traced(claimed):
                    settled = await self._send(name, claimed)
                    await self._record(name, settled)
            await self._bounced([one for one in settled if one.verdict is not None])

    def _traced(self, claimed: Sequence[ClaimedMail]) -> contextlib.AbstractContextManager[None]:
        if self._tracing is None:
            return contextlib.nullcontext()
        return self._tracing.chunk(claimed[0].issue, len(claimed))

    async def _look_back(self) -> None:
        """Hold the newsletter before mails are claimed again that had gone out, if the log or the ledger went back."""
        await self._look()
        if self._recorded is not None and not await ledger.has(self._database, *self._recorded):
            self._recorded = None
            logger.error("the ledger went back: %s", LOST)
            await ledger.hold(self._database, LOST)
            await restored.doubt(self._database, self._marks.folder)

    @contextlib.asynccontextmanager
    async def _leased(self, name: str) -> AsyncIterator[None]:
        """Renew a claim's lease for as long as its chunk takes."""
        renewing = asyncio.create_task(self._renew(name))
        try:
            yield
        finally:
            await end(renewing)

    async def _renew(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            with contextlib.suppress(*postgres.UNAVAILABLE):
                await ledger.renew(self._database, name, self._lease_seconds)

    async def _record(self, name: str, settled: Sequence[MailOutcome]) -> None:
        """Record the outcomes, even after the lease has ended: a database that is away must not make them uncertain."""
        deadline = asyncio.get_running_loop().time() + RECORD_SECONDS
        while True:
            try:
                await self._hold(settled)
                await ledger.record(self._database, name, settled)
                sent = [one.mail for one in settled if one.state in ("accepted", "rejected") and one.verdict != "ours"]
                self._recorded = (name, sent[0]) if sent else self._recorded
                return
            except postgres.UNAVAILABLE as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                logger.warning("outcomes wait for the database: %r", error)
                await asyncio.sleep(0.2)

    async def _hold(self, settled: Sequence[MailOutcome]) -> None:
        """Hold the issues of a chunk if it makes a long row of refusals that are about us."""
        ours = [one for one in settled if one.verdict == "ours"]
        is_long = self._row.note((one.mail.reader for one in ours), any_taken=any(one.state == "accepted" for one in settled))
        reasons = [one.reason or ABOUT_US for one in ours]
        if (is_long or holds.DOUBTED in reasons) and (issues := {one.mail.issue for one in ours} - {0}):
            reason = holds.DOUBTED if holds.DOUBTED in reasons else reasons[-1]
            logger.error("issues %s are held: mails in a row were %s", sorted(issues), reason)
            await holds.hold(self._database, issues, reason)

    async def _send(self, name: str, claimed: Sequence[ClaimedMail]) -> list[MailOutcome]:
        try:
            letters = await self._letters.write(claimed, self._clock())
        except Exception:
            logger.exception("a chunk could not be written, and none of its mails was sent")
            return [MailOutcome(mail, "deferred", reason="could not be written", wait=BACKOFF_SECONDS[0]) for mail in claimed]
        slowed = await ledger.slowed(self._database)
        put_off = {mail: one for mail in claimed if (one := _put_off(mail, letters[mail], slowed))}
        settled = [*put_off.values(), *await self._attempt(name, [mail for mail in claimed if mail not in put_off], letters)]
        if slowed and (taken := _taken(settled, letters) & slowed.keys()):
            await ledger.recovered(self._database, sorted(taken))
        return await self._doubted(settled, {mail: _domain(letter) for mail, letter in letters.items()})

    async def _doubted(self, settled: Sequence[MailOutcome], domains: Mapping[ClaimedMail, str]) -> list[MailOutcome]:
        """Blame ourselves for refusals by a server that knows hardly any address: rather it is not the right one."""
        doubted = _refused_by_many(settled, domains)
        if not doubted:
            return list(settled)
        believed = await holds.believed(self._database, {mail.issue for mail in doubted})
        return [
            msgspec.structs.replace(one, reason=holds.DOUBTED, verdict="ours")
            if one.mail in doubted and one.mail.issue not in believed
            else one
            for one in settled
        ]

    async def _attempt(
        self, name: str, mails: Sequence[ClaimedMail], letters: Mapping[ClaimedMail, Letter | NoLetter]
    ) -> list[MailOutcome]:
        """Mark mails as about to be sent, then send those that weren't marked before, by a time that the ledger lacks."""
        try:
            marked = await self._marks.about_to(self._database, name, mails, self._clock())
        except MarksUnusable as error:
            logger.error("nothing is sent: %s", error)
            return [MailOutcome(mail, "deferred", reason=UNMARKED, tried=0, wait=BACKOFF_SECONDS[0]) for mail in mails]
        doubted = [MailOutcome(mail, "uncertain", reason=BEHIND, tried=0, claims=claims) for mail, claims in marked.items()]
        unmarked = [(mail, letter) for mail in mails if mail not in marked and isinstance(letter := letters[mail], Letter)]
        return doubted + list(await asyncio.gather(*(self._send_one(mail, letter) for mail, letter in unmarked)))

    async def _send_one(self, mail: ClaimedMail, letter: Letter) -> MailOutcome:
        try:
            outcome = await self._transport.deliver(letter)
        except Exception as error:  # nobody knows whether it was sent
            logger.exception("a mail's fate is unknown")
            return MailOutcome(mail, "uncertain", reason=type(error).__name__)
        return await self._settled(mail, outcome, _domain(letter))

    async def _settled(self, mail: ClaimedMail, outcome: Outcome, domain: str) -> MailOutcome:
        if outcome.slow_down or (outcome.whole_relay and outcome.kind in ("not_sent", "deferred")):
            with contextlib.suppress(*postgres.FAILED):  # the mail's outcome must be recorded in any case
                seconds = SLOW_SECONDS if outcome.slow_down else UNREACHABLE_SECONDS
                await ledger.slow_down(self._database, "" if outcome.whole_relay else domain, seconds)
        match outcome.kind:
            case "accepted":
                return MailOutcome(mail, "accepted", outcome.code)
            case "rejected":
                return _refused(mail, outcome)
            case "uncertain":
                return MailOutcome(mail, "uncertain", outcome.code, "no answer after the final dot")
        if mail.is_old:
            return MailOutcome(mail, "rejected", outcome.code, "given up after three days")
        if outcome.kind == "not_sent":
            return MailOutcome(mail, "deferred", outcome.code, "the relay could not be reached", 0, UNREACHABLE_SECONDS)
        return MailOutcome(mail, "deferred", outcome.code, "put off by the relay", wait=_wait(mail), verdict=outcome.verdict)


def _put_off(mail: ClaimedMail, letter: Letter | NoLetter, slowed: Mapping[str, int]) -> MailOutcome | None:
    """Return the outcome of a mail that isn't attempted now; None of one that is."""
    if isinstance(letter, NoLetter):
        return MailOutcome(mail, letter.state, reason=letter.reason, tried=0)
    wait = max(slowed.get(_domain(letter), 0), slowed.get("", 0))
    return MailOutcome(mail, "deferred", reason="asked to slow down", tried=0, wait=wait) if wait else None


def _refused(mail: ClaimedMail, outcome: Outcome) -> MailOutcome:
    """Return the outcome of a mail that was refused for good; a single mail is tried again if the refusal is about us."""
    reason = REFUSED.get(outcome.verdict) or (f"{ABOUT_US} ({outcome.status})" if outcome.status else ABOUT_US)
    if outcome.verdict == "ours" and mail.issue == 0 and not mail.is_old:
        return MailOutcome(mail, "deferred", outcome.code, reason, wait=_wait(mail), verdict="ours")
    return MailOutcome(mail, "rejected", outcome.code, reason, verdict=outcome.verdict)


def _refused_by_many(settled: Sequence[MailOutcome], domains: Mapping[ClaimedMail, str]) -> set[ClaimedMail]:
    """Return an issue's mails that the relay, or one domain, refused as dead: many in a chunk, and more than it took."""
    groups: dict[str, list[MailOutcome]] = {}
    for one in settled:
        if one.mail.issue:
            groups.setdefault("", []).append(one)
            groups.setdefault(domains[one.mail], []).append(one)
    doubted: set[ClaimedMail] = set()
    for group in groups.values():
        gone = [one.mail for one in group if one.verdict == "gone"]
        if len(gone) >= holds.MANY_GONE and len(gone) > sum(one.state == "accepted" for one in group):
            doubted.update(gone)
    return doubted


def _wait(mail: ClaimedMail) -> int:
    return BACKOFF_SECONDS[min(mail.attempts, len(BACKOFF_SECONDS) - 1)]


def _domain(letter: Letter | NoLetter) -> str:
    return letter.recipient.rpartition("@")[2] if isinstance(letter, Letter) else ""


def _taken(settled: Sequence[MailOutcome], letters: Mapping[ClaimedMail, Letter | NoLetter]) -> set[str]:
    """Return the domains that accepted mail, and the relay ('') if any did."""
    domains = {_domain(letters[s.mail]) for s in settled if s.state == "accepted"}
    return {"", *domains} if domains else set()
