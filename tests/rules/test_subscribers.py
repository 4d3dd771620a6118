"""What the rules of the newsletter's subscribers promise."""

from events.erasure import PersonErased
from events.log.event import Event
from events.subscribers import (
    BookmarksJoined,
    CategoriesUnknown,
    LinkUsed,
    NothingToUndo,
    NotSubscribed,
    PreferencesSet,
    SubscriberImported,
    SubscriberReinstated,
    SubscriberSuppressed,
    SubscriptionConfirmed,
    SubscriptionRequested,
    TimeZoneSet,
    Unsubscribed,
    UnsubscribeUndone,
    confirm_subscription,
    erase,
    evolve,
    import_subscriber,
    join_bookmarks,
    reinstate,
    request_subscription,
    set_preferences,
    set_time_zone,
    suppress,
    undo_unsubscribe,
    unsubscribe,
)
from tests.support.given import Given, an_id, given

ADA, VISITOR = an_id(1), an_id(2)
REQUESTED = SubscriptionRequested(subscriber=ADA, round=1, form="form 1", categories=["Chat"], address="sealed")
AGAIN = SubscriptionRequested(subscriber=ADA, round=1, form="form 1", categories=[], visitor=VISITOR)
CONFIRMED = SubscriptionConfirmed(subscriber=ADA, round=1, form="form 1", token="aa")
LEFT = Unsubscribed(subscriber=ADA)
BOUNCED = SubscriberSuppressed(subscriber=ADA, reason="hard bounce")
UNKNOWN = "no tool of the catalog has this category; those it has: Code"
ERASED = PersonErased(person=ADA)


def subscriber(*events: Event) -> Given:
    return given(evolve, None, *events)


def test_a_new_address_is_said_once() -> None:
    """The first request names the sealed address; a second one, while unconfirmed, is another request of the same round."""
    asked = ("id of nobody", "sealed anew", [], "form 1", VISITOR, ["Chat"])
    subscriber().when(request_subscription, ADA, "sealed", ["Chat", "URGENT"], "form 1", None, ["Chat"]).then(REQUESTED)
    subscriber(REQUESTED).when(request_subscription, *asked).then(AGAIN)


def test_a_confirmed_or_erased_address_asks_for_nothing() -> None:
    """Signing up a confirmed or erased address is no event; a confirmed one stays so even while it is suppressed."""
    for events in ((REQUESTED, CONFIRMED), (REQUESTED, CONFIRMED, BOUNCED), (REQUESTED, ERASED)):
        subscriber(*events).when(request_subscription, ADA, "sealed", [], "form 1", None, []).then()


def test_any_link_of_a_round_confirms_once() -> None:
    """The first link that is used confirms; after it each link of its round is used, and so is one of an earlier round."""
    subscriber(REQUESTED, AGAIN).when(confirm_subscription, 1, "form 1", "aa").then(CONFIRMED)
    subscriber(REQUESTED, AGAIN, CONFIRMED).when(confirm_subscription, 1, "form 1", "bb").refused(LinkUsed)
    subscriber().when(confirm_subscription, 1, "form 1", "aa").refused(LinkUsed)
    second = SubscriptionRequested(subscriber=ADA, round=2, form="form 1", categories=[])
    back = subscriber(REQUESTED, CONFIRMED, LEFT, second)
    back.when(confirm_subscription, 1, "form 1", "bb").refused(LinkUsed)
    back.when(confirm_subscription, 2, "form 1", "cc").then(
        SubscriptionConfirmed(subscriber=ADA, round=2, form="form 1", token="cc")
    )


def test_a_new_confirmation_lifts_a_suppression() -> None:
    """It proves that the mailbox works and is consent again, whether the reader was confirmed before or not."""
    second = SubscriptionConfirmed(subscriber=ADA, round=2, form="form 1", token="bb")
    subscriber(REQUESTED, CONFIRMED, BOUNCED).when(confirm_subscription, 2, "form 1", "bb").then(second)
    subscriber(REQUESTED, BOUNCED).when(confirm_subscription, 1, "form 1", "aa").then(CONFIRMED)
    subscriber(REQUESTED, CONFIRMED, BOUNCED, second).when(suppress, "hard bounce").then(BOUNCED)
    subscriber(REQUESTED, CONFIRMED, BOUNCED, second).when(confirm_subscription, 3, "form 1", "cc").refused(LinkUsed)


def test_an_operator_takes_a_suppression_back_once() -> None:
    """With a reason; where there is none, or the reader is erased, nothing happens."""
    back = SubscriberReinstated(subscriber=ADA, reason="our fault")
    subscriber(REQUESTED, CONFIRMED, BOUNCED).when(reinstate, "our fault").then(back)
    for events in ((), (REQUESTED, CONFIRMED), (REQUESTED, BOUNCED, ERASED), (REQUESTED, BOUNCED, back)):
        subscriber(*events).when(reinstate, "our fault").then()


def test_withdrawn_and_erased_requests_cannot_be_confirmed() -> None:
    """A link is used up when what it was about is gone."""
    for last in (LEFT, ERASED):
        subscriber(REQUESTED, last).when(confirm_subscription, 1, "form 1", "aa").refused(LinkUsed)


def test_consent_given_elsewhere_counts_for_unknown_addresses_only() -> None:
    """An import confirms a new address at once and leaves a known one as it is."""
    imported = SubscriberImported(subscriber=ADA, round=1, categories=["Chat"], address="sealed", proof="sealed proof")
    subscriber().when(import_subscriber, ADA, "sealed", ["Chat"], "sealed proof", ["Chat"]).then(imported)
    subscriber(REQUESTED).when(import_subscriber, ADA, "sealed", [], "sealed proof", []).then()
    subscriber(imported).when(unsubscribe).then(LEFT)


