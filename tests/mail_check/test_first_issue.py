"""The check of a whole site, by its settings: what operators see of it, and the first issue that it holds."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from dns import rcode
from msgspec.structs import replace

from events.commands.issues import RecordIssueSent
from events.issues import IssueSent
from services.clock import now
from services.mail_check import store
from services.newsletter import arrival, issues
from services.newsletter.mailroom import Mailroom
from services.setting_table import DAYS
from services.settings import OperatorToken, Settings, read_settings
from services.status.read import read_status
from tests.support.certificates import Authority
from tests.support.mail_setups import ADDRESS, DOMAIN, GREETS, KEY_NAME, RELAY, SELECTOR, SENDER, pem, relaying
from tests.support.mails import SITE
from tests.support.nameserver import Nameserver, saying
from tests.support.newsroom import Newsroom, newsroom
from tests.support.runners import until
from tests.support.settings import environ
from tests.support.shell import Ran, run_inside
from tests.support.signing_in import session_cookie
from tests.support.sites import client

pytestmark = pytest.mark.server
EDITOR = OperatorToken(name="ed", scopes=frozenset({"digest", "read"}), token="editor-token-of-tests")


class Site:
    """A site whose mail arrives: its DNS, its variables, and its newsroom."""

    def __init__(self, dns: Nameserver, variables: dict[str, str], room: Newsroom, mailroom: Mailroom) -> None:
        self.dns = dns
        self.variables = variables
        self.room = room
        self.mailroom = mailroom
        self.settings: Settings = read_settings(variables)

    async def run(self, *words: str, status: int = 0) -> Ran:
        """Run a command, while the relay goes on."""
        ran = Ran(await asyncio.to_thread(run_inside, words, b"", self.variables))
        assert ran.status == status, (ran.out, ran.err)
        return ran

    async def check(self) -> dict[str, store.KeptLine]:
        """Check once, as the worker does; give the lines by subject."""
        return {line.subject: line for line in (await arrival.check(self.settings, self.room.database)).lines}

    async def told(self) -> str:
        """Return the problems that `status` shows."""
        async with self.room.database.acquire() as connection:
            status = await read_status(connection, self.room.schedule)
        return "\n".join(f"{problem.what}: {problem.advice}" for problem in status.problems)

    async def tick(self) -> list[str]:
        """Let the worker's clock tick; give the states of all issues."""
        await self.mailroom.tick()
        return [one.state for one in await issues.issues(self.room.database)]

    def remove_key(self) -> None:
        """Take the DKIM key out of DNS."""
        self.kept = self.dns.zone.pop((KEY_NAME, "TXT"))

    def put_key_back(self) -> None:
        """Publish the DKIM key again."""
        self.dns.zone[KEY_NAME, "TXT"] = self.kept


@pytest.fixture
async def site(dsn: str, valkey_url: str, tmp_path: Path, dns: Nameserver, trusted: Authority) -> AsyncIterator[Site]:
    """A site with a reader and an issue that is due, a relay with TLS, and everything published."""
    key_file = tmp_path / "dkim.pem"
    due = now() - timedelta(minutes=5)  # its issue was due when this hour began
    key_file.write_bytes(pem(0))
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(relaying(trusted.serving(RELAY)))
        variables = environ(
            dsn,
            valkey_url,
            tmp_path,
            BALLOTPRESS_BASE_URL=SITE,
            BALLOTPRESS_MAIL_FROM=f"Verdicts <{SENDER.address}>",
            BALLOTPRESS_EHLO_NAME=GREETS,
            BALLOTPRESS_DIGEST_DAY=DAYS[due.weekday()],
            BALLOTPRESS_DIGEST_HOUR=str(due.hour),
            BALLOTPRESS_DKIM_DOMAIN=DOMAIN,
            BALLOTPRESS_DKIM_SELECTOR=SELECTOR,
            BALLOTPRESS_DKIM_KEY_FILE=str(key_file),
            BALLOTPRESS_DNS_SERVERS=f"127.0.0.1:{dns.port}",
            BALLOTPRESS_OUTGOING_ADDRESSES=ADDRESS,
            SMTP_URL=f"smtp+starttls://{RELAY}:{port}",
            SSL_CERT_FILE=str(trusted.file),
        )
        room = await stack.enter_async_context(newsroom(read_settings(variables)))
        await room.subscribe("ada@example.com")
        await room.project()
        await room.database.execute("update newsletter.schedule set since = now() - interval '8 days'")
        mailroom = Mailroom(read_settings(variables))
        await mailroom.open()
        stack.push_async_callback(mailroom.close)
        yield Site(dns, variables, room, mailroom)


