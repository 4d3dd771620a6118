"""A large catalog in words that never were, used as often as words are, and texts that somebody types to find a tool of it."""

from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Final

from events.catalog import ToolAdded
from tests.benchmarks.world import new_id

_COMMON: Final = (
    "the and of to with for a ai your in tool that agent model code data open fast write image video team app is on"
)
_ENDINGS: Final = "AI Pro Code Agent Studio GPT Cloud Labs Chat Assist Writer 2 3.5 Max Mini API Copilot"
# A syllable is a sound of each; the first and the last may be none.
_SOUNDS: Final = (
    " b c d f g h j k l m n p r s t v w z br cl dr fl gr pl st tr sh ch qu",
    "a e i o u ai ea io ou y",
    " n r s t l m x ck nd st ng",
)
_CATEGORIES: Final = 40
_WORDS: Final = 60_000
_NAMES: Final = 70_000

HOSTILE: Final = (
    *"abcdefghijklmnopqrstuvwxyz0", "co", "re", "pro", "con", "str", "x" * 200, "the of and to", "'\"%_\\ zzqx", "🚀",
    "搜索工具", "שלום", "a " * 100, "ab " * 60, "the " * 50, "aaaaaaaa " * 20, "agnet mdoel imgae vdieo cdoe tset",
    "'1a' & !b | (c:*", ":*", "the tool that is fast and open for your team",
)  # fmt: skip
"""Texts that would cost much if a search could be made to: beginnings of many words, common words, many words, signs."""


class Vocabulary:
    """Words of texts and of names, the most used first: by Zipf's law, those of names more evenly."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._sounds = [sounds.split(" ") for sounds in _SOUNDS]
        self.words = [*_COMMON.split(), *self._made(_WORDS)]
        self.names = self._made(_NAMES)
        self._words = [*accumulate(1 / (rank + 2) for rank in range(len(self.words)))]
        self._names = [*accumulate((rank + 20) ** -0.7 for rank in range(len(self.names)))]

    def tools(self, count: int) -> list[ToolAdded]:
        """Make tools: names of one to four words, texts of about sixty."""
        return [self._tool(number) for number in range(count)]

    def texts(self, tools: Sequence[ToolAdded]) -> list[str]:
        """Make the texts that find some of these tools: names, parts and slips of them, words of their texts, common words."""
        chance, some = self._chance, self._chance.sample(tools, min(len(tools), 1_400))
        known, named = self.words[:200], self.names[:150]
        return [
            *(tool.name for tool in some[:250]),
            *(_longest(tool.name) for tool in some[250:500]),
            *(tool.name.replace(_longest(tool.name), self._slip(_longest(tool.name))) for tool in some[500:950]),
            *(tool.name[: chance.randint(1, 7)].strip() for tool in some[950:1_100]),
            *(" ".join(chance.sample(tool.tagline.split(), 2)) for tool in some[1_100:1_250]),
            *(" ".join(chance.sample(tool.description.split(), 3)) for tool in some[1_250:1_400]),
            *known,
            *named,
            *(self._slip(chance.choice(named)) for _ in range(60)),
            *(" ".join(chance.sample(known[:100], 2)) for _ in range(150)),
            *(" ".join(chance.sample(known[:40], 5)) for _ in range(80)),
        ]

    def _made(self, count: int) -> list[str]:
        made: dict[str, None] = {}
        while len(made) < count:
            made[self._word()] = None
        return [*made]

    def _word(self) -> str:
        chance = self._chance
        syllables = chance.choices((1, 2, 3, 4), (1, 5, 4, 1))[0]
        return "".join(chance.choice(sounds) for _ in range(syllables) for sounds in self._sounds)

    def _tool(self, number: int) -> ToolAdded:
        chance = self._chance
        name = " ".join(chance.choices(self.names, cum_weights=self._names, k=chance.choice((1, 1, 2, 2, 3)))).title()
        if chance.random() < 0.5:
            name = f"{name} {chance.choice(_ENDINGS.split())}"
        return ToolAdded(
            tool=new_id(), slug=f"tool-{number}", name=name,
            tagline=self._text(9), description=self._text(chance.randint(25, 90)),
            category=f"Category {int(chance.paretovariate(0.7)) % _CATEGORIES}", pricing_tier="free", pricing_label="Free",
            best_for="Measuring",
        )  # fmt: skip

    def _text(self, words: int) -> str:
        return " ".join(self._chance.choices(self.words, cum_weights=self._words, k=words))

    def _slip(self, word: str) -> str:
        """Return a word with a letter missing, doubled, or swapped with its neighbour."""
        at = self._chance.randrange(len(word))
        swapped = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
        return self._chance.choice((word[:at] + word[at + 1 :], word[: at + 1] + word[at:], swapped))


def _longest(name: str) -> str:
    return max(name.split(), key=len)
