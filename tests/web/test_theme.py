"""The site's identity: settings name it everywhere, a folder changes templates and styles, and mistakes stop the start."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from emails.look import PLAIN
from emails.rendering import check_templates, render
from services.identity import Accent, Identity, contrast
from services.newsletter.look import check_mails, look_of, named_look
from services.settings import Settings, SettingsError, read_settings
from services.web.filters import FILTERS, GLOBALS
from services.web.http.theme import Theme, _environment
from tests.support.mails import SINGLE_MAILS
from tests.support.settings import settings, variables
from tests.support.sites import client

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "docs" / "theming.md").read_text(), re.DOTALL)
NAMED = {
    "BALLOTPRESS_SITE_NAME": "Ship & Skip",
    "BALLOTPRESS_NEWSLETTER_NAME": "The Friday Verdict, weekly",
    "BALLOTPRESS_SITE_COLOR": "#7A1F5C",
    "BALLOTPRESS_FOOTER_LINKS": "Imprint=https://example.com/imprint, Privacy=/privacy",
    "BALLOTPRESS_BASE_URL": "https://verdicts.example",
}


def named(folder: Path, **more: str) -> Settings:
    """Read settings with an identity."""
    return read_settings({**variables("postgresql://localhost/x", "redis://localhost", folder), **NAMED, **more})


def themed(folder: Path) -> Theme:
    """Return the theme of a folder."""
    return Theme(Identity(theme=folder), FILTERS, GLOBALS)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A theme's folder, made of the examples of the documentation."""
    (tmp_path / "templates").mkdir()
    code = dict(EXAMPLES)
    (tmp_path / "templates" / "home.html").write_text(code["jinja"])
    (tmp_path / "site.css").write_text(code["css"])
    return tmp_path


async def test_pages_feed_and_document_name_the_site(dsn: str, valkey_url: str, tmp_path: Path) -> None:
    """Readers find the site's names, links, logo and colour, and ours nowhere."""
    logo = tmp_path / "logo.svg"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    identity = named(tmp_path, BALLOTPRESS_SITE_LOGO=str(logo)).identity
    async with client(settings(dsn, valkey_url, identity=identity)) as http:
        pages = {path: await http.get(path, headers={"Accept": "text/html"}) for path in ("/", "/newsletter", "/issues", "/no")}
        for path, page in pages.items():
            assert "Ship &amp; Skip</title>" in page.text, path
            assert '<a href="https://example.com/imprint">Imprint</a>' in page.text, path
            assert '<a href="/privacy">Privacy</a>' in page.text, path
            assert "Ballotpress" not in page.text, path
            assert "Weekly AI Tool Verdicts" not in page.text, path
        assert "The Friday Verdict, weekly" in pages["/newsletter"].text
        await _has_logo_and_color(http, pages["/"].text)
        assert "<title>The Friday Verdict, weekly</title>" in (await http.get("/feed.xml")).text
        assert (await http.get("/schema/openapi.json")).json()["info"]["title"] == "Ship & Skip"
        schema = (await http.get("/schema")).text
        assert "Ship &amp; Skip" in schema
        assert "Ballotpress" not in schema


async def _has_logo_and_color(http: httpx.AsyncClient, html: str) -> None:
    (logo,) = re.findall(r'<img src="(/static/logo\.[0-9a-f]+\.svg)"', html)
    assert (await http.get(logo)).headers["content-type"] == "image/svg+xml"
    (sheet,) = re.findall(r'href="(/static/site\.[^"]+css)"', html)
    assert "--accent:#7a1f5c" in (await http.get(sheet)).text


def test_mails_name_the_site(tmp_path: Path) -> None:
    """A mail's sender, subject, text and HTML say the site's names, its links are whole, and its button has the colour."""
    given = named(tmp_path)
    assert given.newsletter.sender == '"The Friday Verdict, weekly" <digest@verdicts.example>'
    mail = render("confirmation", SINGLE_MAILS["confirmation"], look_of(given))
    assert mail.subject == "Confirm your subscription to The Friday Verdict, weekly"
    for body in (mail.text, mail.html):
        assert "https://verdicts.example/privacy" in body
        assert "Weekly AI Tool Verdicts" not in body + mail.subject
    assert "Ship &amp; Skip" in mail.html
    assert re.search(r'class="button"[^>]*background-color: #7a1f5c', mail.html)