def test_preferences_are_for_subscribers() -> None:
    """Only a confirmed subscriber sets them; the same again, in any order, is no event."""
    chosen = PreferencesSet(subscriber=ADA, categories=["Chat", "Code"], frequency="monthly", paused_until="2027-01-01")
    asked = (["Code", "Chat", "Chat"], "monthly", "2027-01-01", ["Chat", "Code"])
    subscriber(REQUESTED, CONFIRMED).when(set_preferences, *asked).then(chosen)
    subscriber(REQUESTED, CONFIRMED, chosen).when(set_preferences, *asked).then()
    for events in ((), (REQUESTED,), (REQUESTED, CONFIRMED, LEFT)):
        subscriber(*events).when(set_preferences, *asked).refused(NotSubscribed)


def test_nobody_chooses_what_the_catalog_does_not_have() -> None:
    """An unknown category is refused by name, in preferences and in an import; one chosen earlier may be kept."""
    chosen = PreferencesSet(subscriber=ADA, categories=["Chat"], frequency="weekly")
    reader = subscriber(REQUESTED, CONFIRMED, chosen)
    reader.when(set_preferences, ["Chat", "URGENT"], "weekly", None, ["Code"]).refused(CategoriesUnknown, UNKNOWN)
    reader.when(set_preferences, ["Chat", "Code"], "weekly", None, ["Code"]).then(
        PreferencesSet(subscriber=ADA, categories=["Chat", "Code"], frequency="weekly")
    )
    subscriber().when(import_subscriber, ADA, "sealed", ["URGENT"], "proof", ["Code"]).refused(CategoriesUnknown, UNKNOWN)


def test_bookmarks_join_once() -> None:
    """A visitor joined at sign-up or later is joined once; only a subscriber can be joined."""
    joined = BookmarksJoined(subscriber=ADA, visitor=VISITOR)
    subscriber(REQUESTED, CONFIRMED).when(join_bookmarks, VISITOR).then(joined)
    subscriber(REQUESTED, AGAIN, CONFIRMED).when(join_bookmarks, VISITOR).then()
    subscriber(REQUESTED).when(join_bookmarks, VISITOR).refused(NotSubscribed)


def test_leaving_being_suppressed_and_erasure_happen_once() -> None:
    """Each of them twice is no event, and of somebody unknown neither."""
    for rule, args, event in ((unsubscribe, (), LEFT), (suppress, ("hard bounce",), BOUNCED), (erase, (), ERASED)):
        subscriber(REQUESTED, CONFIRMED).when(rule, *args).then(event)
        subscriber(REQUESTED, CONFIRMED, event).when(rule, *args).then()
        subscriber().when(rule, *args).then()


def test_only_the_never_confirmed_are_forgotten() -> None:
    """Forgetting what was never confirmed spares whoever once confirmed, left, or is suppressed."""
    subscriber(REQUESTED).when(erase, unconfirmed_only=True).then(ERASED)
    for events in ((CONFIRMED,), (CONFIRMED, LEFT, AGAIN), (BOUNCED,), (LEFT,)):
        subscriber(REQUESTED, *events).when(erase, unconfirmed_only=True).then()


def test_a_withdrawal_can_be_undone_once() -> None:
    """Who was confirmed is so again, with all that was chosen; a second time is no event."""
    undone = UnsubscribeUndone(subscriber=ADA, form="undo 1", token="aa")
    subscriber(REQUESTED, CONFIRMED, LEFT).when(undo_unsubscribe, "undo 1", "aa").then(undone)
    subscriber(REQUESTED, CONFIRMED, LEFT, undone).when(undo_unsubscribe, "undo 1", "aa").then()
    subscriber(REQUESTED, CONFIRMED, LEFT, undone).when(unsubscribe).then(LEFT)


def test_nothing_brings_back_who_never_confirmed_complained_or_was_erased() -> None:
    """Neither does a new sign-up that nobody has confirmed, nor its end."""
    again = SubscriptionRequested(subscriber=ADA, round=2, form="form 1", categories=[])
    complained = SubscriberSuppressed(subscriber=ADA, reason="complaint")
    for events in (
        (),
        (REQUESTED, LEFT),
        (REQUESTED, CONFIRMED, LEFT, again),
        (REQUESTED, CONFIRMED, LEFT, again, LEFT),
        (REQUESTED, CONFIRMED, LEFT, complained),
        (REQUESTED, CONFIRMED, LEFT, ERASED),
    ):
        subscriber(*events).when(undo_unsubscribe, "undo 1", "aa").refused(NothingToUndo)


def test_a_time_zone_comes_with_a_new_address_and_can_be_changed_or_taken_back() -> None:
    """It is sealed under the person's key, so one that comes with a later sign-up, under another, is left out."""
    placed = SubscriptionRequested(subscriber=ADA, round=1, form="form 1", categories=[], address="sealed", zone="sealed zone")
    subscriber().when(request_subscription, ADA, "sealed", [], "form 1", None, [], "sealed zone").then(placed)
    subscriber(REQUESTED).when(request_subscription, ADA, "sealed", [], "form 1", VISITOR, [], "zone").then(AGAIN)
    chosen, none = TimeZoneSet(subscriber=ADA, zone="another"), TimeZoneSet(subscriber=ADA)
    subscriber(placed, CONFIRMED).when(set_time_zone, "another").then(chosen)
    subscriber(placed, CONFIRMED).when(set_time_zone, None).then(none)
    subscriber(placed, CONFIRMED, none).when(set_time_zone, None).then()
    subscriber(placed).when(set_time_zone, "another").refused(NotSubscribed)
