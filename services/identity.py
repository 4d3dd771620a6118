"""The site's identity: names, logo, colour, links at the foot, and the folder of its theme, read from words of the settings.

The colour is given for light pages; that of dark ones is mixed from it. Neither may be hard to read.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

LEAST_CONTRAST: Final = 4.5
"""What WCAG 2.2 asks of text (1.4.3, level AA)."""
_LIGHT_GROUND: Final = "#f2eee6"
_DARK_GROUND: Final = "#23262a"
"""The darkest surface of light pages and the lightest of dark ones: on all others a colour stands out more."""
LOGO_KINDS: Final = (".svg", ".png", ".jpg", ".webp")
THEME_PARTS: Final = ("templates", "emails", "static", "site.css")


class Accent(msgspec.Struct, frozen=True):
    """The colour of links, buttons and the mark, on light pages and on dark ones."""

    light: str = "#1d4f7c"
    dark: str = "#93c3ee"


class FooterLink(msgspec.Struct, frozen=True):
    """A link at the foot of every page and mail."""

    label: str
    url: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What tells this site from another one."""

    site_name: str = "Ballotpress"
    newsletter_name: str = "Weekly AI Tool Verdicts"
    logo: Path | None = None
    accent: Accent = Accent()
    footer_links: tuple[FooterLink, ...] = ()
    theme: Path | None = None


def read_accent(word: str) -> Accent:
    """Return the accent of a colour such as #1d4f7c. Raises ValueError that says how far it is from being legible."""
    light = word.lower()
    if (ratio := contrast(light, _LIGHT_GROUND)) < LEAST_CONTRAST:
        raise ValueError(
            f"is hard to read: {word} has a contrast of {ratio:.1f}:1 on the page, and text needs {LEAST_CONTRAST}:1; "
            "use a darker colour"
        )
    dark = light
    share = 0
    while contrast(dark, _DARK_GROUND) < LEAST_CONTRAST + 1:
        share += 5
        dark = _mixed_with_white(light, share)
    return Accent(light, dark)


def read_footer_link(word: str) -> FooterLink:
    """Return the link that `Label=address` stands for. Raises ValueError."""
    label, separator, url = (part.strip() for part in word.partition("="))
    if not (separator and label and label.isprintable() and re.fullmatch(r"(https?://[^\s/]|/(?!/)|mailto:\S)\S*", url)):
        raise ValueError
    return FooterLink(label, url)


def read_logo(word: str) -> Path:
    """Return the file of a logo. Raises ValueError."""
    path = Path(word)
    if not path.is_file() or path.suffix.lower() not in LOGO_KINDS:
        raise ValueError
    return path


def read_theme(word: str) -> Path:
    """Return a theme's folder, which holds one part of a theme at least. Raises ValueError."""
    path = Path(word)
    if not any((path / part).exists() for part in THEME_PARTS):
        raise ValueError
    return path


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours such as #1d4f7c, by WCAG 2.2: from 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    red, green, blue = (_linear(part / 255) for part in bytes.fromhex(color[1:]))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _mixed_with_white(color: str, percent: int) -> str:
    parts = (part + (255 - part) * percent // 100 for part in bytes.fromhex(color[1:]))
    return "#" + bytes(parts).hex()