async def test_the_command_says_each_line_and_keeps_it(site: Site) -> None:
    """On a good site the status is 0; with the key gone it is 1, and the record to publish is there as a zone file has it."""
    good = await site.run("mail", "check")
    assert good.out.splitlines()[-1].startswith("14 right, 0 wrong, 0 unknown")
    site.remove_key()
    bad = await site.run("mail", "check", status=1)
    assert f"✗ wrong   DKIM: {KEY_NAME} doesn't exist" in bad.out
    assert f'{KEY_NAME} TXT "v=DKIM1; k=rsa; p=' in bad.out
    told = json.loads((await site.run("mail", "check", "--json", status=1)).out)
    (wrong,) = [line for line in told["lines"] if line["state"] == "wrong"]
    assert (wrong["subject"], wrong["publish"]["name"], wrong["publish"]["type"]) == ("dkim", KEY_NAME, "TXT")
    assert [line.subject for line in (await store.read(site.room.database)).wrong] == ["dkim"]
    assert "arrives 13 right, 1 wrong (DKIM), 0 unknown, as of " in (await site.run("status", status=1)).out


async def test_what_strangers_write_into_dns_harms_neither_database_nor_terminal(site: Site) -> None:
    """Control characters are replaced, and giant records are cut where they are told."""
    site.dns.zone[DOMAIN, "TXT"] = ['"v=spf1 " ' + r'"\000\027[31m" ' * 2000 + '" -all"']
    site.dns.zone[f"_dmarc.{DOMAIN}", "TXT"] = [r'"v=DMARC1; p=\027[31m"']
    ran = await site.run("mail", "check", status=1)
    assert "\x1b" not in ran.out and "\x00" not in ran.out and "\N{REPLACEMENT CHARACTER}[31m" in ran.out
    assert [line.subject for line in (await store.read(site.room.database)).wrong] == ["spf", "dmarc"]


@pytest.mark.parametrize("url", ["smtp://", "http://relay", "smtp://ana:se/cret@relay", "smtp://[::1", "smtp://relay/path"])
async def test_a_relay_that_is_none_is_a_clear_line(site: Site, url: str) -> None:
    """One sentence that names the variable, without a piece of the password in it."""
    site.variables["SMTP_URL"] = url
    (await site.run("mail", "check", status=1)).failed("SMTP_URL")
    assert "cret" not in (await site.run("mail", "check", status=1)).err


async def test_an_issue_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    """With templates of the site's own: one that is too long is red, one that fails makes the lines on the issue unknown."""
    bodies = {"long": "<p>" + "x" * 103_000 + "</p>", "broken": "<p>{{ there_is_no_such_value }}</p>"}
    for name, body in bodies.items():
        (tmp_path / name / "emails" / "digest").mkdir(parents=True)
        (tmp_path / name / "emails" / "digest" / "body.html").write_text(body)
    site.variables["BALLOTPRESS_THEME_DIR"] = str(tmp_path / "long")
    ran = await site.run("mail", "check", status=1)
    assert "✗ wrong   Size: No issue could be written: the HTML part has 103" in ran.out
    site.variables["BALLOTPRESS_THEME_DIR"] = str(tmp_path / "broken")
    ran = await site.run("mail", "check")
    assert "? unknown Size: No issue could be written: 'there_is_no_such_value' is undefined" in ran.out


async def test_without_a_relay_there_is_nothing_to_check(site: Site) -> None:
    """The outbox takes every mail: the command says so, and no issue is held for it."""
    site.variables = {name: value for name, value in site.variables.items() if name != "SMTP_URL"}
    site.remove_key()
    assert "There is no relay (SMTP_URL)" in (await site.run("mail", "check")).out
    assert "Issue 1, weekly" in (await site.run("digest", "send", "--now")).out


async def test_a_first_issue_is_refused_while_a_line_is_red(site: Site) -> None:
    """What was right a moment ago isn't believed. It goes when the line is mended, at once; later ones are not asked about."""
    await site.check()
    site.remove_key()
    refused = await site.run("digest", "send", "--now", status=1)
    assert "The first issue waits, since mail from here may not arrive: DKIM" in refused.err
    assert await issues.issues(site.room.database) == []
    site.put_key_back()
    assert "Issue 1, weekly" in (await site.run("digest", "send", "--now")).out
    site.remove_key()
    assert "Issue 2, weekly" in (await site.run("digest", "send", "--now", "--extra")).out


