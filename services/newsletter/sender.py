"""Send the mails of the ledger in short chunks: claim, commit, speak SMTP, commit the outcomes.

Lanes work side by side, so that one speaks SMTP while another asks the database. A worker told to stop finishes the chunks
that it has begun.
"""

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import asyncpg
import msgspec

from emails.refusals import Verdict
from emails.smtp import Outcome
from events.log import postgres
from events.log.tasks import end
from services.newsletter import holds, ledger, pace, restored
from services.newsletter.holds import ABOUT_US, Answers, Standing
from services.newsletter.ledger import CHUNK, ClaimedMail, MailOutcome
from services.newsletter.letters import Letter, Letters, NoLetter
from services.newsletter.pace import Shares
from services.newsletter.providers import RELAY, Providers
from services.newsletter.sent_marks import BEHIND, MarksUnusable, SentMarks

if TYPE_CHECKING:
    from services.tracing.mails import Mails

LANES: Final = 2
POLL_SECONDS: Final = 1.0
BACKOFF_SECONDS: Final = (60, 300, 900, 3600, 7200, 14400)
MOST_TRIES: Final = 23
"""Times that a reader's own server may put a mail off: three days of tries. What waits for our fault isn't counted."""
UNREACHABLE_SECONDS: Final = 2
SLOW_SECONDS: Final = 15
RECORD_SECONDS: Final = 600
UNMARKED: Final = "the send marks can't be written or read"
UNWRITTEN: Final = "could not be written"
LOST: Final = "the ledger doesn't have mails any more that were sent"
PUT_OFF: Final = "put off by the relay"
REFUSED: Final[dict[Verdict | None, str]] = {"gone": "hard bounce", "passing": "soft bounce"}
"""The reasons of refusals that are about the reader."""

logger = logging.getLogger(__name__)


class Transport(Protocol):
    """The way out for letters: a relay, or the outbox."""

    async def deliver(self, letter: Letter) -> Outcome:
        """Send one letter and return its outcome."""


