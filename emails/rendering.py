"""Render mails. A mail is a folder of templates: subject.txt, body.txt and body.html, the bodies extending one base.

Templates are read, and their styles put inline, once a process; rendering is Jinja2 alone. A name without
a value is an error. A digest is rendered once for all its readers, with gaps that are filled for each of them.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import css_inline
from jinja2 import BaseLoader, Environment, FileSystemLoader, StrictUndefined, TemplateSyntaxError, select_autoescape

from emails.filters import FILTERS
from emails.look import PLAIN, Look

Mail = Literal["confirmation", "preferences", "export"]
"""Mails to one person; a digest goes to many."""

HTML_BUDGET = 102_000
"""Bytes of HTML; Gmail cuts a mail off a little above this, with the link to unsubscribe in what it hides."""

GAPS = ("own", "unsubscribe_url", "manage_url")
"""The parts of a digest that differ between its readers."""

TEMPLATES = Path(__file__).parent / "templates"
# No reader can know this mark, so no text of theirs can pass for a gap.
_MARK = secrets.token_hex(8)
_GAP = re.compile(f"{_MARK}:([a-z_]+);")


class MailTooLarge(Exception):
    """The HTML part is over its budget."""


class TemplateBroken(Exception):
    """A template doesn't compile; the message names it, its line, and what is wrong."""


class RenderedMail(NamedTuple):
    """A mail's subject and its two bodies."""

    subject: str
    text: str
    html: str


class SharedDigest(NamedTuple):
    """A digest with gaps: each body is text, name of a gap, text, name of a gap, …, text; `checkpoint` is in a header too."""

    subject: str
    text: tuple[str, ...]
    html: tuple[str, ...]
    checkpoint: str | None = None


class OwnPart(NamedTuple):
    """The part of a digest that is about one reader's own bookmarks; both empty if nothing changed on them."""

    text: str
    html: str


NOTHING_OWN = OwnPart("", "")


def render(mail: Mail, values: Mapping[str, Any], look: Look = PLAIN) -> RenderedMail:
    """Render a mail to one person. Raises jinja2.UndefinedError for a missing value, and MailTooLarge."""
    return _within_budget(_render(mail, values, look))


def render_shared(values: Mapping[str, Any], look: Look = PLAIN) -> SharedDigest:
    """Render a digest with gaps for the parts that differ between its readers."""
    gaps = {name: f"{_MARK}:{name};" for name in GAPS}
    subject, text, html = _within_budget(_render("digest", {**values, **gaps}, look))
    return SharedDigest(subject, tuple(_GAP.split(text)), tuple(_GAP.split(html)), values["checkpoint"])


def render_subject(values: Mapping[str, Any], look: Look = PLAIN) -> str:
    """Return a digest's subject, which is also its title in the archive."""
    return _subject("digest", values, look)


def check_templates(look: Look) -> None:
    """Compile every template of a look. Raises TemplateBroken."""
    environment = _environment(look)
    for name in environment.list_templates(extensions=["txt", "html"]):
        try:
            environment.get_template(name)
        except TemplateSyntaxError as error:
            raise TemplateBroken(f"{error.name or name}, line {error.lineno}: {error.message}") from None


def render_own(bookmarked: Sequence[Mapping[str, str]], bookmarks_url: str, look: Look = PLAIN) -> OwnPart:
    """Render the changes on the tools that a reader bookmarked: a name, url and line each, and where all bookmarks are."""
    if not bookmarked:
        return NOTHING_OWN
    values = {"bookmarked": bookmarked, "bookmarks_url": bookmarks_url}
    return OwnPart(_render_file("digest/own.txt", values, look), _render_file("digest/own.html", values, look))


def _render(mail: str, values: Mapping[str, Any], look: Look) -> RenderedMail:
    subject = _subject(mail, values, look)
    values = {**values, "headline": subject}
    bodies = [_render_file(f"{mail}/body.{kind}", values, look) for kind in ("txt", "html")]
    return RenderedMail(subject, *bodies)


def _subject(mail: str, values: Mapping[str, Any], look: Look) -> str:
    return " ".join(_render_file(f"{mail}/subject.txt", values, look).split())


def _render_file(name: str, values: Mapping[str, Any], look: Look) -> str:
    return _environment(look).get_template(name).render(values)


def _within_budget(rendered: RenderedMail) -> RenderedMail:
    size = len(rendered.html.encode())
    if size > HTML_BUDGET:
        raise MailTooLarge(f"the HTML part has {size} bytes; {HTML_BUDGET} are the most")
    return rendered


@cache
def _environment(look: Look) -> Environment:
    environment = Environment(
        loader=_Inlined(look),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    environment.globals["look"] = look
    return environment


class _Inlined(BaseLoader):
    """Reads templates and puts the style sheet into the `style` attributes of the HTML ones.

    Statements travel through the HTML parser as comments, which it keeps anywhere, also between rows. So a template has no
    statement inside a tag, no double quote in an expression inside a tag, and a <tbody> written out around rows in a loop.
    """

    def __init__(self, look: Look) -> None:
        folders = [*filter(None, [look.folder]), TEMPLATES]
        self._files = FileSystemLoader(folders)
        sheets = [TEMPLATES / "base.css", *(folder / "mail.css" for folder in folders)]
        self._colors = {"ACCENT-DARK": look.accent_dark, "ACCENT": look.accent}
        self._css = self._colored("\n".join(sheet.read_text("utf-8") for sheet in sheets if sheet.is_file()))
        self._document = css_inline.CSSInliner(
            inline_style_tags=False,
            keep_style_tags=True,  # the rules for dark mode and narrow screens can only stand in <head>
            extra_css=self._css,
            load_remote_stylesheets=False,
        )

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, path, fresh = self._files.get_source(environment, template)
        if template.endswith(".html"):
            source = self._inline(_without_indents(re.sub(r"\{#.*?#\}", "", self._colored(source), flags=re.DOTALL)))
        return source, path, fresh

    def list_templates(self) -> list[str]:
        return self._files.list_templates()

    def _colored(self, source: str) -> str:
        for name, color in self._colors.items():
            source = source.replace(name, color)
        return source

    def _inline(self, source: str) -> str:
        hidden = re.sub(r"(\{%.*?%\})", r"<!--\1-->", source)
        if "<html" in hidden:
            inlined = self._document.inline(hidden)
        else:
            inlined = css_inline.inline_fragment(hidden, self._css, load_remote_stylesheets=False)
        return re.sub(r"<!--(\{%.*?%\})-->", r"\1", inlined)


def _without_indents(source: str) -> str:
    return re.sub(r"\n\s*", "\n", source)
