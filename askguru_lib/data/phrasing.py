"""How people name things and ask for them: the words behind the question grammar.

The grammar (``data/grammar.py``) decides *what* is asked; this module decides *how it is said*: names of tables and
columns in plain words, ways to state a condition, openings, politeness, and small slips.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

SUPERLATIVES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "price": (("most expensive", "priciest"), ("cheapest", "least expensive")),
    "cost": (("most expensive", "costliest"), ("cheapest", "least costly")),
    "fee": (("most expensive",), ("cheapest",)),
    "salary": (("best paid", "highest paid"), ("worst paid", "lowest paid")),
    "wage": (("best paid",), ("worst paid",)),
    "age": (("oldest",), ("youngest",)),
    "weight": (("heaviest",), ("lightest",)),
    "height": (("tallest", "highest"), ("shortest",)),
    "length": (("longest",), ("shortest",)),
    "duration": (("longest",), ("shortest",)),
    "minutes": (("longest",), ("shortest",)),
    "distance": (("farthest", "longest"), ("nearest", "shortest")),
    "capacity": (("largest", "biggest"), ("smallest",)),
    "size": (("largest", "biggest"), ("smallest",)),
    "area": (("largest", "biggest"), ("smallest",)),
    "population": (("largest", "most populous"), ("smallest", "least populous")),
    "rating": (("best rated", "top rated"), ("worst rated", "lowest rated")),
    "score": (("best scoring", "highest scoring"), ("worst scoring", "lowest scoring")),
    "speed": (("fastest",), ("slowest",)),
}
"""Adjectives that stand for the highest and lowest value of a measure, by the measure's last word."""

COMPARATIVES: dict[str, tuple[str, str]] = {
    "price": ("costing more than", "costing less than"),
    "cost": ("costing more than", "costing less than"),
    "salary": ("earning more than", "earning less than"),
    "age": ("older than", "younger than"),
    "weight": ("heavier than", "lighter than"),
    "height": ("taller than", "shorter than"),
    "length": ("longer than", "shorter than"),
    "duration": ("longer than", "shorter than"),
    "minutes": ("longer than", "shorter than"),
    "distance": ("farther than", "nearer than"),
    "capacity": ("larger than", "smaller than"),
    "size": ("larger than", "smaller than"),
    "area": ("larger than", "smaller than"),
    "speed": ("faster than", "slower than"),
}
"""Words that stand for more and less of a measure without naming it, by the measure's last word."""

BORN = (("youngest",), ("oldest", "eldest"))
"""What the highest and the lowest date or year of birth are said to be."""
PARTICIPLES: dict[str, str] = {
    "hire": "hired", "birth": "born", "start": "started", "begin": "started", "end": "ended", "release": "released",
    "order": "ordered", "return": "returned", "delivery": "delivered", "payment": "paid", "departure": "departed",
    "arrival": "arrived", "issue": "issued", "expiry": "expired", "booking": "booked", "inspection": "inspected",
    "publication": "published", "update": "updated", "signup": "signed up", "shipment": "shipped", "sale": "sold",
    "purchase": "purchased", "admission": "admitted", "enrollment": "enrolled", "registration": "registered",
    "founding": "founded", "built": "built", "sent": "sent", "paid": "paid", "sold": "sold", "left": "left",
    "retirement": "retired", "cancellation": "cancelled", "opening": "opened", "closing": "closed", "death": "died",
    "creation": "created", "installation": "installed", "production": "produced", "repair": "repaired",
}  # fmt: skip
"""What happened on a date, by a word of the date's name; a word that ends in -ed says it itself."""
TERMS = """
late early big small cheap premium senior junior active idle new old heavy light busy quiet popular rare important valid
closed open recent risky safe strong weak full empty local foreign regular special major minor long short high low slow
fast good bad critical normal extended basic extra current former pending final young modern classic large tiny costly
profitable overdue unpaid frequent loyal distant nearby crowded remote public private
""".split()  # noqa: SIM905
"""Words that mean what an evidence says they mean."""
PRODUCTS = ("revenue", "sales", "turnover", "value", "amount", "total", "cost", "volume", "worth", "sum", "load")
"""What a product of two measures may be called."""
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
                "twelve")  # fmt: skip
