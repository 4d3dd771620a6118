"""The archive on the site: titles, bars and feed say what the mails said, and links of mails say what is true."""

import re
from email import message_from_bytes, policy
from xml.etree import ElementTree

from emails.feed import NAMESPACE
from events.commands.subscribers import Unsubscribe
from tests.support import catalogs
from tests.support.newsroom import Newsroom
from tests.support.sites import client

HTML = {"Accept": "text/html"}


async def sent(room: Newsroom) -> str:
    """Send an issue with a close call, and return its mail's subject."""
    tools = catalogs.tool("alpha", panel=[catalogs.opinion()]), catalogs.tool("beta")
    await room.import_tools(*tools, pairs=(("alpha", "beta"),))
    await room.project()
    await room.subscribe("reader@example.com")
    await room.vote("alpha", 5, 6)
    await room.project()
    await room.send_now(extra=True)
    await room.deliver()
    (mail,) = [mail for mail in room.sink.to("reader@example.com") if b"List-Id" in mail]
    return str(message_from_bytes(mail, policy=policy.default)["subject"])


async def test_an_issue_is_titled_as_its_mail_everywhere(room: Newsroom) -> None:
    """The lists, the page and the feed name an issue by its mail's subject; the feed has all that it says."""
    subject = await sent(room)
    async with client(room.settings) as http:
        (line,) = (await http.get("/v1/issues")).json()["items"]
        assert line["title"] == (await http.get(f"/v1/issues/{line['number']}")).json()["title"] == subject
        assert f"{subject}</a>" in (await http.get("/issues")).text
        page = (await http.get(f"/issues/{line['number']}")).text
        assert f"<h1>{subject}</h1>" in page
        feed = ElementTree.fromstring((await http.get("/feed.xml")).text)
        entry = feed.find(f"{{{NAMESPACE}}}entry")
        assert entry is not None
        assert entry.findtext(f"{{{NAMESPACE}}}title") == subject
        content = entry.findtext(f"{{{NAMESPACE}}}content") or ""
        for text in (page, content):
            assert "https://verdicts.example/compare/alpha-vs-beta" in text
            assert "Alpha: 45% ship of 11 votes" in text
            assert "45% ship of 11 votes" in text
            assert "https://verdicts.example/tools/alpha" in text
        assert '<rect class="share"' in page
        assert not re.search(r"\d{4}-\d{2}-\d{2}", re.sub(r"<[^>]*>", "", page))


async def test_links_of_mails_say_what_is_true(room: Newsroom) -> None:
    """A changed link is called so, after unsubscribing the preferences' link says that, and without a token what lacks."""
    await room.import_tools(catalogs.tool("alpha"))
    reader = await room.subscribe("leaver@example.com")
    link = f"/newsletter/preferences?token={room.tokens.issue('manage', reader)}"
    async with client(room.settings) as http:
        assert "Send nothing until" in (await http.get(link)).text
        assert 'type="date"' not in (await http.get(link)).text
        await room.committer.submit(Unsubscribe(reader))
        gone = await http.get(link)
        assert (gone.status_code, "You are not subscribed" in gone.text, "too old" in gone.text) == (410, True, False)
        assert "too old, or was changed" in (await http.get(link[:-3])).text
        bare = await http.get("/newsletter/preferences", headers=HTML)
        assert (bare.status_code, "link in one of our mails" in bare.text, "field" in bare.text) == (400, True, False)


async def test_confirming_leads_on(room: Newsroom) -> None:
    """Whoever has confirmed finds the preferences and the last issue."""
    await sent(room)
    reader = await room.sign_up("ada@example.com")
    token = room.tokens.confirm(reader, 1)
    async with client(room.settings) as http:
        headers = {**HTML, "Sec-Fetch-Site": "same-origin"}
        answer = await http.post("/v1/newsletter/confirm", data={"token": token}, headers=headers)
        assert "You are subscribed" in answer.text
        (preferences,) = re.findall(r'href="(/newsletter/preferences\?token=[^"]+)"', answer.text)
        assert (await http.get(preferences)).status_code == 200
        assert 'href="/issues/1"' in answer.text
