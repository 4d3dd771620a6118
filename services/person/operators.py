"""What is kept of those who work for the site: the names under which they act."""

from typing import Final

from services.person.kept import Kept

KEPT: Final = (
    Kept(
        name="Acts of operators",
        what="The name that the operator's token gives, beside all that was done with it.",
        about="operators",
        when="operate",
        ground="interest",
        until="as long as the site exists",
        found="the name",
        fate="stays",
        remains="The name. Give operators names that say no more than they must.",
        copies="log",
        events=("DataRequested", "VoidProposed", "VoidWithdrawn", "CohortDecided", "CohortCorrected"),
        tables={
            "log.events": "meta",
            "newsletter.issues": "operator",
            "newsletter.mail_check": "waived_by waived_for",
            "webhooks.subscriptions": "made_by",
            "integrity.puzzles": "switched_by",
            "{integrity}.decisions": "by",
        },
    ),
    Kept(
        name="Names of operators",
        what="Which account at the sign-in provider has which name here, since when.",
        about="operators",
        when="operate",
        ground="interest",
        until="as long as the site exists, so that no other account ever gets the name",
        found="the name",
        fate="stays",
        remains="The account's number at the provider, and the name.",
        copies="beside",
        tables={"operators.people": "issuer subject name first_at"},
    ),
    Kept(
        name="Sessions of operators",
        what="When you signed in to the operators' pages, how, when you were last seen, and which groups the provider named;"
        " until the session ends, also which kind of browser, and the block of addresses it came from.",
        about="operators",
        when="operate",
        ground="interest",
        until="90 days after the session's end",
        found="the name",
        fate="expires",
        copies="beside",
        tables={
            "operators.sessions": "id secret operator how rests_on issuer subject groups browser network began_at seen_at"
            " ends_at ended_at is_ended",
            "operators.used_states": "state used_at",
        },
    ),
    Kept(
        name="Sign-ins of operators, and what they switched",
        what="That you signed in or out, how often within an hour, or ended a session; what you did to the newsletter and its"
        " mails, the mail check, puzzles, webhooks, witnesses, views, parts of the log, and keys; and for what reason.",
        about="operators",
        when="operate",
        ground="interest",
        until="90 days",
        found="the name",
        fate="expires",
        copies="beside",
        tables={"operators.acts": "id position at operator kind subject about reason times last_at"},
    ),
)