COMPARISONS: dict[str, tuple[str, ...]] = {
    ">": ("more than", "over", "above", "greater than", "higher than", "exceeding", "larger than"),
    "<": ("less than", "under", "below", "lower than", "smaller than", "fewer than"),
    ">=": ("at least", "no less than", "a minimum of", "from", "not under"),
    "<=": ("at most", "no more than", "a maximum of", "up to", "not over"),
}
YEARS: dict[str, tuple[str, ...]] = {
    ">": ("after", "later than"),
    "<": ("before", "earlier than"),
    ">=": ("since", "in or after", "no earlier than"),
    "<=": ("up to", "until", "in or before"),
}
"""Comparisons as they are said of years."""
AGGREGATES: dict[str, tuple[str, ...]] = {
    "AVG": ("average", "mean", "typical", "avg"),
    "SUM": ("total", "sum of the", "combined", "overall"),
    "MAX": ("highest", "maximum", "largest", "biggest", "max"),
    "MIN": ("lowest", "minimum", "smallest", "min"),
}
LIST_OPENINGS = (
    "List {x}", "Show {x}", "Show me {x}", "Give me {x}", "Give {x}", "Find {x}", "What are {x}?", "Which are {x}?",
    "Display {x}", "I need {x}", "I want to see {x}", "Tell me {x}", "Can you list {x}?", "Get {x}", "Return {x}",
    "Could you show me {x}?", "{x}", "Please list {x}", "I would like to know {x}", "Name {x}", "Provide {x}",
    "Let me see {x}", "Pull up {x}", "Report {x}", "{x}", "{x}?", "{x}, please", "I am looking for {x}",
    "Print {x}", "Look up {x}", "May I see {x}?", "We need {x}", "Write down {x}", "I was asked for {x}",
)  # fmt: skip
VALUE_OPENINGS = (
    "What is {x}?", "Show {x}", "Give me {x}", "Calculate {x}", "Compute {x}", "Find {x}", "Tell me {x}", "{x}",
    "What was {x}?", "I need {x}", "Can you tell me {x}?", "Determine {x}", "Could you work out {x}?", "What's {x}?",
    "Please give me {x}", "I want to know {x}", "Report {x}", "{x}?", "What about {x}?",
    "Work out {x}", "Do you know {x}?", "Look up {x}", "I am asked for {x}",
)  # fmt: skip
COUNT_OPENINGS = (
    "How many {x} are there?", "How many {x}?", "Count the {x}", "What is the number of {x}?", "number of {x}",
    "Give me the number of {x}", "Count {x}", "How many {x} do we have?", "Tell me how many {x} there are",
    "What is the total number of {x}?", "What's the count of {x}?", "Find the number of {x}", "how many {x} exist?",
    "In total, how many {x}?", "How many {x} have we got?", "How many {x} were there?", "{x}: how many?",
    "{x}, just the number", "Is there a number for {x}? I mean how many.", "number of all {x}",
    "How many {x} altogether?", "How many {x} in total?", "How many {x} are on file?", "tell me the count of {x}",
    "How large is the number of {x}?",
)  # fmt: skip
FILLERS = (
    "Hi, ", "Hello, ", "For my report, ", "Quick question: ", "For the meeting tomorrow: ", "Just wondering, ", "OK, ",
    "Now ", "So, ", "For the audit, ", "My boss asks: ", "As a first step, ", "Sorry to bother you, ", "One more: ",
    "By the way, ", "Next: ", "Hm, ", "I was asked this: ", "For the slides: ", "We would like to know: ",
    "Once more, ", "Please: ", "Just for me: ", "New question. ", "A customer called. ",
    "I was asked about this today. ", "I'm curious... ", "We had a strange case! ", "Not urgent: ",
    "My colleague does not believe me. ", "Here is one for you: ", "The council wants to know: ",
    "I'm filling in a form. ", "Nobody here can tell me: ",
)  # fmt: skip
AFTERTHOUGHTS = (
    " I need it today.", " Thanks!", " No rush.", " It is for the annual report.", " Nothing else.", " That is all.",
    " The boss wants to know.", " Quickly, please.", " A rough idea is not enough.", " As always.",
)  # fmt: skip
ENDINGS = (
    " please", ", please", " thanks", " for me", " if you can", " in our data", " in the database", " on record",
    " so far", " these days", " on our books", " that we know of", ", would you", " I wonder", " as far as we know",
)  # fmt: skip
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\s\-.]+")


