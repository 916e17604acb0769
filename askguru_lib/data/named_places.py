"""Where a question names tables, columns or values of a schema, and how well each of them fits there.

Names that are spelt out, and values, are certain. Of the rest, phrases are compared word by word; where two overlap,
the better one stands. :mod:`askguru_lib.data.linking` makes of them what a prompt shows.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from askguru_lib.data.phrasing import AGGREGATES
from askguru_lib.data.schema_words import SILENT, Item, Place, SchemaWords
from askguru_lib.databases.fitting import stem
from askguru_lib.databases.values import WORD

LEAST_COVERED = 0.5
"""Share of a name's or comment's words, weighted by their rarity, that a question has to say."""
NEARLY = 0.8
"""A second meaning is kept if it is this good, measured against the best one."""

_ENDS = re.compile(r"[.?!;\n]")
_ASKING = frozenset(
    """number count first last top bottom each per list show look find tell want need know give given get see print
    display calculate compute start starts starting started begin begins beginning end ends ending letter letters
    contain contains ordered sorted grouped together all total other only average in on up stands means refers
    """.split()  # noqa: SIM905
) | {word for said in AGGREGATES.values() for word in said}
"""Words that say what is asked more often than they are a part of a name (*number of orders*, not an order's number);
alone they stand for a name only if it has no other words. The last ones define a term (*late means …*)."""
_NO_NAMES = frozenset(
    """days weeks months years since until before after they those one ones them number numbers count counts counted
    desc asc out up in to on""".split()  # noqa: SIM905
)
"""Words that alone are a name only where one is spelt exactly so."""
_OUT = re.compile(r"\b(?:left|leav\w+)\b[^.;,\n]{0,40}?\b(?:out|aside)\b|\blongest (?:ago|serving|standing|first)\b")
_TELLING = frozenset(("name", "return", "report", "order", "rank", "sort", "state", "detail", "note", "print"))
"""Words that say what to do where they begin a sentence: *Name the customers*, but not *Name of the customer*."""
_TOLD = re.compile(
    r"""\ +(?!(?:of|and|or|for|only|by|in|is|are|was|were|has|have|had|with|without|where|that|which|who|whose|when|from
    |to|at|on|as|per|than|not|no|number|nr|id|code|date|\w+ed|\w+ing)\b)[a-z]""",
    re.VERBOSE,
)
"""What follows such a word there; other words show that it is a noun (*Order from Ann Lee*)."""

Values = Mapping[str, Sequence[Sequence[str]]]
"""Values of the data, each with ``[table, column, value]`` of where it stands and how it is spelt there; where the last
is left out, it is spelt as it is said."""


def named_places(
    index: SchemaWords, question: str, values: Mapping[Place, Mapping[Item, str]]
) -> dict[Place, dict[Item, float]]:
    """Places in the question, as characters, and what they may mean, with scores."""
    words = [(m.start(), m.end(), index.word(m[0].lower())) for m in WORD.finditer(question)]
    spans = _spans(index, words, question)
    found = {place: dict.fromkeys(columns, math.inf) for place, columns in values.items()}
    for match in re.finditer(r"\w*_\w*", question):
        if match[0] in index.names and not overlaps(match.span(), dict.fromkeys(found, math.inf), 0):
            found[match.span()] = dict.fromkeys(index.names[match[0]], math.inf)
    certain = dict.fromkeys(found, math.inf)
    tables: dict[Place, float] = {}
    for of_tables in (True, False):
        taken = dict(certain)
        scored = {s: {i: x for i, x in scores.items() if of_tables == (not i[1])} for s, scores in spans.items()}
        for first, last in sorted(filter(scored.get, scored), key=lambda s: (-max(scored[s].values()), s)):
            place = words[first][0], words[last][1]
            best = max(scored[first, last].values())
            # A table may be named inside a column's words ("number of orders"), a column not inside a table's.
            if overlaps(place, taken, 0) or overlaps(place, tables, best):
                continue
            taken[place] = best
            least = NEARLY * best if of_tables else max(NEARLY * best, tables.get(place, 0.0))
            if of_tables:
                tables[place] = best
            found.setdefault(place, {}).update({i: x for i, x in scored[first, last].items() if x >= least})
    return found


def overlaps(place: Place, others: Mapping[Place, float], score: float) -> bool:
    """Whether another place, with a better score, shares a word with this one."""
    return any(x > score and place[0] < end and start < place[1] for (start, end), x in others.items())


def _spans(index: SchemaWords, words: Sequence[tuple[int, int, str]], question: str) -> dict[Place, dict[Item, float]]:
    """For spans of the question's words, what they may mean and how well: rarity said × share said."""
    found: dict[Place, dict[Item, float]] = defaultdict(dict)
    passed = [match.span() for match in _OUT.finditer(question)]
    for first, (begins, ends, word) in enumerate(words):
        if any(start <= begins and ends <= end for start, end in passed):
            continue
        for phrase in index.by_stem.get(word, ()):
            if word in SILENT and len(phrase.stems) > 1:
                continue
            left, last, said = Counter(phrase.stems), first, 0.0
            for at in range(first, len(words)):
                here = words[at][2]
                if at > first and _ENDS.search(question, words[at - 1][1], words[at][0]):
                    break
                if left[here] > 0:
                    left[here] -= 1
                    said += index.rarity[here]
                    last = at
                elif here not in SILENT:
                    break
            share = said / sum(index.rarity[w] for w in phrase.stems)
            only = question[begins:ends].lower() if last == first else ""
            asks = only in _ASKING and len(phrase.stems) > 1
            asks = asks or (only in _NO_NAMES and only != (phrase.item[1] or phrase.item[0]).lower())
            asks = asks or (len(only) == 1 and len(phrase.stems) > 1)
            tells = only in _TELLING and _tells(question, begins, ends)
            if share >= LEAST_COVERED and not asks and not tells:
                scores = found[first, last]
                scores[phrase.item] = max(scores.get(phrase.item, 0.0), said * share)
    return found


def _tells(question: str, start: int, end: int) -> bool:
    """Whether the word there begins a sentence and says what to do with what follows."""
    before = question[:start].rstrip(" ")
    return (not before or before[-1] in ".?!:;\n") and bool(_TOLD.match(question, end))


def value_places(index: SchemaWords, question: str, given: Values) -> dict[Place, dict[Item, str]]:
    """Where the question says a value, and which columns have it, spelt how; the longest where several overlap."""
    found = {
        place: {(table, column): value for table, column, value in columns}
        for place, columns in index.values.places(question).items()
    }
    for said, places in given.items():
        shown = {(table, column): value[0] if value else said for table, column, *value in places}
        shown = {item: value for item, value in shown.items() if item in index.columns}
        if shown and (match := re.search(rf"(?<!\w){re.escape(said)}(?!\w)", question)):
            found[match.span()] = found.get(match.span(), {}) | shown
    for start, end in [p for p in found if stem(question[slice(*p)].lower()) in index.whole]:
        said, quoted = question[start:end].lower(), question[max(start - 1, 0) : start] in ("'", '"')
        table = stem(said) in index.called and not quoted  # *books* are the table, and not the category "book"
        if table or not any(value.lower() == said for value in found[start, end].values()):
            del found[start, end]
    kept: dict[Place, dict[Item, str]] = {}
    for place in sorted(found, key=lambda p: p[0] - p[1]):
        if not overlaps(place, dict.fromkeys(kept, 1.0), 0):
            kept[place] = found[place]
    return kept
