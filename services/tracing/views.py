"""The spans of what follows the log: the windows of views, and the cards of an API that were brought up to them.

Work is done whether or not the word of what is traced in it has come yet. So what was done lately is remembered, and a word
that comes later finds it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import time_ns
from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext

from services.tracing.commands import EVENTS
from services.tracing.passing import Passing, read, word
from services.tracing.requests import POSITION, under_way
from services.tracing.spans import Spans, Value

LATELY: Final = 200
"""Pieces of work that are remembered: a second or two of a busy site."""


class Work(NamedTuple):
    """The positions `(start, end]` that were taken in, by what, and from when to when in nanoseconds since 1970."""

    of: str
    start: int
    end: int
    began: int
    ended: int


class _Following:
    """Meets what was done with the words of what is traced in it, whichever comes first."""

    def __init__(self, passing: Passing) -> None:
        self._passing = passing
        self._done: deque[Work] = deque(maxlen=LATELY)

    def do(self, work: Work) -> Sequence[SpanContext]:
        """Take in a piece of work, and return the spans known in it."""
        self._done.append(work)
        return self._passing.between(work.start, work.end)

    def hear(self, words: str) -> Iterator[tuple[Work, SpanContext]]:
        """Take in words, and return each piece of work that was done before, with the span in it."""
        for position, context in read(words):
            self._passing.note(position, context)
            yield from ((work, context) for work in self._done if work.start < position <= work.end)


class Windows:
    """Traces the windows that hold events of traced batches; `tell` passes a word on to whoever waits for the cards."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._following = _Following(Passing())
        self.tell: Callable[[str], None] = lambda word: None

    def hear(self, words: str) -> None:
        """Take in which batches are traced."""
        for work, batch in self._following.hear(words):
            self._send(work, [batch])

    def folded(self, view: str, start: int, end: int, began: int) -> None:
        """Note a window `(start, end]` of a view, begun at a time in nanoseconds since 1970."""
        work = Work(view, start, end, began, time_ns())
        if batches := self._following.do(work):
            self._send(work, batches)

    def _send(self, work: Work, batches: Sequence[SpanContext]) -> None:
        """Send the span of a window under the first batch in it, linked to all."""
        said: dict[str, Value] = {"ballotpress.view": work.of, "ballotpress.from": work.start}
        said |= {POSITION: work.end, EVENTS: work.end - work.start}
        span = self._spans.start("view.window", batches[0], at=work.began, links=batches, attributes=said)
        span.end(work.ended)
        if work.of == "cards":
            self.tell(word(work.end, span.get_span_context()))


class Refreshes:
    """Traces how the cards in memory follow, and which request was then served one of them."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._following = _Following(Passing())
        self._served = Passing()

    def hear(self, words: str) -> None:
        """Take in which windows are traced."""
        for work, window in self._following.hear(words):
            self._send(work, [window])

    def refreshed(self, start: int, end: int, began: int) -> None:
        """Note a refresh of the cards from one position to another, begun at a time in nanoseconds since 1970."""
        if start == end:
            return
        work = Work("cards", start, end, began, time_ns())
        if windows := self._following.do(work):
            self._send(work, windows)

    def _send(self, work: Work, windows: Sequence[SpanContext]) -> None:
        """Send the span of a refresh under the first window in it, linked to all."""
        span = self._spans.start("cards.refresh", windows[0], at=work.began, links=windows, attributes={POSITION: work.end})
        span.end(work.ended)
        self._served.note(work.end, span.get_span_context())

    def served(self, position: int) -> None:
        """Note on a traced request that it is served a card as of a position, and which traced refresh that came of."""
        span = under_way.get()
        if span is None:
            return
        span.set_attribute(POSITION, position)
        for context in self._served.between(position - 1, position):
            span.add_link(context)