def humanize(name: str) -> str:
    """``order_Date`` → ``order date``; a prefix that only says "table" goes."""
    parts = [part.lower() for part in _BOUNDARY.split(name) if part]
    return " ".join(parts[1:] if len(parts) > 1 and parts[0] in TABLE_PREFIXES else parts)


def spoken(comment: str) -> str:
    """The noun phrase in a comment: ``List of invoices (posted)`` → ``invoices``."""
    text = re.split(r"[,;(:]", comment.strip().lower())[0].strip()
    text = re.sub(
        r"^(?:list of|table of|one (?:row|record|line) (?:per|for each)|each|the|all|our|every|any|a|an)\s+", "", text
    )
    return re.sub(r"\s+(?:records|table|data|list)$", "", text)


def head(comment: str) -> str:
    """What a table's comment says its rows are: ``Parts used by orders`` → ``parts``."""
    return re.split(rf"\s+(?:{_AFTER_HEAD}|\w{{2,}}ed)\b", spoken(comment))[0]


_A_YEAR = re.compile(r"(?<!\bper )(?<!\ba )(?<!\beach )(?<!\bevery )\byear\b")


def says_year(said: str) -> bool:
    """Whether words name a year: *year of birth*, but not *gross per year*."""
    return bool(_A_YEAR.search(said))


def is_clause(said: str) -> bool:
    """Whether a comment asks, or speaks of anybody, instead of naming: ``why the line was dead``, ``everyone``."""
    asking = ("who", "whom", "whose", "what", "which", "when", "where", "why", "how", "everyone")
    return said.split(" ", 1)[0] in asking


_NO_NAME = re.compile(
    r"(?:empty|missing|null|none|only|not)(?: (?:if|until|unless|when|while|where|for|at|without|known|given|set)\b|$)"
    r"|if\b|\d\b|.*=|.+\b(?:is|are)\b"
)


def says_no_name(said: str) -> bool:
    """Whether a comment says something about a column's values and does not name them: ``empty if not known``."""
    return bool(_NO_NAME.match(said))


_AFTER_HEAD = (
    "of|in|at|on|for|per|by|to|with|from|and|since|during|under|who|whom|whose|that|which|where|lent|sold|made|kept"
    "|looking|waiting"
)
_BEHIND_NOUN = re.compile(
    r"(?<=\w)(?<!\bcheck)(?<!\bsign)(?<!\blog)(?<!\badd)(?<!\bopt)(?<!\bout)(?<!\bmade)(?<!\bbuilt)(?<!\bsold)"
    r"(?<!\byear(?= to)) (?:of|in|at|on|for|per|by|to|with|from|we|you|they|it|he|she|who|that|which) "
)
"""Where a noun phrase goes on behind its noun: *properties we offer*, *day of cancellation*, not *check in date*."""


def looks_cryptic(name: str) -> bool:
    """Whether a name is an abbreviation or a code rather than words (``KUNNR``, ``st_cd``)."""
    letters = re.sub(r"[^A-Za-z]", "", name)
    vowels = sum(c in "aeiouyAEIOUY" for c in letters)
    parts = [p for p in _BOUNDARY.split(name) if p]
    stubs = sum(len(p) <= 3 and p.lower() not in {"id", "age", "sex", "day", "fee", "tax", "job", "of"} for p in parts)
    return (letters.isupper() and len(letters) > 2) or vowels < 0.25 * len(letters) or 2 * stubs >= len(parts) + 1