class Sender:
    """The sender of one worker; `wake` is set from outside when there may be something to send.

    `trouble` says what keeps it from sending, None if nothing does.
    """

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
        providers: Providers,
        chunk: int = CHUNK,
        tracing: "Mails | None" = None,
        marks: SentMarks | None = None,
    ) -> None:
        self.wake = asyncio.Event()
        self.trouble: str | None = None
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
        self._providers = providers
        self._stopping = False
        self._recorded: tuple[str, ClaimedMail] | None = None

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
                    settled = await self._record(name, await self._send(name, claimed))
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

    async def _record(self, name: str, settled: Sequence[MailOutcome]) -> Sequence[MailOutcome]:
        """Record the outcomes, even after the lease has ended: a database that is away must not make them uncertain.

        Return them as they were recorded: whom a refusal blames is decided here, in view of all of them.
        """
        deadline = asyncio.get_running_loop().time() + RECORD_SECONDS
        blamed: list[MailOutcome] | None = None
        while True:
            try:
                if blamed is None:
                    blamed = await self._doubted(settled)
                    await self._note(blamed)
                await ledger.record(self._database, name, blamed)
                sent = [one.mail for one in blamed if one.state in ("accepted", "rejected") and one.verdict != "ours"]
                self._recorded = (name, sent[0]) if sent else self._recorded
                return blamed
            except postgres.UNAVAILABLE as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                logger.warning("outcomes wait for the database: %r", error)
                await asyncio.sleep(0.2)

    async def _note(self, settled: Sequence[MailOutcome]) -> None:
        """Hold the providers of a chunk that make a long row of refusals about us, and let those go on that take mail."""
        answers = _answers(settled)
        if answers.concern(await holds.standing(self._database)):
            for provider in await holds.note(self._database, answers):
                logger.error("mails are held, for %s: mails in a row were refused", holds.named(provider))

    async def _send(self, name: str, claimed: Sequence[ClaimedMail]) -> list[MailOutcome]:
        try:
            letters = await self._letters.write(claimed, self._clock())
            slowed, standing = await ledger.slowed(self._database), await holds.standing(self._database)
            providers = {mail: self._provider(mail, letters[mail]) for mail in claimed}
            waiting = {m: out for m in claimed if (out := _put_off(m, letters[m], providers[m], slowed, standing))}
            shares = await self._share(claimed, waiting, providers)
        except Exception:
            logger.exception("a chunk could not be written, and none of its mails was sent")
            wait = BACKOFF_SECONDS[0]
            return [MailOutcome(m, "deferred", reason=UNWRITTEN, wait=wait, claims=ledger.UNMARKED) for m in claimed]
        settled = await self._attempt(name, [mail for mail in claimed if mail not in waiting], letters, providers)
        with contextlib.suppress(*postgres.FAILED):  # as below; a share is never more than was counted
            await pace.give_back(self._database, shares, Counter(providers[one.mail] for one in settled if _is_unsent(one)))
        if taken := slowed.keys() & {name for one in settled if one.state == "accepted" for name in (RELAY, one.provider)}:
            with contextlib.suppress(*postgres.FAILED):  # the outcomes must be recorded in any case
                await ledger.recovered(self._database, sorted(taken))
        return [*(msgspec.structs.replace(one, claims=ledger.UNMARKED) for one in waiting.values()), *settled]

    async def _share(
        self, claimed: Sequence[ClaimedMail], waiting: dict[ClaimedMail, MailOutcome], providers: Mapping[ClaimedMail, str]
    ) -> Shares:
        """Let digests beyond their provider's share of the day wait for the next."""
        asking = [mail for mail in claimed if mail.issue and mail not in waiting]
        shares = await pace.share(self._database, Counter(providers[mail] for mail in asking))
        left = dict(shares.granted)
        for mail in asking:
            left[providers[mail]] -= 1
            if left[providers[mail]] < 0:
                waiting[mail] = MailOutcome(mail, "deferred", reason=pace.SHARED, tried=0, wait=shares.wait)
        return shares

    def _provider(self, mail: ClaimedMail, letter: Letter | NoLetter) -> str:
        """Return the provider that a mail goes to; a probe's is the one that it tries."""
        if mail.probe is not None:
            return mail.probe
        return self._providers.of(letter.recipient.rpartition("@")[2]) if isinstance(letter, Letter) else RELAY

    async def _doubted(self, settled: Sequence[MailOutcome]) -> list[MailOutcome]:
        """Blame ourselves for refusals by a server that knows hardly any address: rather it is not the right one."""
        gone = [one for one in settled if one.mail.issue and one.verdict == "gone"]
        if not gone:
            return list(settled)
        names = {RELAY, *(one.provider for one in gone if one.provider)}
        believed, held = await holds.believed(self._database, names), (await holds.standing(self._database)).held
        doubted = _refused_by_many(settled) | {name for name, reason in held.items() if reason == holds.DOUBTED}
        return [_blamed(one, doubted, believed) for one in settled]

    async def _attempt(
        self,
        name: str,
        mails: Sequence[ClaimedMail],
        letters: Mapping[ClaimedMail, Letter | NoLetter],
        providers: Mapping[ClaimedMail, str],
    ) -> list[MailOutcome]:
        """Mark mails as about to be sent, then send those that weren't marked before, by a time that the ledger lacks."""
        try:
            marked = await self._marks.about_to(self._database, name, mails, self._clock())
        except MarksUnusable as error:
            self.trouble = f"sends nothing: {error}"
            logger.error("the worker %s", self.trouble)
            left = MailOutcome(mails[0], "deferred", reason=UNMARKED, tried=0, wait=BACKOFF_SECONDS[0], claims=ledger.UNMARKED)
            return [msgspec.structs.replace(left, mail=mail) for mail in mails]
        self.trouble = None
        doubted = [MailOutcome(mail, "uncertain", reason=BEHIND, tried=0, claims=claims) for mail, claims in marked.items()]
        unmarked = [(mail, letter) for mail in mails if mail not in marked and isinstance(letter := letters[mail], Letter)]
        return doubted + list(
            await asyncio.gather(*(self._send_one(mail, letter, providers[mail]) for mail, letter in unmarked))
        )

    async def _send_one(self, mail: ClaimedMail, letter: Letter, provider: str) -> MailOutcome:
        try:
            outcome = await self._transport.deliver(letter)
        except Exception as error:  # nobody knows whether it was sent
            logger.exception("a mail's fate is unknown")
            return MailOutcome(mail, "uncertain", reason=type(error).__name__, provider=provider)
        if outcome.slow_down or (outcome.whole_relay and outcome.kind in ("not_sent", "deferred")):
            with contextlib.suppress(*postgres.FAILED):  # the mail's outcome must be recorded in any case
                seconds = SLOW_SECONDS if outcome.slow_down else UNREACHABLE_SECONDS
                await ledger.slow_down(self._database, RELAY if outcome.whole_relay else provider, seconds)
        return _settled(mail, outcome, RELAY if outcome.whole_relay and mail.probe is None else provider)