def test_the_documented_theme_is_one(example: Path) -> None:
    """The example's page, styles and settings work as the documentation says."""
    theme = themed(example)
    sheet = theme.file(theme.url("site.css").removeprefix("/static/"))
    assert sheet is not None
    html = theme.render("home.html", newest=[], contested=[], tallies={}, moved=[], judged=[], leaders=[]).decode()
    assert "<title>Ship or skip, every Friday" in html
    assert "Newest comparisons" in html
    code = next(text for language, text in EXAMPLES if not language)
    lines = dict(line.split("=", 1) for line in code.strip().splitlines())
    logo = example / "logo.svg"
    logo.write_text("<svg/>")
    told = named(example, **{**lines, "BALLOTPRESS_SITE_LOGO": str(logo)})
    assert [link.label for link in told.identity.footer_links] == ["Imprint", "Privacy"]


def test_every_template_of_ours_compiles() -> None:
    """A start doesn't look at them, so this does: pages and mails."""
    pages = _environment({})
    pages.filters.update(FILTERS)
    assert all(pages.get_template(name) for name in pages.list_templates())
    check_templates(PLAIN)


@pytest.mark.parametrize("text", ["{% extends 'base.html' %}\n{% block main %}", "{{ name|nosuchfilter }}", "{% if %}"])
def test_a_template_that_does_not_compile_stops_the_start(tmp_path: Path, text: str) -> None:
    """One sentence names the file and the line, of a page as of a mail."""
    for kind in ("templates", "emails/confirmation"):
        (tmp_path / kind).mkdir(parents=True)
    (tmp_path / "templates" / "home.html").write_text(text)
    with pytest.raises(SettingsError, match=r"BALLOTPRESS_THEME_DIR .*templates/home\.html, line \d"):
        themed(tmp_path)
    (tmp_path / "emails" / "confirmation" / "body.html").write_text(text)
    with pytest.raises(SettingsError, match=r"BALLOTPRESS_THEME_DIR .*emails/confirmation/body\.html, line \d"):
        check_mails(named_look(Identity(theme=tmp_path), "https://verdicts.example"))


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("BALLOTPRESS_SITE_COLOR", "#ffcc00", r"1\.[0-9]:1.*4\.5:1"),
        ("BALLOTPRESS_SITE_COLOR", "#8a8a8a", r"[23]\.[0-9]:1"),
        ("BALLOTPRESS_SITE_COLOR", "plum", "#1d4f7c"),
        ("BALLOTPRESS_SITE_NAME", "two\nlines", "one line"),
        ("BALLOTPRESS_NEWSLETTER_NAME", "n" * 61, "60"),
        ("BALLOTPRESS_FOOTER_LINKS", "Imprint", "Imprint=https://"),
        ("BALLOTPRESS_FOOTER_LINKS", "Imprint=javascript:alert(1)", "Imprint=https://"),
        ("BALLOTPRESS_FOOTER_LINKS", "Imprint=//evil.example", "Imprint=https://"),
        ("BALLOTPRESS_SITE_LOGO", "/no/logo.svg", "file"),
        ("BALLOTPRESS_THEME_DIR", "/no/theme", "folder"),
    ],
)
def test_a_wrong_identity_stops_the_start(tmp_path: Path, variable: str, value: str, says: str) -> None:
    """One sentence names the variable and says what would do; of a colour, also how far it is from being legible."""
    with pytest.raises(SettingsError, match=f"(?s){variable}.*{says}"):
        named(tmp_path, **{variable: value})


@pytest.mark.parametrize("color", ["#000000", "#7a1f5c", "#1d4f7c", "#8a3b00", "#0000ff"])
def test_what_is_legible_on_light_pages_is_made_so_on_dark_ones(tmp_path: Path, color: str) -> None:
    """Text in the colour, and text on it, have 4.5:1 in both schemes."""
    accent: Accent = named(tmp_path, BALLOTPRESS_SITE_COLOR=color).identity.accent
    pairs: Any = [(accent.light, ground) for ground in ("#faf8f4", "#fff5f0", "#f2eee6", "#ffffff")]
    pairs += [(accent.dark, ground) for ground in ("#131416", "#1b1d20", "#23262a", "#10130f")]
    assert min(contrast(one, other) for one, other in pairs) >= 4.5


def test_the_styles_and_the_settings_agree_on_the_colour() -> None:
    """The style sheet's own accent is the one that settings leave alone."""
    sheet = (ROOT / "services" / "web" / "static" / "site.css").read_text()
    assert re.findall(r"--accent: (#\w+);", sheet) == [Accent().light, Accent().dark]
