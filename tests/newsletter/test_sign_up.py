"""Signing up, confirming, choosing and leaving over HTTP: nobody learns who reads, and no GET changes anything."""

from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from events.commands.catalog import ImportCatalog
from events.commands.erasure import EraseVisitor
from events.log.committer import Committer
from events.log.vault import Vault
from services.clock import fresh_id, now
from services.newsletter.tokens import MailTokens
from services.setting_groups import Pace
from services.settings import Newsletter
from tests.support import catalogs
from tests.support.catalogs import tool
from tests.support.log import patient
from tests.support.newsroom import Newsroom
from tests.support.runners import catch_up_all
from tests.support.settings import OPERATOR, SECRET_KEY, VAULT_KEY, settings
from tests.support.sites import client

HERE = {"sec-fetch-site": "same-origin"}
IS_JOINED = "select exists (select from log.recorded_events where type = 'BookmarksJoined' and data->>'visitor' = $1)"
LIMITS = Newsletter(signups_per_hour=6, singles_per_day=3)


@pytest.fixture
async def http(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, its caller's network unlike any other test's."""
    async with client(settings(dsn, valkey_url, home=tmp_path, newsletter=LIMITS)) as made:
        made.headers["x-forwarded-for"] = "ignored"
        yield made


@pytest.fixture(autouse=True)
async def valkey(valkey_url: str) -> AsyncIterator[None]:
    """Limits that start anew."""
    from redis.asyncio import Redis

    async with Redis.from_url(valkey_url) as valkey:
        await valkey.flushdb()
        yield
        await valkey.flushdb()


@pytest.fixture
async def offered(dsn: str, committer: Committer) -> None:
    """A catalog with the categories Chat and Code, in the views."""
    tools = (catalogs.tool("alpha", category="Chat"), catalogs.tool("beta", category="Code"))
    await committer.submit(ImportCatalog.of(catalogs.file(*tools), fresh_id, "op"))
    await catch_up_all(dsn)


@pytest.fixture
def tokens(http: httpx.AsyncClient) -> MailTokens:
    """The tokens of the site."""
    return MailTokens((SECRET_KEY,))


async def sign_up(http: httpx.AsyncClient, email: str, **more: Any) -> httpx.Response:
    return await http.post("/v1/newsletter/subscriptions", json={"email": email, **more})


async def mails(connection: Any) -> list[tuple[str, str]]:
    rows = await connection.fetch("select reader, kind from newsletter.mails where issue = 0 order by planned_at, mail")
    return [(row["reader"], row["kind"]) for row in rows]


async def test_every_address_gets_the_same_answer(http: httpx.AsyncClient, tokens: MailTokens, connection: Any) -> None:
    """New, waiting, confirmed and suppressed addresses are answered alike; only the mails they get differ."""
    first = await sign_up(http, "ada@example.com")
    again = await sign_up(http, "ADA@Example.com")
    ((ada, _), _) = await mails(connection)
    confirmed = await http.post("/v1/newsletter/confirm", json={"token": tokens.confirm(ada, 1)})
    assert confirmed.status_code == 200
    third = await sign_up(http, "ada@example.com")
    capped = await sign_up(http, "ada@example.com")
    assert {(r.status_code, r.text) for r in (first, again, third, capped)} == {(202, first.text)}
    assert await mails(connection) == [(ada, "confirmation"), (ada, "confirmation"), (ada, "preferences")]


async def test_no_address_stands_in_the_log(http: httpx.AsyncClient, connection: Any) -> None:
    """The address is sealed wherever it is kept; the vault opens it, and its destroyed key doesn't."""
    await sign_up(http, "ada@example.com")
    assert "ada@example" not in str(await connection.fetch("select data::text from log.events"))
    (row,) = await connection.fetch("select data->>'subscriber' as id, data->>'address' as address from log.events")
    key = await Vault((VAULT_KEY,)).key_of(connection, row["id"])
    assert key.open("address", row["address"]) == "ada@example.com"


async def test_a_networks_sign_ups_are_counted(http: httpx.AsyncClient) -> None:
    """Over the limit is 429 with Retry-After."""
    seen = [(await sign_up(http, f"reader{n}@example.com")).status_code for n in range(8)]
    assert seen == [202] * 6 + [429] * 2


async def test_sign_ups_are_counted_without_valkey(dsn: str) -> None:
    """While Valkey is away the process counts by itself, so the form stays open and can't bomb strangers."""
    async with client(settings(dsn, "unix:///nonexistent/valkey.sock", newsletter=LIMITS)) as http:
        seen = [(await sign_up(http, f"reader{n}@example.com")).status_code for n in range(8)]
    assert seen == [202] * 6 + [429] * 2


@pytest.fixture
async def from_anywhere(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose calls come from the address that they name, of a site that mails 20 who sign up an hour."""
    given = settings(dsn, valkey_url, newsletter=Newsletter(signups_in_all_per_hour=20))
    async with client(structs.replace(given, trusted_proxies=(ip_network("192.0.2.0/24"),))) as made:
        yield made


async def sign_up_from(http: httpx.AsyncClient, address: str, reader: str) -> int:
    body, head = {"email": f"{reader}@example.com"}, {"x-forwarded-for": address}
    return (await http.post("/v1/newsletter/subscriptions", json=body, headers=head)).status_code


async def test_networks_that_ask_a_lot_shut_nobody_out(from_anywhere: httpx.AsyncClient, connection: Any) -> None:
    """Four networks get what they ask for until half of the hour's mails is theirs; others are then mailed as ever."""
    floods = [f"{one}.9.9.9" for one in range(50, 54)]
    taken = [await sign_up_from(from_anywhere, address, f"f{n}of{address}") for address in floods for n in range(5)]
    assert (taken.count(202), taken[-1]) == (len(floods) + 10, 429)
    assert [await sign_up_from(from_anywhere, f"{one}.1.1.1", f"stranger{one}") for one in range(60, 66)] == [202] * 6
    assert await connection.fetchval("select bool_and(not_before <= now()) and count(*) = 20 from newsletter.mails")


async def test_more_than_the_hours_mails_wait_their_turn(from_anywhere: httpx.AsyncClient, connection: Any) -> None:
    """However many networks there are, each signs up, and the 21st mail goes out an hour after the first."""
    assert {await sign_up_from(from_anywhere, f"{one}.1.1.1", f"reader{one}") for one in range(60, 83)} == {202}
    turns = "select extract(epoch from not_before - min(not_before) over ()) / 60 from newsletter.mails order by not_before"
    minutes = [int(row[0]) for row in await connection.fetch(turns)]
    assert minutes[:20] == [0] * 20 and set(minutes[20:]) <= {60, 61}


async def test_reading_a_link_changes_nothing_and_its_button_does(
    http: httpx.AsyncClient, tokens: MailTokens, connection: Any, offered: None
) -> None:
    """Confirm, preferences and unsubscribe: GET shows a form, POST acts, and may be repeated where that is promised."""
    await sign_up(http, "ada@example.com")
    ((ada, _),) = await mails(connection)
    confirm, leave, manage = tokens.confirm(ada, 1), tokens.unsubscribe(ada), tokens.issue("manage", ada)
    head = "select position from log.head"
    before = await connection.fetchval(head)
    for page, token in (("confirm", confirm), ("unsubscribe", leave)):
        shown = await http.get(f"/newsletter/{page}", params={"token": token})
        assert (shown.status_code, "<form" in shown.text) == (200, True)
    assert await connection.fetchval(head) == before
    done = await http.post("/v1/newsletter/confirm", data={"token": confirm})
    assert (done.status_code, done.headers["content-type"].partition(";")[0]) == (200, "text/html")
    used = await http.post("/v1/newsletter/confirm", data={"token": confirm})
    assert (used.status_code, "text/html" in used.headers["content-type"]) == (410, True)
    form = {"category": ["Chat"], "frequency": "monthly", "paused_until": ""}
    saved = await http.post("/newsletter/preferences", params={"token": manage}, data={**form, "do": "save"}, headers=HERE)
    assert saved.status_code == 200
    bearer = {"authorization": f"Bearer {manage}"}
    kept = await http.get("/v1/newsletter/preferences", headers=bearer)
    assert kept.json() == {"categories": ["Chat"], "frequency": "monthly", "paused_until": None}
    for _ in range(2):
        assert (await http.post("/newsletter/unsubscribe", params={"token": leave}, content=b"x")).status_code == 200
    assert (await http.get("/v1/newsletter/preferences", headers=bearer)).status_code == 410


async def test_a_strangers_words_reach_nobody(
    http: httpx.AsyncClient, tokens: MailTokens, connection: Any, offered: None, room: Newsroom
) -> None:
    """Categories are the catalog's, whichever way they come in: in the log stand those, and in the mail none."""
    lure = "URGENT: your account is locked, open http://evil.example/login"
    plain = await sign_up(http, "bob@example.com")
    answer = await sign_up(http, "ada@example.com", categories=[lure, "Chat"])
    assert (answer.status_code, answer.text) == (202, plain.text)
    form = {"email": "eve@example.com", "category": [lure, "Code"]}
    assert (await http.post("/newsletter", data=form, headers=HERE)).status_code == 303
    kept = await connection.fetch("select data->'categories' as chosen from log.events where type = 'SubscriptionRequested'")
    assert [row["chosen"] for row in kept] == ["[]", '["Chat"]', '["Code"]']
    await room.deliver()
    assert (len(room.sink.mails), lure.encode() in b"".join(mail for _, mail in room.sink.mails)) == (3, False)


async def test_preferences_name_the_categories_that_are_known(
    http: httpx.AsyncClient, tokens: MailTokens, connection: Any, offered: None
) -> None:
    """An unknown category is 400 with its pointer and those there are, in JSON and in the form, and nothing is saved."""
    await sign_up(http, "ada@example.com")
    ((ada, _),) = await mails(connection)
    await http.post("/v1/newsletter/confirm", json={"token": tokens.confirm(ada, 1)})
    manage = tokens.issue("manage", ada)
    bearer = {"authorization": f"Bearer {manage}"}
    wanted = {"categories": ["Chat", "Nope"], "frequency": "weekly"}
    refused = await http.put("/v1/newsletter/preferences", json=wanted, headers=bearer)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["pointer"], "Chat, Code" in error["detail"]) == (400, "/categories/1", True)
    form = {"category": ["Nope"], "frequency": "weekly", "paused_until": "", "do": "save"}
    assert (await http.post("/newsletter/preferences", params={"token": manage}, data=form, headers=HERE)).status_code == 400
    kept = await http.get("/v1/newsletter/preferences", headers=bearer)
    assert kept.json()["categories"] == []


@pytest.mark.parametrize(
    "spellings",
    [
        ["ada+1@example.com", "ada@example.com", "Ada+2@example.com", "ada+3@example.com", '"ada"@example.com'],
        ["a.da@gmail.com", "ada@gmail.com", "ada+x@googlemail.com", "a.d.a+y@gmail.com", "ADA@GoogleMail.com"],
    ],
)
async def test_a_mailbox_has_one_cap_however_it_is_spelled(
    http: httpx.AsyncClient, connection: Any, spellings: list[str]
) -> None:
    """Tags, and dots at Gmail, get nobody more than the day's three mails; all are answered alike, and none stands clear."""
    answers = {(answer.status_code, answer.text) for answer in [await sign_up(http, spelling) for spelling in spellings]}
    assert (len(answers), len(await mails(connection))) == (1, 3)
    await sign_up(http, "a.da@example.com")
    assert len(await mails(connection)) == 4
    stored = await connection.fetchval("select string_agg(l::text, ' ') from vault.lookups l")  # bytes in hexadecimal
    assert "example" not in stored and "gmail" not in stored and b"example".hex() not in stored


async def test_no_duty_or_machine_is_signed_up(http: httpx.AsyncClient, connection: Any) -> None:
    """`postmaster@` and its like get the same answer, no mail, and no place in the log."""
    first = await sign_up(http, "reader@example.com")
    for address in ("postmaster@example.com", "Abuse@example.com", "no-reply+news@example.com", '"hostmaster"@example.com'):
        answer = await sign_up(http, address)
        assert (answer.status_code, answer.text) == (202, first.text)
    assert len(await mails(connection)) == await connection.fetchval("select count(*) from log.events") == 1


async def test_a_pause_that_is_over_is_not_shown(http: httpx.AsyncClient, tokens: MailTokens, connection: Any) -> None:
    """The form shows the day a pause ends on; from that day on, mails are sent and the field is empty."""
    await sign_up(http, "ada@example.com")
    ((ada, _),) = await mails(connection)
    await http.post("/v1/newsletter/confirm", json={"token": tokens.confirm(ada, 1)})
    manage = tokens.issue("manage", ada)
    today = now().date()
    for until, shown in ((today + timedelta(days=2), True), (today, False), (today - timedelta(days=400), False)):
        wanted = {"categories": [], "frequency": "weekly", "paused_until": until.isoformat()}
        bearer = {"authorization": f"Bearer {manage}"}
        assert (await http.put("/v1/newsletter/preferences", json=wanted, headers=bearer)).status_code == 200
        page = await http.get("/newsletter/preferences", params={"token": manage})
        assert (page.status_code, until.isoformat() in page.text) == (200, shown)


async def test_an_erased_reader_is_forgotten(http: httpx.AsyncClient, tokens: MailTokens, connection: Any) -> None:
    """Erasure destroys key and look-up; the address may sign up anew as somebody else."""
    await sign_up(http, "ada@example.com")
    ((ada, _),) = await mails(connection)
    await http.post("/v1/newsletter/confirm", json={"token": tokens.confirm(ada, 1)})
    copy = await http.post("/newsletter/export", params={"token": tokens.issue("export", ada)}, headers=HERE)
    assert (copy.json()["email"], copy.json()["status"]) == ("ada@example.com", "confirmed")
    for _ in range(2):
        erased = await http.post("/newsletter/erase", params={"token": tokens.issue("erase", ada)}, headers=HERE)
        assert erased.status_code == 200
    assert await connection.fetchval("select count(*) from vault.lookups") == 0
    assert await connection.fetchval("select count(*) from vault.keys where owner = $1", ada) == 0
    await sign_up(http, "ada@example.com")
    assert (await mails(connection))[-1][0] != ada


@pytest.mark.parametrize("has_cookie", [True, False])
async def test_bookmarks_join_and_texts_go_by_the_visitors_own_hand_alone(
    http: httpx.AsyncClient, tokens: MailTokens, connection: Any, has_cookie: bool
) -> None:
    """Neither signing up nor saving joins a visitor's bookmarks, the button does; erasing asks for the visitor's cookie."""
    operator = {"authorization": f"Bearer {OPERATOR.token}"}
    assert (await http.post("/v1/ops/catalog", json={"tools": [tool(slug="kept")]}, headers=operator)).status_code == 200
    made = (await http.post("/v1/visitors")).json()
    assert (await http.put("/v1/bookmarks/kept")).status_code == 200
    await sign_up(http, "ada@example.com")
    ((ada, _),) = await mails(connection)
    await http.post("/v1/newsletter/confirm", json={"token": tokens.confirm(ada, 1)})
    page, link = "/newsletter/preferences", {"token": tokens.issue("manage", ada)}
    await http.post(page, params=link, data={"do": "save", "frequency": "monthly"}, headers=HERE)
    assert not await connection.fetchval(IS_JOINED, made["visitor"])
    assert "Add my bookmarks" in (await http.get(page, params=link)).text
    assert (await http.post(page, params=link, data={"do": "join"}, headers=HERE)).status_code == 200
    assert await connection.fetchval(IS_JOINED, made["visitor"])
    if not has_cookie:
        http.cookies.clear()
    await http.post("/newsletter/erase", params={"token": tokens.issue("erase", ada)}, headers=HERE)
    erased = await connection.fetch("select data->>'person' as person from log.recorded_events where type = 'PersonErased'")
    assert {row["person"] for row in erased} == ({ada, made["visitor"]} if has_cookie else {ada})


async def test_signing_up_joins_bookmarks_where_it_is_asked_to(http: httpx.AsyncClient, connection: Any) -> None:
    """The form's box and a Bearer token join the visitor's bookmarks; a cookie alone doesn't."""
    made = (await http.post("/v1/visitors")).json()
    joined = "select count(*) from log.recorded_events where data->>'visitor' = $1"
    bearer = {"authorization": f"Bearer {made['token']}"}
    for number, (more, count) in enumerate([({}, 0), ({"bookmarks": "yes"}, 1)]):
        form = {"email": f"reader{number}@example.com", **more}
        assert (await http.post("/newsletter", data=form, headers=HERE)).status_code == 303
        assert await connection.fetchval(joined, made["visitor"]) == count
    await http.post("/v1/newsletter/subscriptions", json={"email": "more@example.com"}, headers=bearer)
    assert await connection.fetchval(joined, made["visitor"]) == 2


async def test_no_address_leads_to_an_erased_visitor(
    http: httpx.AsyncClient, tokens: MailTokens, dsn: str, connection: Any
) -> None:
    """Its cookie or token signs up as anybody's; form, token and button join nothing, in a site that hasn't heard of it too."""
    operator = {"authorization": f"Bearer {OPERATOR.token}"}
    assert (await http.post("/v1/ops/catalog", json={"tools": [tool(slug="kept")]}, headers=operator)).status_code == 200
    made = (await http.post("/v1/visitors")).json()
    assert (await http.put("/v1/bookmarks/kept")).status_code == 200
    async with patient(dsn) as elsewhere:
        await elsewhere.submit(EraseVisitor(made["visitor"], "op"))
    form = {"email": "one@example.com", "bookmarks": "yes"}
    assert (await http.post("/newsletter", data=form, headers=HERE)).status_code == 303
    bearer = {"authorization": f"Bearer {made['token']}"}
    assert (await http.post("/v1/newsletter/subscriptions", json={"email": "two@x.example"}, headers=bearer)).status_code == 202
    (ada, _), _ = await mails(connection)
    await http.post("/v1/newsletter/confirm", json={"token": tokens.confirm(ada, 1)})
    link = {"token": tokens.issue("manage", ada)}
    joined = await http.post("/newsletter/preferences", params=link, data={"do": "join"}, headers=HERE)
    assert "There are no bookmarks in this browser." in joined.text
    named = "select count(*) from log.recorded_events where data->>'visitor' = $1 and data->>'subscriber' <> ''"
    assert await connection.fetchval(named, made["visitor"]) == 0


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nobody",
        "a@b",
        "a" * 65 + "@example.com",
        "x@example.com\r\nBcc: y@example.com",
        "a" * 400 + "@example.com",
        "\u00fc@example.com",
        "x@y\0.com",
    ],
)
async def test_what_is_no_address_is_400_and_not_counted(http: httpx.AsyncClient, bad: str) -> None:
    """A bad address is refused before it costs its network anything."""
    for _ in range(8):
        assert (await sign_up(http, bad)).status_code == 400