def _put_off(
    mail: ClaimedMail, letter: Letter | NoLetter, provider: str, slowed: Mapping[str, int], standing: Standing
) -> MailOutcome | None:
    """Return the outcome of a mail that isn't attempted; None if it may be."""
    if isinstance(letter, NoLetter):
        return MailOutcome(mail, letter.state, reason=letter.reason, tried=0)
    if mail.issue and mail.probe is None and provider in standing.held:
        return MailOutcome(mail, "deferred", reason=holds.WAITS, tried=0, provider=provider)
    if wait := max(slowed.get(provider, 0), slowed.get(RELAY, 0)):
        return MailOutcome(mail, "deferred", reason="asked to slow down", tried=0, wait=wait, provider=provider)
    return None


def _is_unsent(one: MailOutcome) -> bool:
    """Tell whether a digest was not attempted, and no mark says that it may have been."""
    return bool(one.mail.issue) and not one.tried and one.state == "deferred"


def _settled(mail: ClaimedMail, outcome: Outcome, provider: str) -> MailOutcome:
    match outcome.kind:
        case "accepted":
            return MailOutcome(mail, "accepted", outcome.code, provider=provider)
        case "rejected":
            return _refused(mail, outcome, provider)
        case "uncertain":
            return MailOutcome(mail, "uncertain", outcome.code, "no answer after the final dot", provider=provider)
        case "not_sent":
            return MailOutcome(mail, "deferred", outcome.code, "the relay could not be reached", 0, UNREACHABLE_SECONDS)
    if outcome.verdict == "ours":
        return MailOutcome(mail, "deferred", outcome.code, _about_us(outcome), 0, _wait(mail), "ours", provider=provider)
    if outcome.whole_relay or outcome.throttled or mail.probe is not None:  # no fault of this reader's server
        return MailOutcome(mail, "deferred", outcome.code, PUT_OFF, tried=0, wait=_wait(mail), provider=provider)
    if mail.attempts + 1 >= MOST_TRIES:
        return MailOutcome(mail, "rejected", outcome.code, "given up after three days", provider=provider)
    return MailOutcome(mail, "deferred", outcome.code, PUT_OFF, wait=_wait(mail), provider=provider)


def _refused(mail: ClaimedMail, outcome: Outcome, provider: str) -> MailOutcome:
    """Return the outcome of a mail that was refused for good; a single mail is tried again if the refusal is about us."""
    if outcome.verdict != "ours":
        return MailOutcome(mail, "rejected", outcome.code, REFUSED[outcome.verdict], verdict=outcome.verdict, provider=provider)
    if mail.issue == 0 and mail.attempts + 1 < MOST_TRIES:
        wait = _wait(mail)
        return MailOutcome(mail, "deferred", outcome.code, _about_us(outcome), wait=wait, verdict="ours", provider=provider)
    return MailOutcome(mail, "rejected", outcome.code, _about_us(outcome), tried=0, verdict="ours", provider=provider)


def _about_us(outcome: Outcome) -> str:
    return f"{ABOUT_US} ({outcome.status})" if outcome.status else ABOUT_US


def _answers(settled: Sequence[MailOutcome]) -> Answers:
    """Return what the providers said to the digests of a chunk."""
    answers = Answers()
    for one in settled:
        if one.mail.issue and one.provider is not None:
            answers.hear(one.provider, one.state == "accepted", one.reason if one.verdict == "ours" else None, one.mail.probe)
    return answers


def _refused_by_many(settled: Sequence[MailOutcome]) -> set[str]:
    """Return the providers, or the relay, that refused digests as dead: many of a chunk, and more than they took."""
    gone: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    for one in settled:
        if one.mail.issue and one.provider is not None:
            counter = gone if one.verdict == "gone" else accepted if one.state == "accepted" else Counter[str]()
            counter.update({RELAY, one.provider})
    return {name for name, mails in gone.items() if mails >= holds.MANY_GONE and mails > accepted[name]}


def _blamed(one: MailOutcome, doubted: Set[str], believed: Set[str]) -> MailOutcome:
    """Return the outcome of a mail; one that was refused as dead by a server that is doubted was refused for our fault."""
    blamed = [name for name in (one.provider, RELAY) if name in doubted]
    if not (one.mail.issue and one.verdict == "gone" and blamed) or {one.provider, RELAY} & believed:
        return one
    return msgspec.structs.replace(one, reason=holds.DOUBTED, verdict="ours", provider=blamed[0])


def _wait(mail: ClaimedMail) -> int:
    return BACKOFF_SECONDS[min(mail.attempts, len(BACKOFF_SECONDS) - 1)]
