"""The look of this site's mails, from its settings."""

from emails.look import Link, Look
from emails.rendering import TemplateBroken, check_templates
from services.identity import Identity
from services.setting_table import SettingsError
from services.settings import Settings


def look_of(settings: Settings) -> Look:
    """Return the look of a site's mails."""
    return named_look(settings.identity, settings.base_url)


def named_look(identity: Identity, base_url: str) -> Look:
    """Return the look of an identity; its links lead to the site at `base_url`."""
    return Look(
        site_name=identity.site_name,
        newsletter_name=identity.newsletter_name,
        site_url=base_url,
        accent=identity.accent.light,
        accent_dark=identity.accent.dark,
        links=tuple(
            Link(link.label, base_url + link.url if link.url.startswith("/") else link.url) for link in identity.footer_links
        ),
        folder=None if identity.theme is None else identity.theme / "emails",
    )


def check_mails(look: Look) -> None:
    """Check that the mails compile with a site's own templates, so that a broken one stops the start. Raises SettingsError."""
    if look.folder is None:
        return
    try:
        check_templates(look)
    except TemplateBroken as error:
        raise SettingsError(f"BALLOTPRESS_THEME_DIR holds a mail that doesn't compile: emails/{error}") from None
