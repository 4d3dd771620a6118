"""Reports: anybody may say once of a public review what is wrong with it.

A report's words are sealed under a key of its own, for moderators alone, and go with the person who wrote them.
"""

from typing import Literal

import msgspec

from events.commands.reports import ReportReview
from events.reviews import Ground
from services.clock import fresh_id
from services.web.http.answers import Answer
from services.web.http.bodies import WORDS_MOST, Id, Input, Words, check_words
from services.web.http.call import AUTHOR
from services.web.http.endpoints import endpoint
from services.web.http.pages import SECRET, action, back, page, show
from services.web.http.queries import Query
from services.web.reviews import read_public_review
from services.web.site import Call


class NewReport(Input, frozen=True, kw_only=True):
    """What is wrong with a review, and more about it, for moderators."""

    ground: Ground
    words: Words | None = None


class ReportForm(msgspec.Struct, frozen=True, kw_only=True):
    """A report as its form sends it."""

    ground: Ground
    words: Words | None = None


class ReportAnswer(msgspec.Struct, frozen=True):
    """A visitor's report of a review; `position` is that of its event."""

    review: Id
    status: Literal["reported"]
    position: int | None


async def post_report(call: Call, new: NewReport) -> ReportAnswer:
    """Report a public review to the moderators. One report per visitor and review: a second one changes nothing."""
    check_words("/words", new.words)
    site, review = call.site, call.path["review"]
    call.add_limits(await site.limit_review(call.network))
    report = fresh_id()
    key, keep = site.vault.new_key(report)
    command = ReportReview(
        visitor=call.visitor,
        slug=call.path["tool"],
        review=review,
        report=report,
        ground=new.ground,
        words=None if new.words is None else key.seal("words", new.words),
        keep=keep,
        key=call.key,
    )
    receipt = await site.committer.submit(command)
    return ReportAnswer(review, "reported", receipt.position)


# Not decorated: the form below calls the same function.
_post = endpoint(
    "POST", "/v1/tools/{tool}/reviews/{review}/reports", by=AUTHOR, takes=NewReport, gives=ReportAnswer, statuses=(202,)
)(post_report)


@page("/tools/{tool}/reviews/{review}/report", Query)
async def report_page(call: Call, query: Query) -> Answer:
    """Ask what is wrong with a review."""
    tool = await call.site.cards.listed(call.path["tool"])
    review = await read_public_review(call, tool.tool, call.path["review"])
    return show(call, "report.html", cache=SECRET, card=tool.card, review=review, most=WORDS_MOST)


@action("/tools/{tool}/reviews/{review}/reports", ReportForm)
async def report_form(call: Call, form: ReportForm) -> Answer:
    """Report a review."""
    answer = await post_report(call, NewReport(ground=form.ground, words=form.words))
    return back(f"/tools/{call.path['tool']}", answer.position, "reported")
