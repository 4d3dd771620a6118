"""What passes a trace on from process to process: a word beside a wake-up, which names a position and a span.

The log itself holds nothing of it. A word that is lost costs a link and nothing else, so it is kept in memory alone.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from opentelemetry.trace import SpanContext, TraceFlags, format_span_id, format_trace_id

MOST: Final = 500
"""Positions that are remembered."""
_WORD: Final = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{32})-([0-9a-f]{16})")


def word(position: int, context: SpanContext) -> str:
    """Return the word for a span that ends at a position."""
    return f"{position}-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"


def read(words: str) -> Iterator[tuple[int, SpanContext]]:
    """Return the positions and spans that words name; what is no word is passed over."""
    for one in words.split():
        if (found := _WORD.fullmatch(one)) is not None:
            yield int(found[1]), SpanContext(int(found[2], 16), int(found[3], 16), True, TraceFlags(TraceFlags.SAMPLED))


class Passing:
    """The spans that ended at positions of the log lately."""

    def __init__(self) -> None:
        self._spans: OrderedDict[int, SpanContext] = OrderedDict()

    def note(self, position: int, context: SpanContext) -> None:
        """Remember that a span ended at a position."""
        self._spans[position] = context
        while len(self._spans) > MOST:
            self._spans.popitem(last=False)

    def between(self, start: int, end: int) -> Sequence[SpanContext]:
        """Return the spans that ended in `(start, end]`, by position."""
        return [self._spans[position] for position in sorted(self._spans) if start < position <= end] if self._spans else ()
