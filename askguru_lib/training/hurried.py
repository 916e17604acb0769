"""Questions as nobody's grammar would write them: what they name stays, the words around it do not.

A model that is trained on a grammar's sentences learns the sentences. Here the words that name something, the values
and the few words that say what is asked are kept in their order; of all others some are dropped, some exchanged for
words that mean nothing, and further ones come in. What is left can only be answered by what is named.
"""

from __future__ import annotations

import random
import re
from functools import cache
from itertools import chain

from faker.providers.lorem.en_US import Provider
from sqlglot import exp

from askguru_lib.data.grammar import Pair
from askguru_lib.data.linking import Values, schema_links
from askguru_lib.data.phrasing import (
    AGGREGATES,
    BORN,
    COMPARATIVES,
    COMPARISONS,
    MONTHS,
    NUMBER_WORDS,
    PARTICIPLES,
    SUPERLATIVES,
    YEARS,
)

DROPPED, EXCHANGED, ADDED, BESIDE = 0.45, 0.12, 0.05, 0.3
"""Of the words that name nothing: how many are dropped, how many exchanged; behind how many words another one comes in;
how many questions have a sentence of such words beside them."""
GLUE = """
i we you they it he she my our your their this that these those here there now then just only well please so but with
from about into over for of to at on in as by was were is are be been has have had did do does can could would should
will may might someone everybody nobody anything something people things need want like know think heard said asked
tell find get got take look make made let keep kept goes went come came says
""".split()  # noqa: SIM905
"""Words that are said between others, and name nothing."""
CUES = frozenset(
    """
how many much number numbers count counts counted counting tally figure total sum add average mean typical highest
lowest maximum minimum most least fewest more less fewer greater smaller larger higher lower over under above below
beyond exceeding different distinct unique various repeats once each every per by grouped group order ordered sorted
sort ascending descending rising falling first last top bottom best worst latest earliest newest oldest youngest recent
frequent common rare and or both either neither between since until before after during than never without no not none
any nothing lacking lack missing empty unknown known recorded already exclude except but outside only nobody nowhere
despite other others tie ties together added rarest half twice double second third few several couple dozen hundred
thousand million billion share percentage percent ratio running cumulative
so far difference days day times product multiplied divided minus plus year years month months date alphabetical
alphabetically reverse z letter letters characters capital capitals upper case small class whether
into among those initial initials rest
starts starting begins ends contains includes including with same own where
""".split()  # noqa: SIM905
)
"""Words that say what is asked of what is named."""


@cache
def _cues() -> frozenset[str]:
    groups = (*AGGREGATES.values(), *COMPARISONS.values(), *YEARS.values(), *COMPARATIVES.values(), *BORN,
              *chain.from_iterable(SUPERLATIVES.values()), PARTICIPLES.values())  # fmt: skip
    told = " ".join(chain.from_iterable(groups)).split()
    names = (name.lower() for name in (*MONTHS, *NUMBER_WORDS))
    return (CUES | set(told) | set(names)) - {"the", "a", "of"}


def hurried(pair: Pair, schema: str, values: Values, rng: random.Random) -> str:
    """A pair's question with other words around what matters.

    Args:
        schema: M-Schema text; no word of it comes in.
        values: of the data that the question says, as links take them.
    """
    question = pair.question
    links = schema_links(schema, f"{question}\n{pair.evidence}", values)
    kept = [mention.words for mention in links.mentions]
    kept += [literal.name.strip("%") for literal in pair.tree.find_all(exp.Literal) if literal.is_string]
    defined = set(re.findall(r"\w{3,}", pair.evidence.lower())) - set(GLUE)
    taken = set(re.findall(r"[a-z]+", schema.lower())) | _cues() | defined
    empty = [word for word in Provider.word_list if word not in taken]
    glue = [word for word in GLUE if word not in taken]

    def meaningless() -> str:
        return rng.choice(glue if rng.random() < 0.5 else empty)

    def matters(word: str, start: int, end: int) -> bool:
        if any(a < end and start < b for a, b in places) or re.search(r"[\d'\"%<>=]", word):
            return True
        return word.strip(".,:;?!()").lower() in _cues() | defined

    places = [
        match.span()
        for phrase in filter(None, kept)
        for match in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", question, re.IGNORECASE)
    ]
    said: list[str] = []
    for match in re.finditer(r"'[^']*'|\"[^\"]*\"|\S+", question):
        roll = 1.0 if matters(match[0], *match.span()) else rng.random()
        if roll >= DROPPED + EXCHANGED:
            said.append(match[0])
        elif roll >= DROPPED:
            said.append(meaningless())
        within = any(a < match.end() < b for a, b in places)
        if rng.random() < ADDED and not within:
            said.append(meaningless())
    text = " ".join(said)
    if rng.random() < BESIDE:
        other = " ".join(meaningless() for _ in range(rng.randint(2, 8)))
        mark, end = rng.choice([(", ", ""), (": ", ""), ("! ", "!"), (". ", "."), (" - ", ""), ("... ", "...")])
        text = rng.choice([f"{other}{mark}{text}", f"{text.rstrip('.?')}{mark}{other}{end}", f"{text} ({other})"])
    return text[:1].upper() + text[1:] if rng.random() < 0.6 else text
