"""How mails look: names, colours, links at the foot, and a folder whose templates come before ours."""

from pathlib import Path
from typing import NamedTuple


class Link(NamedTuple):
    """A link at the foot of a mail."""

    label: str
    url: str


class Look(NamedTuple):
    """What the mails of a site have in common. `folder` may hold templates of the same names as ours, and `mail.css`."""

    site_name: str = "Ballotpress"
    newsletter_name: str = "Weekly AI Tool Verdicts"
    site_url: str = "http://127.0.0.1:8000"
    accent: str = "#1d4f7c"
    accent_dark: str = "#93c3ee"
    links: tuple[Link, ...] = ()
    folder: Path | None = None


PLAIN = Look()
"""The look of a site that names none."""
