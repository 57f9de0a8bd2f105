"""Random but readable English, and the simulator's tokeniser.

A token is about four characters: a word of up to five letters with the space before it, or a
piece of a longer word. A cut never splits a code point, and combining marks stay with the letter
before them. It refuses to imitate a real model's tokeniser.
"""

import re

from laplas_async.simulator.rng import SeededRandom

# Combining marks, joiners, variation selectors and skin tones stay with the character they modify.
# The pattern never looks ahead, so a text cut at the end of a token gives the same tokens again
# (max_tokens relies on it).
_MARKS = "\u0300-\u036f\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff"
_TOKEN = re.compile(rf" ?[^\s]{{1,5}}[{_MARKS}]*|\s")

_PLACES = ("river", "harbour", "garden", "library", "station", "market", "valley", "lighthouse")
_ADJECTIVES = ("quiet", "old", "bright", "patient", "narrow", "warm", "distant", "curious", "blue")
_PEOPLE = ("gardener", "pilot", "teacher", "clockmaker", "baker", "sailor", "librarian", "child")
_VERBS = ("remembers", "describes", "follows", "repairs", "discovers", "paints", "measures")
_THINGS = ("map", "letter", "bridge", "machine", "song", "lantern", "question", "number", "story")
_TIMES = ("in the morning", "after the rain", "every winter", "at noon", "before the bell rings")
_LINKS = ("so", "and", "but", "because", "while")
# Each has characters of two, three or four bytes; some have a combining mark or a joined emoji.
_FLOURISHES = (
    "The café on the corner — the one by the square — stays open.",
    "A note on the door reads 日本 in careful ink.",
    "That made everyone smile 🙂 for a while.",
    "Her re\u0301sume\u0301 mentioned a nai\u0308ve plan.",
    "The temperature fell by 3 °C, roughly ½ of what was feared.",
    "Somewhere above, an astronaut 👩\u200d🚀 waved back 👋🏽.",
    "“Maybe,” said the old clock, “but not before ten…”",
    "The sign said Ελλάδα, Кавказ and 서울 🌍.",
)
WORDS = (*_PLACES, *_ADJECTIVES, *_PEOPLE, *_THINGS)


def tokens(text: str) -> list[str]:
    """Cut ``text`` into tokens; joined they are ``text``, and any prefix cuts the same way."""
    return _TOKEN.findall(text)


def sentence(random: SeededRandom) -> str:
    """Return one English sentence."""
    one_of = random.one_of
    subject = f"the {one_of(_ADJECTIVES)} {one_of(_PEOPLE)}"
    clause = f"{subject} {one_of(_VERBS)} the {one_of(_THINGS)} near the {one_of(_PLACES)}"
    form = random.below(4)
    if form == 0:
        return f"{one_of(_TIMES).capitalize()}, {clause}."
    if form == 1:
        second = f"the {one_of(_THINGS)} is {one_of(_ADJECTIVES)}"
        return f"{clause[0].upper()}{clause[1:]}, {one_of(_LINKS)} {second}."
    if form == 2:
        return f"Here is the {one_of(_ADJECTIVES)} {one_of(_PLACES)}, and {clause}."
    return f"{clause[0].upper()}{clause[1:]} {one_of(_TIMES)}."


def paragraph(random: SeededRandom, sentences: int) -> str:
    """Return ``sentences`` sentences and, among them, some with multi-byte characters."""
    parts = [sentence(random) for _ in range(sentences)]
    for at in range(1, len(parts) + 1, 3):
        parts.insert(at, random.one_of(_FLOURISHES))
    return " ".join(parts)


def phrase(random: SeededRandom, words: int) -> str:
    """Return ``words`` English words, for a string in a JSON instance."""
    return " ".join(random.one_of(WORDS) for _ in range(words))
