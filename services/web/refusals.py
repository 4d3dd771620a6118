"""Refusals: the table of exceptions that rules, log and subjects raise, and the page that shows one to people.

Rules and log know nothing of HTTP, this table does. Programs get a problem (RFC 9457) of the same refusal, whose `type` leads
to a page that explains it.
"""

from collections.abc import Mapping
from inspect import cleandoc
from typing import Final

from litestar.types import HTTPScope

from emails.sns import CertificateAway
from events.catalog import ToolNotListed
from events.commands.webhooks import TooManyWebhooks, WebhookUnknown
from events.erasure import VisitorIsErased
from events.integrity import CohortChanged, CohortHeld, CohortUnknown
from events.log.archive.places import PlaceUnusable
from events.log.archive.state import ArchiveRefused, FileBroken
from events.log.committer import LogUnavailable
from events.log.event import UnknownEvent
from events.log.postgres import EventsArchived
from events.log.transaction import KeyReused
from events.log.vault import Erased
from events.quarantine import NothingPassed
from events.reviews import ReviewEditedSince, ReviewExists, ReviewNotFound
from events.subscribers import LinkUsed, NotSubscribed
from events.voters import VoterIsDisqualified, VoterUnknown
from services.newsletter.tokens import TokenInvalid
from services.proof.packs import PackBroken, PackUnwritable
from services.web.card_cache import ToolMoved
from services.web.comparisons import PairNotFound
from services.web.drawings import TooManyDrawings
from services.web.following import TooManyFollowers
from services.web.health import NotReady
from services.web.http.answers import Answer
from services.web.http.moved import moved
from services.web.http.pages import HTML, POLICY, page, public_page, show
from services.web.http.problems import KINDS, UNEXPECTED, Kind, NotFound, headers_of, kind_of, problem_answer
from services.web.http.queries import Query
from services.web.http.theme import Theme
from services.web.live import TooManyViewers
from services.web.mail_reports import NotSigned
from services.web.operators import operators_frame
from services.web.plain_words import TITLES, detail_for, faults_for
from services.web.public_tree import NotSignedYet, TileAway, TooManyWaitForProof
from services.web.puzzles import PuzzleUnsolved
from services.web.site import Call
from services.web.wait import TooManyWait, ViewsBehind

ARCHIVE_AWAY: Final = "This is in the archive, which can't be read at the moment; try again."

