"""What readers' forms do: vote, bookmark, review. The rules are those of the API's routes; the answer leads back."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from events.catalog import Verdict
from events.commands.bookmarks import SetBookmark
from events.reviews import ReviewExists
from services.web.http.answers import Answer
from services.web.http.pages import action, back
from services.web.reviews import EditedReview, NewReview, edit_review, submit_review, withdraw_review
from services.web.site import Call
from services.web.votes import vote_on

Back = Annotated[str, Meta(max_length=400)]


class VoteForm(Struct, frozen=True, kw_only=True):
    """A vote, or `none` to take it back, and the page to return to."""

    choice: Literal["ship", "skip", "none"]
    back: Back | None = None


class BookmarkForm(Struct, frozen=True, kw_only=True):
    """Whether to keep a tool, and the page to return to."""

    keep: Literal["yes", "no"]
    back: Back | None = None


class ReviewForm(Struct, frozen=True, kw_only=True):
    """A review as its form sends it."""

    verdict: Verdict
    body: str
    score: Annotated[int, Meta(ge=0, le=100)] | None = None
    display_name: Annotated[str, Meta(max_length=60)] | None = None


class OwnReviewForm(ReviewForm, frozen=True, kw_only=True):
    """One's own review, edited; and of which tool it is, to return to its page."""

    tool: Annotated[str, Meta(max_length=120)]


class WithdrawForm(Struct, frozen=True, kw_only=True):
    """Of which tool the review is, to return to its page."""

    tool: Annotated[str, Meta(max_length=120)]


@action("/tools/{tool}/vote", VoteForm)
async def vote(call: Call, form: VoteForm) -> Answer:
    """Vote, or take the vote back."""
    slug = call.path["tool"]
    choice = None if form.choice == "none" else form.choice
    answer = await vote_on(call, slug, choice)
    said = "retracted" if choice is None else "voted"
    return back(form.back or f"/tools/{slug}", answer.position, said, f"vote-{slug}")


@action("/bookmarks/{tool}", BookmarkForm)
async def bookmark(call: Call, form: BookmarkForm) -> Answer:
    """Keep a tool, or let it go."""
    keep = form.keep == "yes"
    receipt = await call.site.committer.submit(SetBookmark(call.visitor, call.path["tool"], keep))
    return back(form.back or "/bookmarks", receipt.position, "kept" if keep else "removed")


@action("/tools/{tool}/reviews", ReviewForm)
async def review(call: Call, form: ReviewForm) -> Answer:
    """Review a tool; who did already is led to that review."""
    new = NewReview(verdict=form.verdict, body=form.body, score=form.score, display_name=form.display_name)
    page = f"/tools/{call.path['tool']}"
    try:
        answer = await submit_review(call, new)
    except ReviewExists:
        return back(page, None, "reviewed-before", "own-review")
    return back(page, answer.position, "reviewed", "own-review")


@action("/reviews/{id}", OwnReviewForm)
async def edit(call: Call, form: OwnReviewForm) -> Answer:
    """Edit one's own review; a score or name left empty is taken away."""
    edited = EditedReview(verdict=form.verdict, body=form.body, score=form.score, display_name=form.display_name)
    answer = await edit_review(call, edited)
    return back(f"/tools/{answer.tool}", answer.position, "edited" if answer.status == "pending" else "unchanged", "own-review")


@action("/reviews/{id}/withdraw", WithdrawForm)
async def withdraw(call: Call, form: WithdrawForm) -> Answer:
    """Withdraw one's own review."""
    answer = await withdraw_review(call)
    return back(f"/tools/{form.tool}", answer.position, "withdrawn", "reviews")