async def test_an_issue_that_went_nowhere_is_not_the_first(site: Site) -> None:
    """Neither one without a reader nor one that the outbox kept: the first that a relay is to take is held."""
    reader = await site.room.database.fetchval("select person from vault.lookups limit 1")
    await site.room.leave(reader)
    await site.room.project()
    await site.run("digest", "send", "--now")
    await site.room.subscribe("eve@example.com")
    await site.room.project()
    await site.mailroom.close()  # whichever comes first takes a mail, and this one has a relay
    at_home = Mailroom(replace(site.settings, smtp_url=None, base_url="http://127.0.0.1:8000"))
    await at_home.open()
    await site.run("digest", "send", "--now", "--extra")
    accounts = [await site.room.accounts(number) for number in (1, 2)]
    await until(lambda: kept(site))
    await at_home.close()
    site.remove_key()
    refused = await site.run("digest", "send", "--now", "--extra", status=1)
    assert "The first issue waits" in refused.err, accounts


async def kept(site: Site) -> bool:
    """Tell whether the outbox has kept the second issue."""
    return await site.room.accounts(2) == {"accepted": 1}


async def test_a_site_whose_log_was_moved_has_had_its_first(site: Site) -> None:
    """The log knows of issues that the ledger doesn't; one that nobody took is none."""
    site.remove_key()
    for number, accepted in ((1, 0), (2, 5)):
        await site.run("digest", "send", "--now", status=1)
        sent = IssueSent(issue=number, edition="weekly", planned=5, accepted=accepted)
        await site.room.committer.submit(RecordIssueSent(sent))
    assert "Issue 1, weekly" in (await site.run("digest", "send", "--now")).out


async def test_an_operator_may_send_it_all_the_same(site: Site) -> None:
    """The flag sends it once, whatever the check says."""
    site.remove_key()
    await site.run("digest", "send", "--now", status=1)
    assert "Issue 1, weekly" in (await site.run("digest", "send", "--now", "--unchecked")).out


async def test_unknown_lines_hold_nothing(site: Site) -> None:
    """A DNS that fails says nothing of the site: the issue goes."""
    site.dns._truth = saying(rcode.SERVFAIL)  # type: ignore[method-assign]
    assert "Issue 1, weekly" in (await site.run("digest", "send", "--now")).out


