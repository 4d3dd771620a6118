"""How the domain's refusals are shown: rules and log know nothing of HTTP, this table does."""

from events.catalog import ToolNotListed
from events.log.committer import LogUnavailable
from events.log.event import UnknownEvent
from events.log.transaction import KeyReused
from events.log.vault import Erased
from events.reviews import ReviewEditedSince, ReviewExists, ReviewNotFound
from events.subscribers import LinkUsed, NotSubscribed
from events.voters import VoterIsDisqualified, VoterUnknown
from services.newsletter.tokens import TokenInvalid
from services.web.http.problems import Kind
from services.web.site import LimitsAway
from services.web.wait import ViewsBehind

REFUSALS: dict[type[Exception], Kind] = {
    ToolNotListed: Kind(404, "tool-not-listed", "Not found", "No listed tool has this slug."),
    VoterIsDisqualified: Kind(403, "disqualified", "Not allowed", "This visitor is disqualified and can't write."),
    VoterUnknown: Kind(404, "voter-unknown", "Not found", "This visitor has no events."),
    ReviewNotFound: Kind(404, "review-not-found", "Not found", "There is no such review, or it isn't yours."),
    ReviewExists: Kind(
        409, "review-exists", "Already reviewed", "You have reviewed this tool: edit the review `id`.", members=("id",)
    ),
    ReviewEditedSince: Kind(
        409, "review-edited", "Edited since", "The author edited the review: read `revision` first.", members=("revision",)
    ),
    Erased: Kind(404, "erased", "Not found", "The text of this was erased."),
    KeyReused: Kind(422, "key-reused", "Idempotency-Key reused", "This Idempotency-Key came with another request before."),
    LogUnavailable: Kind(
        503,
        "log-unavailable",
        "Temporarily unavailable",
        "The log didn't answer in time; try again, with the same Idempotency-Key if you sent one.",
        retry_after=1,
    ),
    UnknownEvent: Kind(
        503, "newer-release", "Temporarily unavailable", "A later release wrote what this concerns.", retry_after=30
    ),
    LinkUsed: Kind(410, "link-used", "Gone", "This link was used, or what it was about is gone."),
    TokenInvalid: Kind(410, "token-invalid", "Gone", "This link is too old, or was changed on its way."),
    NotSubscribed: Kind(410, "not-subscribed", "Gone", "There is no confirmed subscription."),
    LimitsAway: Kind(
        503, "limits-away", "Temporarily unavailable", "Nobody can sign up at the moment; try again.", retry_after=5
    ),
    ViewsBehind: Kind(
        503, "views-behind", "Temporarily unavailable", "The views haven't reached `after` yet; try again.", retry_after=1
    ),
}
