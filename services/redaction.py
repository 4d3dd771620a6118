"""Keep what is personal out of logs: addresses everywhere, and of what errors say, whatever may be a value.

An error of PostgreSQL or of its driver tells the row or the argument that it is about. Kinds of errors, names of constraints'
tables and the lines of code stay: they say what is wrong.
"""

import re
from collections.abc import Iterator, Mapping
from linecache import getline
from typing import Any, Final, TextIO

from structlog.tracebacks import Stack, extract
from structlog.typing import EventDict, ExcInfo, WrappedLogger

LEFT_OUT: Final = "…"
LONGEST: Final = 10_000
"""Characters of a text in a line; so a line that somebody made long costs little to look through."""
LONGEST_ERROR: Final = 2_000
_ADDRESS: Final = re.compile(r"[^\s<>\"'()\[\]{},;:=]{1,100}@[^\s<>\"'()\[\]{},;:=]{1,260}")
# PostgreSQL's own lines below a message name rows and parameters; asyncpg's message repeats an argument that doesn't fit.
_DETAILS: Final = re.compile(r"\n?(?:DETAIL|HINT|CONTEXT|QUERY|STATEMENT):.*", re.DOTALL)
_ARGUMENT: Final = re.compile(r"(query argument \$\d+): .*", re.DOTALL)
_QUOTED: Final = re.compile(r"""(?<![A-Za-z0-9])('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")""")
# What a server says of itself in quotes: "relation", "constraint" and the like are followed by names of ours.
_NAMES: Final = re.compile(r"(relation|table|column|constraint|function|type|schema|index|role|attribute|module|named) $")
_ID: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{22,}(?![A-Za-z0-9_-])")


def cleaned(text: str) -> str:
    """Return a line of the log without addresses, and without what a server tells of rows and parameters."""
    return _ADDRESS.sub(LEFT_OUT, _ARGUMENT.sub(r"\1", _DETAILS.sub("", _cut(text, LONGEST))))


def said(error: str) -> str:
    """Return what an error says without what may be a value: in quotes, or long as an id or a token."""
    return _ID.sub(LEFT_OUT, _QUOTED.sub(_unless_named, cleaned(_cut(error, LONGEST_ERROR))))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + LEFT_OUT


def _unless_named(found: "re.Match[str]") -> str:
    before = found.string[max(0, found.start() - 20) : found.start()]
    return found[0] if _NAMES.search(before) else LEFT_OUT


def clean_line(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Clean all texts of a line: a processor of structlog."""
    return {key: cleaned(value) if isinstance(value, str) else value for key, value in event.items()}


def clean_stacks(stacks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a traceback as structlog tells it in JSON, with what its errors say cleaned."""
    return [_clean_stack(stack) for stack in stacks]


def _clean_stack(stack: Mapping[str, Any]) -> dict[str, Any]:
    notes = [said(note) for note in stack.get("exc_notes", ())]
    groups = [clean_stacks(group) for group in stack.get("exceptions", ())]
    return {**stack, "exc_value": said(stack["exc_value"]), "exc_notes": notes, "exceptions": groups}


def write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Write a traceback for people, with what its errors say cleaned: a formatter of structlog's."""
    out.write("\n".join(_lines(extract(*exc_info, show_locals=False).stacks)))


def _lines(stacks: list[Stack], indent: str = "") -> Iterator[str]:
    for stack in reversed(stacks):  # the cause first, as Python has it
        yield f"{indent}Traceback (most recent call last):"
        for frame in stack.frames:
            yield f'{indent}  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
            if code := getline(frame.filename, frame.lineno).strip():
                yield f"{indent}    {code}"
        yield f"{indent}{stack.exc_type}: {said(stack.exc_value)}"
        for group in stack.exceptions:
            yield from _lines(group.stacks, indent + "  | ")
