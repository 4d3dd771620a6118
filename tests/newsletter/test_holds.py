"""Holds: a provider that refuses us stops its own mails, all of them arrive in the end, and the accounts add up meanwhile."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from emails.smtp import Relay
from events.commands.subscribers import UndoUnsubscribe
from events.log import migrate
from services.clock import now
from services.newsletter import holds, issues, ledger
from services.newsletter.providers import RELAY, Providers
from services.newsletter.sender import MOST_TRIES, Sender
from services.newsletter.transport import RelayTransport
from tests.support.newsroom import Newsroom, unwatched
from tests.support.sending import EDITOR, planned_for, problems, run, told_of_refusals
from tests.support.sink import says_250

REPUTATION = "550 5.7.26 This mail has been blocked because the sender is unauthenticated."


def refusing(*domains: str, reply: str = REPUTATION) -> Callable[[str], str]:
    """Return a sink's answer to recipients: some domains refuse."""
    return lambda to: reply if to.partition("@")[2] in domains else says_250(to)


async def is_probed(room: Newsroom, provider: str = "google") -> None:
    """Let a hold's probe be due."""
    await room.database.execute("update newsletter.holds set probe_at = now() where provider = $1", provider)


def addresses(readers: int, *domains: str) -> list[str]:
    """Return so many addresses at each domain."""
    return [f"reader{n}@{domain}" for n in range(readers) for domain in domains]


async def held(room: Newsroom) -> dict[str, int]:
    """Return the providers that are held, and how many mails wait."""
    return {hold.provider: hold.mails for hold in await holds.read_holds(room.database)}


def worker(room: Newsroom, relay: Relay, chunk: int) -> Sender:
    """Return the sender of another worker."""
    return Sender(
        room.database,
        room.letters,
        RelayTransport(relay, None),
        clock=now,
        bounced=room.bounced,
        look=unwatched,
        lease_seconds=30,
        providers=Providers(),
        chunk=chunk,
    )


async def one_after_the_other(room: Newsroom, chunk: int) -> None:
    """Let a new worker send each chunk."""
    async with Relay(room.settings.smtp_url or "", 1) as relay:
        while claimed := await ledger.claim(room.database, "one", 30, chunk):
            sender = worker(room, relay, chunk)
            await sender._record("one", await sender._send("one", claimed))
    await ledger.settle(room.database)


async def test_one_provider_waits_and_the_others_go_on(room: Newsroom) -> None:
    """Both of its domains wait, nobody is dropped, and whatever was refused before the row was long waits too."""
    number, _ = await planned_for(room, addresses(12, "gmail.com", "googlemail.com", "example.com"))
    room.sink.rcpt = refusing("gmail.com", "googlemail.com")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 12, "deferred": 24}
    assert await held(room) == {"google": 24}
    assert (await issues.issue(room.database, number)).state == "planned"
    assert await room.database.fetchval("select count(*) from vault.lookups where suppressed is not null") == 0
    refused = (await holds.read_refused(room.database)).readers
    said = f"{holds.said_held(['google'])}: {holds.RESUME_HELD}"
    assert await told_of_refusals(room) == (said, 1.0, float(refused))
    assert holds.said_held(["google"]) in [problem.what for problem in await problems(room)]
    assert "24 mails wait for google, which is held\n" in run(room, "digest", "status").out
    tried = len(room.sink.tried)
    await room.deliver()
    assert len(room.sink.tried) == tried


async def test_a_probe_that_is_taken_ends_the_hold(room: Newsroom) -> None:
    """One mail is tried, at intervals that grow while it is refused; once it is taken all others follow."""
    number, _ = await planned_for(room, addresses(12, "gmail.com"))
    room.sink.rcpt = refusing("gmail.com")
    await room.deliver()
    intervals = []
    for _ in range(3):
        tried = len(room.sink.tried)
        await is_probed(room)
        await room.deliver()
        assert len(room.sink.tried) == tried + 1
        assert await room.accounts(number) == {"deferred": 12}
        next_probe = "select extract(epoch from probe_at - now()) from newsletter.holds where provider = 'google'"
        intervals.append(await room.database.fetchval(next_probe))
    assert [round(float(interval) / 60) for interval in intervals] == [15, 30, 60]
    room.sink.rcpt = says_250
    await is_probed(room)
    await room.deliver()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 12} and await held(room) == {}
    assert (await issues.issue(room.database, number)).state == "settled"
    assert all(len(room.sink.to(to)) == 1 for to in addresses(12, "gmail.com"))


