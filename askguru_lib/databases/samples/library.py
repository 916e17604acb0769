"""A public library: branches, books and their copies, members, loans. Plain names; used for training only."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from faker import Faker

TITLE = "Public library"
METADATA = sa.MetaData()

sa.Table(
    "branches",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(40), nullable=False, comment="branch name"),
    sa.Column("city", sa.String(40), nullable=False, comment="city of the branch"),
    sa.Column("opened_year", sa.Integer, nullable=False, comment="year it opened"),
    sa.Column("staff_count", sa.Integer, nullable=False, comment="number of employees"),
    comment="library branches",
)
sa.Table(
    "authors",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(60), nullable=False, comment="full name"),
    sa.Column("country", sa.String(40), nullable=False, comment="country of origin"),
    sa.Column("birth_year", sa.Integer, comment="empty when unknown"),
    comment="writers of books",
)
sa.Table(
    "books",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String(80), nullable=False, comment="book title"),
    sa.Column("author_id", sa.Integer, sa.ForeignKey("authors.id"), nullable=False),
    sa.Column("genre", sa.String(20), nullable=False, comment="kind of book"),
    sa.Column("language", sa.String(20), nullable=False, comment="language of the text"),
    sa.Column("published_year", sa.Integer, comment="year of publication"),
    sa.Column("pages", sa.Integer, comment="number of pages"),
    comment="titles in the catalogue",
)
sa.Table(
    "copies",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("book_id", sa.Integer, sa.ForeignKey("books.id"), nullable=False),
    sa.Column("branch_id", sa.Integer, sa.ForeignKey("branches.id"), nullable=False),
    sa.Column("acquired_on", sa.Date, nullable=False, comment="date of purchase"),
    sa.Column("condition", sa.String(10), nullable=False, comment="new good worn or lost"),
    sa.Column("price", sa.Numeric(6, 2, asdecimal=False), comment="purchase price"),
    comment="physical copies of books",
)
sa.Table(
    "members",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(60), nullable=False, comment="full name"),
    sa.Column("city", sa.String(40), nullable=False, comment="city of residence"),
    sa.Column("birth_year", sa.Integer, comment="year of birth"),
    sa.Column("membership", sa.String(10), nullable=False, comment="adult student senior or child"),
    sa.Column("joined_on", sa.Date, nullable=False, comment="date of joining"),
    sa.Column("branch_id", sa.Integer, sa.ForeignKey("branches.id"), comment="home branch"),
    comment="people with a library card",
)
sa.Table(
    "loans",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("copy_id", sa.Integer, sa.ForeignKey("copies.id"), nullable=False),
    sa.Column("member_id", sa.Integer, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("loaned_on", sa.Date, nullable=False, comment="date of borrowing"),
    sa.Column("due_on", sa.Date, nullable=False, comment="date it must be back"),
    sa.Column("returned_on", sa.Date, comment="empty while still out"),
    sa.Column("fine", sa.Numeric(6, 2, asdecimal=False), comment="late fee charged"),
    comment="copies lent to members",
)

_BRANCHES = [  # name, city, opened, staff, share of copies
    ("Central", "Ashford", 1962, 24, 9),
    ("Riverside", "Ashford", 1987, 11, 5),
    ("Northgate", "Ashford", 2004, 8, 4),
    ("Harbour", "Milton", 1975, 14, 5),
    ("Station Road", "Milton", 1999, 8, 3),
    ("Oakwood", "Oakwood", 1991, 6, 3),
    ("Hillside", "Brampton", 2012, 5, 2),
    ("Lakeview", "Brampton", 2018, 4, 1),
]
_COUNTRIES = {
    "United Kingdom": 26,
    "United States": 22,
    "France": 10,
    "Germany": 9,
    "Japan": 7,
    "India": 6,
    "Nigeria": 4,
    "Spain": 4,
    "Sweden": 3,
    "Brazil": 3,
}
_LANGUAGES = {"France": "French", "Germany": "German", "Spain": "Spanish"}
_GENRES = {  # weight, fewest and most pages
    "fiction": (26, 180, 620),
    "mystery": (16, 210, 460),
    "children": (15, 24, 160),
    "history": (12, 220, 780),
    "science": (10, 160, 540),
    "biography": (9, 190, 600),
    "travel": (7, 140, 380),
    "poetry": (5, 60, 180),
}
_ADJECTIVES, _NOUNS, _PLACES, _TOPICS = (
    line.split(", ")
    for line in (
        "Silent, Golden, Hidden, Broken, Distant, Winter, Crimson, Last, Quiet, Lost, Burning, Paper, Salt, Northern",
        "River, Garden, Orchard, Letter, Mountain, Harbour, Clock, Forest, Island, Bridge, Lantern, Window, Map",
        "Lisbon, Kyoto, Prague, Marrakesh, Vienna, Patagonia, Iceland, Bengal, Sicily, Alaska",
        "the Sea, Light, Numbers, Rome, Medicine, Bees, the Railways, Silk, Volcanoes, Bread, the Moon, Trade",
    )
)
_TITLES = {
    "fiction": ["The {a} {n}", "{n} and {m}", "The {n} of {p}"],
    "mystery": ["Murder at the {n}", "The {a} {n} Case", "Death in {p}"],
    "children": ["The Little {n}", "{n} and the {m}", "Goodnight {n}"],
    "history": ["A History of {t}", "{p}: Rise and Fall", "The Age of {t}", "{t} and the Making of {p}"],
    "science": ["Understanding {t}", "The Science of {t}", "The {n} and {t}"],
    "biography": ["A Life in {p}", "The {a} Years", "My {a} {n}"],
    "travel": ["Walking {p}", "The Road to {p}", "Letters from {p}", "A {a} {n} in {p}"],
    "poetry": ["{a} {n}s", "Songs of {t}", "The {n} Poems"],
}
_MEMBERSHIPS = {"adult": (52, 25, 64), "student": (20, 15, 26), "child": (16, 5, 13), "senior": (12, 65, 88)}
_FIRST, _LAST = dt.date(2021, 1, 4), dt.date(2024, 12, 30)
_LOAN_DAYS = 21
_FINE_PER_DAY = 0.25


def _pick(rng: random.Random, weights: dict[str, Any]) -> str:
    numbers = [w[0] if isinstance(w, tuple) else w for w in weights.values()]
    return rng.choices(list(weights), numbers)[0]


def _day(rng: random.Random, first: dt.date, last: dt.date) -> dt.date:
    return first + dt.timedelta(days=rng.randint(0, (last - first).days))


def _title(rng: random.Random, genre: str, used: set[str]) -> str:
    while True:
        n, m = rng.sample(_NOUNS, 2)
        a, p, t = rng.choice(_ADJECTIVES), rng.choice(_PLACES), rng.choice(_TOPICS)
        title = rng.choice(_TITLES[genre]).format(n=n, m=m, a=a, p=p, t=t)
        title = title[0].upper() + title[1:]
        if title not in used:
            used.add(title)
            return title


def _books(rng: random.Random, authors: list[dict], number: int) -> list[dict]:
    used: set[str] = set()
    prolific = [1 / (i + 4) for i in range(len(authors) - 4)]  # the last four have no book in the catalogue yet
    books = []
    for i in range(1, number + 1):
        author = rng.choices(authors[:-4], prolific)[0]
        genre = _pick(rng, _GENRES)
        _, fewest, most = _GENRES[genre]
        own = _LANGUAGES.get(author["country"], "English")
        earliest = max(1925, (author["birth_year"] or 1950) + 24)
        books.append(
            {
                "id": i,
                "title": _title(rng, genre, used),
                "author_id": author["id"],
                "genre": genre,
                "language": own if rng.random() < 0.4 else "English",
                "published_year": None if rng.random() < 0.04 else rng.randint(earliest, min(2023, earliest + 45)),
                "pages": None if rng.random() < 0.06 else rng.randint(fewest, most),
            }
        )
    return books


def _copies(rng: random.Random, books: list[dict], number: int) -> list[dict]:
    popularity = [1 / (i + 12) for i in range(len(books))]
    shares = [b[4] for b in _BRANCHES]
    copies = []
    for i in range(1, number + 1):
        book = books[i - 1] if i <= len(books) - 12 else rng.choices(books[:-12], popularity[:-12])[0]
        condition = rng.choices(["new", "good", "worn", "lost"], [15, 55, 25, 5])[0]
        copies.append(
            {
                "id": i,
                "book_id": book["id"],
                "branch_id": rng.choices(range(1, len(_BRANCHES) + 1), shares)[0],
                "acquired_on": _day(rng, dt.date(2021, 1, 4), dt.date(2024, 6, 28)),
                "condition": condition,
                "price": None if rng.random() < 0.07 else rng.randint(12, 76) / 2 - 0.01,
            }
        )
    return copies


def _members(rng: random.Random, fake: Faker, number: int) -> list[dict]:
    cities = ["Ashford", "Milton", "Oakwood", "Brampton", "Fenwick"]
    home = {city: [i for i, b in enumerate(_BRANCHES, 1) if b[1] == city] for city in cities}
    members = []
    for i in range(1, number + 1):
        city = rng.choices(cities, [42, 26, 12, 14, 6])[0]
        membership = _pick(rng, _MEMBERSHIPS)
        _, youngest, oldest = _MEMBERSHIPS[membership]
        members.append(
            {
                "id": i,
                "name": f"{fake.first_name()} {fake.last_name()}",
                "city": city,
                "birth_year": None if rng.random() < 0.05 else 2024 - rng.randint(youngest, oldest),
                "membership": membership,
                "joined_on": _day(rng, _FIRST, _LAST),
                "branch_id": rng.choice(home[city]) if home[city] and rng.random() < 0.93 else None,
            }
        )
    return members


def _loans(rng: random.Random, copies: list[dict], members: list[dict], popular: set[int]) -> list[dict]:
    """Every copy's own history, one loan after the other, numbered by date."""
    by_branch: dict[int | None, list[dict]] = {}
    for m in members:
        by_branch.setdefault(m["branch_id"], []).append(m)
    keen = {m["id"]: 1 / rng.randint(4, 60) if m["id"] % 9 else 0.0 for m in members}  # every ninth never borrows
    loans = []
    for copy in copies:
        longest_gap = 90 if copy["book_id"] in popular else 420
        day = copy["acquired_on"] + dt.timedelta(days=rng.randint(3, longest_gap))
        while day <= _LAST:
            pool = by_branch[copy["branch_id"]] if rng.random() < 0.8 else members
            pool = [m for m in pool if m["joined_on"] <= day and keen[m["id"]]]
            if not pool:
                day += dt.timedelta(days=30)
                continue
            member = rng.choices(pool, [keen[m["id"]] for m in pool])[0]
            late = rng.random() < 0.2
            kept = _LOAN_DAYS + rng.randint(1, 40) if late else rng.randint(2, _LOAN_DAYS)
            back = day + dt.timedelta(days=kept)
            loans.append(
                {
                    "copy_id": copy["id"],
                    "member_id": member["id"],
                    "loaned_on": day,
                    "due_on": day + dt.timedelta(days=_LOAN_DAYS),
                    "returned_on": back if back <= _LAST else None,
                    "fine": (kept - _LOAN_DAYS) * _FINE_PER_DAY if late and back <= _LAST else None,
                }
            )
            day = back + dt.timedelta(days=rng.randint(1, longest_gap))
        if copy["condition"] == "lost" and loans and loans[-1]["copy_id"] == copy["id"]:
            loans[-1].update(returned_on=None, fine=None)
    loans.sort(key=lambda loan: (loan["loaned_on"], loan["copy_id"]))
    return [{"id": i, **loan} for i, loan in enumerate(loans, 1)]


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    branches = [
        {"id": i, "name": name, "city": city, "opened_year": year, "staff_count": staff}
        for i, (name, city, year, staff, _) in enumerate(_BRANCHES, 1)
    ]
    yield "branches", branches
    authors = [
        {
            "id": i,
            "name": f"{fake.first_name()} {fake.last_name()}",
            "country": _pick(rng, _COUNTRIES),
            "birth_year": None if rng.random() < 0.12 else rng.randint(1905, 1990),
        }
        for i in range(1, 91)
    ]
    yield "authors", authors
    books = _books(rng, authors, 300)
    yield "books", books
    copies = _copies(rng, books, 650)
    yield "copies", copies
    members = _members(rng, fake, 420)
    yield "members", members
    popular = {book["id"] for book in rng.sample(books, 60)}
    yield "loans", _loans(rng, copies, members, popular)