async def test_a_scheduled_first_issue_is_held_and_status_says_why(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """It waits with its reason, which is logged once, and goes by itself once the line is mended."""
    site.remove_key()
    assert await site.tick() == []
    assert "The first issue waits, since mail from here may not arrive: DKIM: `ballotpress mail check`" in await site.told()
    asked = len(site.dns.asked)
    assert (await site.tick(), len(site.dns.asked)) == ([], asked), "it isn't checked each minute"
    assert caplog.text.count("The first issue waits") == 1
    site.put_key_back()
    await site.room.database.execute("update newsletter.mail_check set checked_at = now() - interval '11 minutes'")
    assert await site.tick() in (["planned"], ["settled"])
    assert "may not arrive" not in await site.told()


async def test_a_waiver_lets_the_scheduled_issue_go(site: Site) -> None:
    """With a reason, until it is undone."""
    site.remove_key()
    assert await site.tick() == []
    await site.run("mail", "waive", "--reason", "A trial among friends")
    await site.run("mail", "waive", "--undo")
    assert await site.tick() == []
    await site.run("mail", "waive", "--reason", "A trial among friends")
    assert await site.tick() in (["planned"], ["settled"])
    checked = await store.read(site.room.database)
    assert (checked.waived_by, checked.waived_for) == ("shell", "A trial among friends")
    await site.run("mail", "waive", status=2)
    await site.run("mail", "waive", "--reason", "two\nlines", status=2)


async def test_what_was_right_and_is_wrong_is_an_alarm(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A key that was removed is logged once, stands in status and metrics, and is gone from them when it is mended."""
    assert (await site.check())["dkim"].state == "right"
    await site.room.send_now()
    site.remove_key()
    with caplog.at_level(logging.ERROR):
        since = [(await site.check())["dkim"].since for _ in range(2)]
    assert since[0] == since[1]
    assert [
        record.getMessage() for record in caplog.records if "dkim was right and is wrong" in record.getMessage()
    ].__len__() == 1
    assert "Mail may not arrive any more: DKIM was right and is wrong" in await site.told()
    async with client(site.settings) as api:
        assert 'ballotpress_mail_check{of="went_wrong"} 1' in (await api.get("/metrics")).text
    site.put_key_back()
    await site.check()
    assert "may not arrive" not in await site.told()


async def test_a_look_up_that_fails_meanwhile_loses_no_alarm(site: Site) -> None:
    """Right, then unknown, then wrong is an alarm too; unknown alone is none."""
    await site.check()
    await site.room.send_now()
    site.dns.lies[KEY_NAME] = saying(rcode.SERVFAIL)
    line = (await site.check())["dkim"]
    assert (line.state, line.went_wrong) == ("unknown", False)
    assert "may not arrive" not in await site.told()
    del site.dns.lies[KEY_NAME], site.dns.zone[KEY_NAME, "TXT"]
    assert (await site.check())["dkim"].went_wrong


async def test_it_is_checked_once_a_day_and_when_asked(site: Site) -> None:
    """By one of several workers; a site that readers can't reach is never checked by itself."""
    database = site.room.database
    assert await asyncio.gather(*(arrival.check_if_due(site.settings, database) for _ in range(2))) in (
        [True, False],
        [False, True],
    )
    assert not await arrival.check_if_due(site.settings, database)
    await store.ask(database)
    assert (await store.read(database)).is_asked_for
    await site.mailroom.check()
    assert not (await store.read(database)).is_asked_for
    await database.execute("update newsletter.mail_check set checked_at = now() - interval '25 hours', begun_at = null")
    inside = read_settings(site.variables | {"BALLOTPRESS_BASE_URL": "http://127.0.0.1:8000"})
    assert not await arrival.check_if_due(inside, database)
    assert await arrival.check_if_due(site.settings, database)


async def test_operators_see_it_on_a_page_and_by_the_api(site: Site) -> None:
    """What was found, when, the record to publish; they ask for another check, and let the first issue go or hold it."""
    site.remove_key()
    html, token = {"accept": "text/html"}, {"authorization": f"Bearer {EDITOR.token}"}
    given = read_settings(site.variables | {"BALLOTPRESS_OPERATOR_TOKENS": f"ed:digest+read:{EDITOR.token}"})
    cookie = {"cookie": await session_cookie(given, EDITOR), "sec-fetch-site": "same-origin"}
    async with client(given) as http:
        assert "Not checked yet" in (await http.get("/ops/mail", headers=html | cookie)).text
        await site.check()
        page = (await http.get("/ops/mail", headers=html | cookie)).text
        assert f"{KEY_NAME} doesn&#39;t exist" in page and "v=DKIM1; k=rsa; p=" in page and "The first issue waits" in page
        await said(http, cookie, {"do": "check"}, "asked")
        assert (await http.get("/v1/ops/mail-check", headers=token)).json()["is_asked_for"]
        await said(http, cookie, {"do": "waive", "reason": "A trial"}, "waived")
        shown = (await http.get("/v1/ops/mail-check", headers=token)).json()
        assert (shown["first_waits"], shown["waiver"]["by"], shown["waiver"]["reason"]) == (False, "ed", "A trial")
        await said(http, cookie, {"do": "hold"}, "held")
        assert (await http.get("/v1/ops/mail-check", headers=token)).json()["first_waits"]
        put = await http.put("/v1/ops/mail-check/waiver", json={"reason": "Once more"}, headers=token)
        assert (put.status_code, put.json()["waiver"]["reason"]) == (200, "Once more")
        assert (await http.delete("/v1/ops/mail-check/waiver", headers=token)).json()["waiver"] is None
        assert (await http.post("/v1/ops/mail-check", headers=token)).json()["is_asked_for"]


async def said(http: httpx.AsyncClient, cookie: dict[str, str], form: dict[str, Any], word: str) -> None:
    """Send the page's form, and expect its message."""
    done = await http.post("/ops/mail", data=form, headers={"accept": "text/html", **cookie})
    assert (done.status_code, done.headers["location"]) == (303, f"/ops/mail?said={word}")
    assert (await http.get(done.headers["location"], headers={"accept": "text/html", **cookie})).status_code == 200