async def test_an_operator_lets_one_provider_go_on(room: Newsroom) -> None:
    """The other stays held; a name that isn't held is refused with the names that are."""
    number, _ = await planned_for(room, addresses(10, "gmail.com", "yahoo.com", "example.com"))
    room.sink.rcpt = refusing("gmail.com", "yahoo.com")
    await room.deliver()
    assert await held(room) == {"google": 10, "yahoo": 10}
    run(room, "digest", "resume", "--provider", "aol").failed("aol is not held. Held: google, yahoo")
    assert run(room, "digest", "resume", "--provider", "Google").out == "Mails to google go on\n"
    room.sink.rcpt = refusing("yahoo.com")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 20, "deferred": 10} and await held(room) == {"yahoo": 10}
    assert [one["provider"] for one in run(room, "digest", "holds", "--json").json()] == ["yahoo"]


async def test_a_row_is_counted_over_all_workers(room: Newsroom) -> None:
    """Two workers, none of which sees a long row, hold the provider together."""
    number, _ = await planned_for(room, addresses(12, "gmail.com"))
    room.sink.rcpt = refusing("gmail.com")
    await one_after_the_other(room, 2)
    assert await held(room) == {"google": 12} and await room.accounts(number) == {"deferred": 12}


async def test_a_mail_that_is_taken_breaks_the_row(room: Newsroom) -> None:
    """Nine are refused, one is taken, nine are refused: nothing is held, and an operator can send the eighteen again."""
    number, _ = await planned_for(room, addresses(19, "gmail.com"))
    answers = iter([*[REPUTATION] * 9, says_250(""), *[REPUTATION] * 9])
    room.sink.rcpt = lambda to: next(answers)
    await one_after_the_other(room, 1)
    assert await held(room) == {}
    assert await room.accounts(number) == {"accepted": 1, "rejected": 18}
    room.sink.rcpt = says_250
    assert await holds.retry(room.database, number) == 18
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 19}


async def test_refusals_by_many_providers_hold_the_relay(room: Newsroom) -> None:
    """Each of its own is no row; together they are the relay's: all digests wait, also untried ones, but no single mail."""
    number, _ = await planned_for(room, [f"reader@firm{n}.example" for n in range(30)])
    room.sink.rcpt = lambda to: "550 5.7.1 Client host rejected: Access denied"
    await room.deliver()
    accounts = await room.accounts(number)
    assert accounts.keys() <= {"deferred", "pending"} and await held(room) == {RELAY: 30}
    tried = len(room.sink.tried)
    await room.deliver()
    assert len(room.sink.tried) == tried
    await is_probed(room, RELAY)
    await room.deliver()
    assert len(room.sink.tried) == tried + 1 and await held(room) == {RELAY: 30}
    room.sink.rcpt = says_250
    await room.sign_up("new@firm1.example")
    await room.deliver()
    assert len(room.sink.to("new@firm1.example")) == 1 and await held(room) == {RELAY: 30}
    run(room, "digest", "resume", "--provider", "relay")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 30}


async def test_a_sender_that_the_relay_refuses_costs_nobody_a_try(room: Newsroom) -> None:
    """MAIL FROM is refused for everybody: the relay is held, and the tries of no reader are counted."""
    number, _ = await planned_for(room, addresses(12, "gmail.com", "example.com"))
    room.sink.mail = "550 5.7.1 Sender address rejected: not logged in"
    await room.deliver()
    assert await held(room) == {RELAY: 24}
    assert await room.database.fetchval("select max(attempts) from newsletter.mails where issue = $1", number) == 0
    room.sink.mail = "250 ok"
    await room.database.execute("delete from newsletter.slowdowns")
    await is_probed(room, RELAY)
    await room.deliver()
    await room.database.execute("update newsletter.mails set not_before = now() where state = 'deferred'")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 24}


async def test_waiting_for_our_fault_never_gives_a_reader_up(room: Newsroom) -> None:
    """Weeks of refused probes and of throttling drop nobody; a server that puts its reader's mail off for three days does."""
    number, _ = await planned_for(room, addresses(10, "gmail.com"))
    room.sink.rcpt = refusing("gmail.com")
    await room.deliver()
    for reply in [REPUTATION, "421 4.7.28 Our system has detected an unusual rate of mail", "451 4.3.0 later"] * 9:
        room.sink.rcpt = refusing("gmail.com", reply=reply)
        await room.database.execute("delete from newsletter.slowdowns")
        await is_probed(room)
        await room.deliver()
    assert await room.accounts(number) == {"deferred": 10}
    await holds.resume(room.database, "ed")
    room.sink.rcpt = refusing("gmail.com", reply="451 4.3.0 later")
    for _ in range(2 * MOST_TRIES):  # a mail that meets the slowdown of another isn't tried
        await room.database.execute("update newsletter.slowdowns set until = now()")
        await room.database.execute("update newsletter.mails set not_before = now() where state = 'deferred'")
        await room.deliver()
    assert await room.accounts(number) == {"rejected": 10}
    tries = await room.database.fetch("select distinct attempts from newsletter.mails where issue = $1", number)
    assert [row["attempts"] for row in tries] == [MOST_TRIES]