REFUSALS: Final[dict[type[Exception], Kind]] = {
    ToolNotListed: Kind(404, "tool-not-listed", "Not found", "No listed tool has this slug."),
    VoterIsDisqualified: Kind(403, "disqualified", "Not allowed", "This visitor is disqualified and can't write."),
    VisitorIsErased: Kind(
        403,
        "visitor-erased",
        "Not allowed",
        "This visitor was erased and can write nothing any more: POST /v1/visitors makes a new one.",
    ),
    VoterUnknown: Kind(404, "voter-unknown", "Not found", "This visitor has no events."),
    ReviewNotFound: Kind(404, "review-not-found", "Not found", "There is no such review, or it isn't yours."),
    ReviewExists: Kind(
        409, "review-exists", "Already reviewed", "You have reviewed this tool: edit the review `id`.", members=("id",)
    ),
    ReviewEditedSince: Kind(
        409, "review-edited", "Edited since", "The author edited the review: read `revision` first.", members=("revision",)
    ),
    PuzzleUnsolved: Kind(428, "puzzle-unsolved", "Work required", members=("puzzle",)),
    CohortUnknown: Kind(404, "cohort-unknown", "Not found", "There is no such cohort."),
    CohortChanged: Kind(
        409,
        "cohort-changed",
        "Changed since",
        "The cohort has changed, or somebody has decided meanwhile: read `revision` first.",
        members=("revision",),
    ),
    CohortHeld: Kind(409, "cohort-held", "Decided already"),
    WebhookUnknown: Kind(404, "webhook-unknown", "Not found", "There is no webhook with this id."),
    TooManyWebhooks: Kind(
        409, "too-many-webhooks", "As many as there can be", "A site has as many webhooks as it can: remove one first."
    ),
    NothingPassed: Kind(
        409, "nothing-passed", "No event is skipped", "The tree over the log skips no event: run a release that knows this one."
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
    ViewsBehind: Kind(
        503, "views-behind", "Temporarily unavailable", "The views haven't reached `after` yet; try again.", retry_after=1
    ),
    NotSignedYet: Kind(503, "not-signed-yet", "Temporarily unavailable", retry_after=1),
    TooManyWaitForProof: Kind(503, "too-many-wait-for-proof", "Temporarily unavailable", retry_after=1),
    TileAway: Kind(503, "tile-away", "Temporarily unavailable", retry_after=5),
    EventsArchived: Kind(
        503, "archived", "In the archive", retry_after=3600, advice="What is asked as of a whole hour needs none of them."
    ),
    PlaceUnusable: Kind(503, "archive-away", "Temporarily unavailable", ARCHIVE_AWAY, retry_after=60),
    FileBroken: Kind(503, "archive-broken", "Temporarily unavailable", ARCHIVE_AWAY, retry_after=60),
    ArchiveRefused: Kind(503, "archive-unreadable", "Temporarily unavailable", ARCHIVE_AWAY, retry_after=60),
    PackBroken: Kind(
        503, "pack-broken", "Temporarily unavailable", "The log's entries aren't those that were signed.", retry_after=60
    ),
    PackUnwritable: Kind(503, "pack-unwritable", "Temporarily unavailable", "Packs can't be made here now.", retry_after=60),
    NotReady: Kind(503, "not-ready", "Not ready", retry_after=1),
    CertificateAway: Kind(
        503,
        "certificate-away",
        "Temporarily unavailable",
        "The certificate that this message is signed under can't be fetched at the moment; send it again.",
        retry_after=20,
    ),
    NotSigned: Kind(401, "not-signed", "Signature required"),
    TooManyWait: Kind(503, "too-many-wait", "Temporarily unavailable", retry_after=1),
    TooManyDrawings: Kind(503, "too-many-drawings", "Temporarily unavailable", retry_after=1),
    TooManyViewers: Kind(503, "too-many-viewers", "Temporarily unavailable", retry_after=30),
    TooManyFollowers: Kind(503, "too-many-followers", "Temporarily unavailable", retry_after=30),
}
_FOR_PROGRAMS: Final = ("/v1/", "/schema", "/metrics", "/health/")
_ADVICE: Final = {
    404: "It may have been renamed or taken off the site.",
    503: "Nothing is lost. Try again in a moment.",
}
_TOOLS: Final = ("/tools", "All tools")
_COMPARISONS: Final = ("/comparisons", "All comparisons")


def refusal(theme: Theme, error: Exception, request_id: str, scope: HTTPScope, head: Mapping[bytes, bytes]) -> Answer:
    """Answer an exception: with a page if a browser asked, an operators' page below /ops, else with a problem.

    A tool that has another slug now is answered with its new address.
    """
    if isinstance(error, ToolMoved):
        return moved(scope, error.former, error.slug)
    if scope["path"].startswith(_FOR_PROGRAMS) or b"text/html" not in head.get(b"accept", b""):
        return problem_answer(error, request_id)
    kind, is_form = kind_of(error), scope["method"] == "POST"
    frame = operators_frame(scope) if f"{scope['path']}/".startswith("/ops/") else {"is_ops": False}
    html = theme.render(
        "refusal.html",
        title=TITLES.get(kind.name, kind.title),
        status=kind.status,
        detail=detail_for(error, kind, is_form=is_form),
        faults=faults_for(error, is_form=is_form),
        advice=None if kind.advice else _ADVICE.get(kind.status),
        way_on=_way_on(scope["path"], error),
        request_id=request_id if kind.status >= 500 else None,
        **frame,
    )
    headers = ((b"cache-control", b"private, no-store"), POLICY, *headers_of(error, kind))
    return Answer(html, kind.status, HTML, headers)


def _way_on(path: str, error: Exception) -> tuple[str, str]:
    """Return the address and the words of the link that leads on: where one of two tools is listed, to a comparison with it."""
    if isinstance(error, PairNotFound) and error.listed is not None:
        return f"/compare?left={error.listed.slug}", "Choose another tool"
    return _TOOLS if path.startswith("/tools/") else _COMPARISONS


@page("/problems/{problem}", Query)
async def problem_page(call: Call, query: Query) -> Answer:
    """Explain a type of problem (RFC 9457, 3.1.1): by its kind's text, else by its exception's docstring."""
    for error, kind in ((Exception, UNEXPECTED), *KINDS.items()):
        if kind.name == call.path["problem"]:
            text = kind.detail or cleandoc(error.__doc__ or kind.title)
            return show(
                call,
                "message.html",
                cache=public_page(call),
                eyebrow="Problem",
                heading=f"{kind.title} ({kind.status})",
                text=text,
                links=(),
            )
    raise NotFound("There is no problem of this name.")