@pytest.fixture
async def zoned(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a site whose issues keep to their readers' own hour."""
    async with client(settings(dsn, valkey_url, home=tmp_path, pace=Pace(own_hour=True))) as made:
        yield made


async def test_a_browsers_time_zone_comes_along_where_the_site_asks_for_it(
    zoned: httpx.AsyncClient, tokens: MailTokens, connection: Any
) -> None:
    """A form's unknown word is dropped, a program's is refused; the reader can change it and take it back."""
    form = {"email": "ada@example.com", "zone": "Asia/Calcutta"}
    assert (await zoned.post("/newsletter", data=form, headers=HERE)).status_code == 303
    odd = {"email": "odd@example.com", "zone": "Mars/Olympus"}
    assert (await zoned.post("/newsletter", data=odd, headers=HERE)).status_code == 303
    refused = await sign_up(zoned, "bob@example.com", zone="Mars/Olympus")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/zone")
    assert (await sign_up(zoned, "bob@example.com", zone="Europe/Berlin")).status_code == 202
    readers = [reader for reader, _ in await mails(connection)]
    zones = []
    for reader in readers:
        await zoned.post("/v1/newsletter/confirm", json={"token": tokens.confirm(reader, 1)})
        bearer = {"authorization": f"Bearer {tokens.issue('manage', reader)}"}
        zones.append((await zoned.get("/v1/newsletter/preferences", headers=bearer)).json().get("zone"))
    assert zones == ["Asia/Calcutta", None, "Europe/Berlin"]
    page = await zoned.get("/newsletter/preferences", params={"token": tokens.issue("manage", readers[2])})
    assert '<option value="Europe/Berlin" selected>' in page.text
    plain = {"categories": [], "frequency": "weekly"}
    for more, kept in (({}, "Europe/Berlin"), ({"zone": "America/New_York"}, "America/New_York"), ({"zone": None}, None)):
        put = await zoned.put("/v1/newsletter/preferences", json=plain | more, headers=bearer)
        assert (put.status_code, put.json().get("zone")) == (200, kept)
    bad = await zoned.put("/v1/newsletter/preferences", json=plain | {"zone": "Berlin"}, headers=bearer)
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (400, "/zone")
    address = f"/newsletter/preferences?token={tokens.issue('manage', readers[2])}"
    saved = await zoned.post(address, data={"frequency": "weekly", "zone": "Asia/Tokyo", "do": "save"}, headers=HERE)
    assert '<option value="Asia/Tokyo" selected>' in saved.text
    forms = await connection.fetch("select distinct data->>'form' as form from log.events where data ? 'form'")
    assert [row["form"] for row in forms] == ["sign-up 2"]


async def test_a_site_with_one_hour_keeps_no_time_zone(http: httpx.AsyncClient, tokens: MailTokens, connection: Any) -> None:
    """A program may send one all the same; nothing asks for it and nothing keeps it."""
    assert (await sign_up(http, "ada@example.com", zone="Europe/Berlin")).status_code == 202
    ((ada, _),) = await mails(connection)
    await http.post("/v1/newsletter/confirm", json={"token": tokens.confirm(ada, 1)})
    manage = tokens.issue("manage", ada)
    wanted = {"categories": [], "frequency": "weekly", "zone": "Europe/Berlin"}
    put = await http.put("/v1/newsletter/preferences", json=wanted, headers={"authorization": f"Bearer {manage}"})
    assert (put.status_code, put.json()) == (200, {"categories": [], "frequency": "weekly", "paused_until": None})
    assert not await connection.fetchval("select exists (select from log.events where data ? 'zone')")
    pages = [await http.get("/newsletter"), await http.get("/newsletter/preferences", params={"token": manage})]
    assert not any('name="zone"' in page.text for page in pages)