@pytest.mark.parametrize(
    "reply",
    [
        "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address.",
        "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.",
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
        "452 4.7.1 Too many recipients from your domain, rate limit exceeded",
    ],
)
async def test_a_provider_that_throttles_is_slowed_alone(room: Newsroom, reply: str) -> None:
    """Its mails wait longer each time, those to others go out at once, and no try is counted."""
    number, _ = await planned_for(room, addresses(3, "gmail.com", "example.com"))
    room.sink.rcpt = refusing("gmail.com", reply=reply)
    await room.deliver()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 3, "deferred": 3}
    assert [row["name"] for row in await room.database.fetch("select name from newsletter.slowdowns")] == ["google"]
    assert await room.database.fetchval("select max(attempts) from newsletter.mails where state = 'deferred'") == 0
    assert await held(room) == {}


async def test_an_earlier_refusal_for_the_same_cause_waits_with_the_others(room: Newsroom) -> None:
    """An issue that had settled with a few such refusals is open again; those of last week stay as they were."""
    number, _ = await planned_for(room, addresses(4, "gmail.com"))
    room.sink.rcpt = refusing("gmail.com")
    await room.deliver()
    assert await room.accounts(number) == {"rejected": 4}
    await room.database.execute(
        "update newsletter.mails set settled_at = now() - interval '4 days' where issue = $1 and reader ="
        " (select min(reader) from newsletter.mails where issue = $1)",
        number,
    )
    for n in range(4, 8):
        await room.subscribe(f"reader{n}@gmail.com")
    await room.project()
    room.sink.rcpt = says_250
    await room.deliver()
    room.sink.rcpt = refusing("gmail.com")
    second = await room.send_now(extra=True)
    await room.deliver()
    assert await held(room) == {"google": 11}
    assert await room.accounts(number) == {"rejected": 1, "deferred": 3} and await room.accounts(second) == {"deferred": 8}
    assert (await issues.issue(room.database, number)).state == "planned"
    room.sink.rcpt = says_250
    await holds.resume(room.database, "ed")
    await room.deliver()
    assert await room.accounts(number) == {"rejected": 1, "accepted": 3} and await room.accounts(second) == {"accepted": 8}


async def test_a_later_issue_begins_with_a_probe(room: Newsroom) -> None:
    """While a provider is held and nothing waits for it, the next issue's first mail tries it."""
    number, _ = await planned_for(room, addresses(10, "gmail.com"))
    room.sink.rcpt = refusing("gmail.com")
    await room.deliver()
    await issues.cancel(room.database, number, "ed")
    assert await held(room) == {"google": 0}
    await is_probed(room)
    room.sink.rcpt = says_250
    second = await room.send_now(extra=True)
    await room.deliver()
    await room.deliver()
    assert await room.accounts(number) == {"cancelled": 10} and await room.accounts(second) == {"accepted": 10}
    assert await held(room) == {}


async def test_who_leaves_while_held_gets_nothing(room: Newsroom) -> None:
    """Whoever unsubscribes meanwhile is cancelled at once, and its provider's name goes."""
    number, readers = await planned_for(room, addresses(11, "gmail.com"))
    room.sink.rcpt = refusing("gmail.com")
    await room.deliver()
    await room.leave(readers[0])
    await holds.tidy(room.database)
    assert await room.accounts(number) == {"deferred": 10, "cancelled": 1}
    kept = "select provider from newsletter.mails where reader = $1 and issue = $2"
    assert await room.database.fetchval(kept, readers[0], number) is None
    room.sink.rcpt = says_250
    await holds.resume(room.database, "ed")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 10, "cancelled": 1}
    assert await room.database.fetchval("select count(provider) from newsletter.mails") == 0
    await room.database.execute("update newsletter.holds set at = now() - interval '4 days'")
    await holds.tidy(room.database)
    assert await room.database.fetchval("select count(*) from newsletter.holds") == 0