def plural(noun: str) -> str:
    """Plural of a noun phrase by the regular rules; a plural, or a clause, stays as it is."""
    if is_clause(noun):
        return noun
    if behind := _BEHIND_NOUN.search(noun):
        return plural(noun[: behind.start()]) + noun[behind.start() :]
    head, _, last = noun.rpartition(" ")
    if not last or (last.endswith("s") and not last.endswith(("ss", "us", "is"))) or last in UNCOUNTED:
        return noun
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    else:
        last = IRREGULAR.get(last, last + "s")
    return f"{head} {last}".strip()


def singular(noun: str) -> str:
    """Inverse of :func:`plural` for regular nouns."""
    if is_clause(noun):
        return noun
    if behind := _BEHIND_NOUN.search(noun):
        return singular(noun[: behind.start()]) + noun[behind.start() :]
    head, _, last = noun.rpartition(" ")
    if last in UNCOUNTED:
        return noun
    if last in _SINGULARS:
        last = _SINGULARS[last]
    elif last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif re.search(r"(?:ss|x|ch|sh|(?<![aeo])us)es$", last):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")):
        last = last[:-1]
    return f"{head} {last}".strip()


TABLE_PREFIXES = {"tbl", "t", "dim", "fact", "tb"}
IRREGULAR = {"person": "people", "child": "children", "man": "men", "woman": "women", "shelf": "shelves",
             "half": "halves", "leaf": "leaves", "foot": "feet"}  # fmt: skip
_SINGULARS = {many: one for one, many in IRREGULAR.items() if one not in ("person", "child", "man", "woman")}
UNCOUNTED = {"equipment", "staff", "people", "children", "men", "women", "data", "series", "species", "news",
             "personnel", "stock", "goods", "means", "gas"}  # fmt: skip


def say(rng: random.Random, openings: Sequence[str], phrase: str) -> str:
    """A whole question: an opening around ``phrase``, with now and then a filler, politeness or a slip."""
    opening = rng.choice(openings)
    text = _AN.sub("an ", opening.format(x=phrase))
    if rng.random() < 0.08:
        filler = rng.choice(FILLERS)
        first = text[:1].upper() if filler.endswith((". ", "! ")) else text[:1].lower()
        text = filler + first + text[1:]
    if rng.random() < 0.1:
        mark = "?" if text.endswith("?") else ""
        text = text.removesuffix("?") + rng.choice(ENDINGS) + mark
    if text.endswith("?") and rng.random() < 0.15:
        text = text[:-1]
    elif not text.endswith(("?", ".")) and rng.random() < 0.5:
        text += "."
    if text.endswith((".", "?")) and rng.random() < 0.05:
        text += rng.choice(AFTERTHOUGHTS)
    roll = rng.random()
    if roll < 0.72:
        text = text[:1].upper() + text[1:]
    elif roll < 0.8:
        text = text[:1].lower() + text[1:]
    return slip(rng, text) if rng.random() < 0.03 else text


_AN = re.compile(
    r"""(?<=\ )a\ (?=(?!(?:all|also|am|and|any|are|as|at|each|either|if|in|is|it|of|on|only|or|other|our|under|until
    |up)\b|onc?e\b|eu|u(?:ni(?![dmn])|s[aeu]|til))[aeiou]\w)""",
    re.VERBOSE,
)
"""An article before a vowel, and no single letter before another word."""


def slip(rng: random.Random, text: str) -> str:
    """Swap two neighbouring letters of one longer word, as fingers do; quoted values and numbers stay."""
    words = text.split(" ")
    places = [i for i, w in enumerate(words) if len(w) > 4 and w.isalpha() and w.islower()]
    if places:
        i = rng.choice(places)
        j = rng.randrange(1, len(words[i]) - 2)
        word = words[i]
        words[i] = word[:j] + word[j + 1] + word[j] + word[j + 2 :]
    return " ".join(words)