@pytest.mark.parametrize("is_tidied", [False, True])
async def test_who_comes_back_while_held_waits_again(room: Newsroom, is_tidied: bool) -> None:
    """An unsubscription that is undone brings its mail back: it waits and goes out with the others, and the issue ends."""
    number, readers = await planned_for(room, addresses(11, "gmail.com"))
    room.sink.rcpt = refusing("gmail.com")
    await room.deliver()
    await room.leave(readers[0])
    if is_tidied:
        await holds.tidy(room.database)
    position = await room.database.fetchval("select max(position) from log.events where type = 'Unsubscribed'")
    await room.committer.submit(UndoUnsubscribe(readers[0], position, "undo 1", "ab" * 32))
    await room.deliver()
    assert await room.accounts(number) == {"deferred": 11}
    room.sink.rcpt = says_250
    await holds.resume(room.database, "ed")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 11}
    assert (await issues.issue(room.database, number)).state == "settled"


async def test_holds_and_releases_that_race_leave_no_mail_behind(room: Newsroom) -> None:
    """Workers send while providers refuse, take, and are resumed at random: in the end each reader has one mail."""
    number, _ = await planned_for(room, addresses(20, "gmail.com", "yahoo.com", "example.com"))
    bad: Sequence[str] = ()
    room.sink.rcpt = lambda to: REPUTATION if to.partition("@")[2] in bad else says_250(to)
    async with Relay(room.settings.smtp_url or "", 4) as relay:
        others = [worker(room, relay, 3) for _ in range(2)]
        for now_bad in (("gmail.com",), ("gmail.com", "yahoo.com"), ("example.com",), ("yahoo.com",), ()):
            bad = now_bad
            turns = [sender.turn() for sender in (room.sender, *others)]
            await asyncio.gather(*turns, holds.resume(room.database, "ed"), holds.tidy(room.database))
            await room.database.execute("update newsletter.holds set probe_at = now() where held_at is not null")
            assert sum((await room.accounts(number)).values()) == 60
        await holds.resume(room.database, "ed")
        await holds.retry(room.database, number)
        await room.deliver()
    assert await room.accounts(number) == {"accepted": 60}
    assert all(len(room.sink.to(to)) == 1 for to in addresses(20, "gmail.com", "yahoo.com", "example.com"))


async def test_operators_see_holds_and_let_them_go_on(room: Newsroom, http: httpx.AsyncClient) -> None:
    """The page lists provider, reason and number; its button and the API let the mails go on, and say when nothing is held."""
    await planned_for(room, addresses(10, "gmail.com", "yahoo.com", "example.com"))
    room.sink.rcpt = refusing("gmail.com", "yahoo.com")
    await room.deliver()
    html, token = {"accept": "text/html"}, {"authorization": f"Bearer {EDITOR.token}"}
    shown = (await http.get("/ops/holds", headers=html)).text
    assert "google" in shown and "10 mails wait: refused, about us (5.7.26)." in shown
    items = (await http.get("/v1/ops/holds", headers=token)).json()["items"]
    assert [(item["provider"], item["mails"]) for item in items] == [("google", 10), ("yahoo", 10)]
    for said in ("resumed", "nothing"):
        done = await http.post("/ops/holds", data={"provider": "google"}, headers=html)
        assert (done.status_code, done.headers["location"]) == (303, f"/ops/holds?said={said}")
    for status in (200, 404):
        assert (await http.post("/v1/ops/holds/yahoo/resumption", headers=token)).status_code == status
    assert await held(room) == {}
    assert "Nothing is held" in (await http.get("/ops/holds", headers=html)).text


async def test_an_issue_that_an_earlier_release_held_waits_for_the_relay(room: Newsroom) -> None:
    """The migration lets its mails wait on: a probe or an operator lets them go."""
    number, _ = await planned_for(room, addresses(3, "gmail.com"))
    held_for = "update newsletter.issues set held_at = now(), held_for = 'refused, about us (5.5.2)' where number = $1"
    await room.database.execute(held_for, number)
    migration = (Path(migrate.__file__).parent / "migrations" / "0041_holds.sql").read_text()
    (begins,) = (part for part in migration.split(";") if "insert into newsletter.holds" in part)
    await room.database.execute(begins)
    await room.database.execute("update newsletter.holds set probe_at = now() + interval '1 hour'")
    await room.deliver()
    assert await room.accounts(number) == {"pending": 3} and await held(room) == {RELAY: 3}
    await is_probed(room, RELAY)
    await room.deliver()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 3} and await held(room) == {}