_PREDICATES = (
    ("with ", "have "), ("having ", "have "), ("that are ", "are "), ("which are ", "are "), ("that have ", "have "),
    ("whose ", "have "), ("in ", "are in "), ("from ", "are from "), ("without ", "have no "),
    ("marked ", "are marked "),
    ("costing ", "cost "), ("earning ", "earn "), ("where ", "have "), ("that were ", "were "),
    ("not ", "are not "), ("still ", "are still "), ("lacking ", "lack "),
)  # fmt: skip


_FIRST_IS = re.compile(r"^((?:(?!(?: and| or|,) (?:wh|that|with)).)*?) (?:is|are|equals) ")
"""The verb of a condition, and not of a second one that stands behind it."""


def predicate(phrase: str) -> str:
    """What is said behind a noun, as a verb phrase: ``with a price over 5`` → ``have a price over 5``."""
    if match := re.match(r"whose (.+?) (starts|begins|ends|contains|includes) ", phrase):
        return f"have a {match[1]} that {match[2]} {phrase[match.end() :]}"
    if match := re.match(r"(?:that|which) (?=are|have|were|come|lack|count|never)", phrase):
        return phrase[match.end() :]
    for start, verb in _PREDICATES:
        if phrase.startswith(start):
            said = verb + phrase[len(start) :]
            return _FIRST_IS.sub(r"\1 ", said, count=1) if start in ("whose ", "where ") else said
    first = phrase.split(" ", 1)[0]
    return f"were {phrase}" if first in _HAPPENED or first.endswith("ed") else f"are {phrase}"


def third_person(predicate: str) -> str:
    """The predicate of one: ``have a price over 5`` → ``has a price over 5``."""
    verb, _, rest = predicate.partition(" ")
    return f"{_SINGULAR.get(verb, verb)} {rest}"


_SINGULAR = {"are": "is", "were": "was", "have": "has", "come": "comes", "lack": "lacks", "cost": "costs",
             "earn": "earns", "count": "counts"}  # fmt: skip


def participle(said: str) -> str | None:
    """What happened on a date of this name: ``hire date`` → ``hired``, ``opened on`` → ``opened``."""
    for word in said.split():
        if word in PARTICIPLES:
            return PARTICIPLES[word]
        if len(word) > 4 and word.endswith("ed") and not word.endswith("eed"):
            return word
    return None


def that_happened(happened: str) -> str:
    """``that were hired``, but ``that expired``."""
    return f"that {happened}" if happened in _BY_THEMSELVES else f"that were {happened}"


def number_word(rng: random.Random, value: str, share: float = 0.15) -> str:
    """Now and then a small number as a word."""
    if value.isdigit() and int(value) < len(NUMBER_WORDS) and rng.random() < share:
        return NUMBER_WORDS[int(value)]
    return value


_HAPPENED = frozenset(PARTICIPLES.values())
_BY_THEMSELVES = frozenset("started ended departed arrived expired died retired left signed joined".split())  # noqa: SIM905


def join_words(rng: random.Random, items: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(items) == 1:
        return items[0]
    link = rng.choice([" and ", " and ", " and the ", ", "]) if len(items) == 2 else " and "
    return ", ".join(items[:-1]) + link + items[-1]


def spoken_date(rng: random.Random, iso: str) -> str:
    """An ISO date as people write it: as it is, ``5 March 2023`` or ``March 5, 2023``."""
    if rng.random() < 0.55 or not re.fullmatch(r"\d{4}-\d\d-\d\d", iso):
        return iso
    year, month, day = iso.split("-")
    if rng.random() < 0.5:
        return f"{int(day)} {MONTHS[int(month) - 1]} {year}"
    return f"{MONTHS[int(month) - 1]} {int(day)}, {year}"
