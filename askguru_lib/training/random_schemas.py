"""Random databases on paper: M-Schemas with believable names, types, comments, values and keys.

The small base model learns on thousands of these, so that it reads schemas instead of remembering them. Every schema has
one style of naming (snake_case, camelCase, capitals, abbreviations with comments …), as real ones do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from askguru_lib.data import phrasing
from askguru_lib.databases.m_schema import MSchema

ENTITIES = [
    "customer",
    "order",
    "product",
    "supplier",
    "invoice",
    "payment",
    "shipment",
    "employee",
    "department",
    "project",
    "task",
    "contract",
    "client",
    "account",
    "student",
    "teacher",
    "course",
    "exam",
    "classroom",
    "school",
    "patient",
    "doctor",
    "nurse",
    "ward",
    "treatment",
    "prescription",
    "drug",
    "hospital",
    "visit",
    "player",
    "team",
    "match",
    "coach",
    "stadium",
    "season",
    "referee",
    "song",
    "artist",
    "album",
    "playlist",
    "label",
    "concert",
    "festival",
    "movie",
    "actor",
    "director",
    "studio",
    "cinema",
    "ticket",
    "reviewer",
    "review",
    "article",
    "journalist",
    "newspaper",
    "editor",
    "publisher",
    "magazine",
    "hotel",
    "room",
    "guest",
    "reservation",
    "restaurant",
    "chef",
    "menu",
    "dish",
    "recipe",
    "ingredient",
    "farm",
    "farmer",
    "crop",
    "field",
    "animal",
    "veterinarian",
    "zoo",
    "keeper",
    "museum",
    "painting",
    "exhibition",
    "sculptor",
    "gallery",
    "visitor",
    "city",
    "country",
    "region",
    "river",
    "mountain",
    "lake",
    "station",
    "train",
    "driver",
    "bus",
    "route",
    "stop",
    "vehicle",
    "mechanic",
    "garage",
    "repair",
    "dealer",
    "car",
    "truck",
    "ship",
    "captain",
    "port",
    "cargo",
    "container",
    "voyage",
    "pilot",
    "crew",
    "satellite",
    "rocket",
    "mission",
    "astronaut",
    "planet",
    "telescope",
    "observation",
    "laboratory",
    "experiment",
    "scientist",
    "sample",
    "device",
    "sensor",
    "reading",
    "meter",
    "household",
    "tariff",
    "building",
    "apartment",
    "tenant",
    "landlord",
    "lease",
    "broker",
    "property",
    "bank",
    "branch",
    "loan",
    "card",
    "transaction",
    "customer_group",
    "policyholder",
    "broker_office",
    "adjuster",
    "judge",
    "court",
    "lawyer",
    "hearing",
    "citizen",
    "party",
    "election",
    "candidate",
    "vote",
    "district",
    "mayor",
    "company",
    "shareholder",
    "factory",
    "machine",
    "operator",
    "shift",
    "batch",
    "material",
    "inspection",
    "defect",
    "store",
    "cashier",
    "receipt",
    "coupon",
    "category",
    "brand",
    "warehouse",
    "shelf",
    "pallet",
    "courier",
    "parcel",
    "address",
    "subscriber",
    "phone",
    "plan",
    "message",
    "server",
    "incident",
    "engineer",
    "release",
    "bug",
    "feature",
    "repository",
    "developer",
    "comment",
    "forum",
    "member",
    "post",
    "photo",
    "album_page",
    "camera",
    "photographer",
    "wedding",
    "venue",
    "band",
    "instrument",
    "orchestra",
    "conductor",
    "piece",
    "dancer",
    "theater",
    "play",
    "scene",
    "gym",
    "trainer",
    "membership",
    "workout",
    "athlete",
    "race",
    "medal",
    "sponsor",
    "tournament",
    "chess_club",
    "opening",
    "lift",
    "resort",
    "slope",
    "skier",
    "bakery",
    "cake",
    "order_line",
    "vineyard",
    "wine",
    "grape",
    "cellar",
    "brewery",
    "beer",
    "bar",
    "cocktail",
    "pet",
    "owner",
    "breed",
    "shelter",
    "adoption",
    "garden",
    "plant",
    "gardener",
    "tree",
    "forest",
    "ranger",
    "park",
    "trail",
    "camper",
    "tour",
    "guide",
    "booking",
    "agency",
    "cruise",
    "island",
    "ferry",
]
LABELS = ("name", "title", "full_name", "label", "display_name", "designation", "short_name")
CATEGORIES: dict[str, str] = {
    "city": "Oslo|Rome|Lima|Cairo|Paris|Berlin|Madrid|Tokyo|Delhi|Boston|Dublin|Geneva|Porto|Austin|Quito|Hanoi|Perth",
    "country": "Norway|Italy|Peru|Egypt|France|Germany|Spain|Japan|India|Ireland|Brazil|Canada|Kenya|Chile|Poland",
    "region": "North|South|East|West|Central|Coast|Highlands|Valley|Lakeside|Inland",
    "status": "active|inactive|pending|closed|open|approved|rejected|cancelled|completed|draft|suspended|paid|overdue",
    "type": "standard|premium|basic|special|internal|external|temporary|permanent|regular|express",
    "color": "red|blue|green|black|white|yellow|orange|purple|silver|brown",
    "gender": "male|female|M|F|other",
    "language": "English|French|Spanish|German|Hindi|Arabic|Italian|Polish|Dutch|Korean",
    "currency": "EUR|USD|GBP|JPY|CHF|INR|NOK|BRL",
    "priority": "low|medium|high|urgent|critical|normal",
    "grade": "A|B|C|D|E|F|A+|B-",
    "category": "electronics|furniture|toys|books|clothing|food|sports|garden|health|music|travel|office",
    "genre": "drama|comedy|jazz|rock|thriller|fantasy|romance|horror|documentary|pop|classical",
    "payment_method": "cash|card|transfer|voucher|check|invoice|wallet",
    "department": "sales|finance|marketing|research|support|legal|logistics|purchasing",
    "position": "manager|analyst|assistant|director|engineer|clerk|intern|consultant|specialist",
    "nationality": "Norwegian|Italian|French|German|Spanish|Japanese|Indian|Irish|Kenyan|Chilean",
    "specialty": "cardiology|surgery|pediatrics|neurology|oncology|radiology|dentistry",
    "material": "steel|wood|glass|plastic|copper|cotton|paper|leather|stone|aluminium",
    "size_class": "small|medium|large|XL|XS|tiny|huge",
    "season": "spring|summer|autumn|winter",
    "weekday": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "level": "beginner|intermediate|advanced|expert|junior|senior|master",
    "source": "web|phone|email|store|partner|agent|mobile|fax",
    "brand": "Acme|Nordix|Velora|Quanta|Brightline|Kestrel|Zenith|Altura|Fenwick|Orion",
    "fuel": "diesel|petrol|electric|hybrid|hydrogen|gas",
    "blood_group": "A|B|AB|O|A+|O-",
    "shape": "round|square|oval|flat|long",
    "state": "Texas|Ohio|Utah|Maine|Nevada|Bavaria|Kerala|Quebec|Victoria|Lombardy",
    "role": "admin|editor|viewer|owner|guest|moderator",
    "reason": "damage|delay|error|fire|theft|water|illness|holiday|upgrade",
    "code": "", "reference_number": "", "serial_number": "", "postal_code": "", "email_domain": "a.org|mail.com|web.net",
    "condition": "new|used|refurbished|broken|good|fair|poor",
    "unit": "kg|pcs|m|l|box|hour|ton",
    "origin": "local|imported|domestic|overseas|unknown",
    "diet": "vegan|vegetarian|carnivore|omnivore|herbivore",
    "format": "PDF|CSV|vinyl|digital|paperback|hardcover|DVD",
    "surface": "grass|clay|sand|asphalt|gravel|ice",
    "channel": "north|direct|retail|wholesale|online|outlet",
    "plan": "free|starter|pro|team|enterprise|family|solo",
    "marital_status": "single|married|divorced|widowed",
    "education": "primary|secondary|bachelor|master|doctorate",
}  # fmt: skip
MEASURES: dict[str, tuple[int, int]] = {
    "price": (1, 900), "cost": (5, 5000), "amount": (10, 9000), "quantity": (1, 200), "salary": (20000, 120000),
    "age": (1, 95), "weight": (1, 900), "height": (40, 250), "length": (1, 3000), "width": (1, 300), "duration": (1, 400),
    "distance": (1, 9000), "capacity": (10, 90000), "population": (900, 9000000), "rating": (1, 10), "score": (0, 100),
    "points": (0, 120), "budget": (1000, 900000), "revenue": (1000, 5000000), "profit": (100, 900000), "discount": (0, 60),
    "tax": (1, 500), "balance": (0, 90000), "credit_limit": (500, 50000), "stock": (0, 900), "floor": (0, 40),
    "rooms": (1, 12), "seats": (2, 400), "speed": (10, 900), "temperature": (1, 90), "pressure": (1, 500), "voltage": (1, 400),
    "area": (10, 9000), "depth": (1, 4000), "volume": (1, 900), "energy": (10, 9000), "hours": (1, 60), "minutes": (1, 240),
    "days": (1, 365), "credits": (1, 30), "attendance": (10, 90000), "goals": (0, 60), "wins": (0, 40), "losses": (0, 40),
    "views": (10, 900000), "likes": (0, 9000), "downloads": (0, 90000), "pages": (20, 1200), "copies": (1, 50),
    "mileage": (10, 250000), "interest_rate": (1, 15), "fee": (1, 400), "fine": (1, 200), "bonus": (100, 9000),
    "experience": (0, 40), "dosage": (1, 800), "beds": (1, 60), "year": (1980, 2024), "founded_year": (1850, 2020),
    "release_year": (1950, 2024), "rank": (1, 100), "position_number": (1, 30), "commission": (1, 30), "premium": (50, 4000),
    "rent": (300, 4000), "deposit": (100, 9000), "yield": (1, 90), "efficiency": (10, 99), "output": (10, 9000),
    "consumption": (5, 900), "visitors": (10, 90000), "members": (3, 900), "employees": (1, 9000), "size": (1, 500),
    "thickness": (1, 80), "shipping_cost": (1, 200), "total_amount": (10, 9000), "unit_price": (1, 900), "net_worth": (10, 9000),
    "claim_amount": (100, 90000), "number_of_doors": (2, 6), "number_of_items": (1, 40), "delay_minutes": (0, 300),
}  # fmt: skip
DATES = [
    "date",
    "created_at",
    "birth_date",
    "start_date",
    "end_date",
    "due_date",
    "hire_date",
    "order_date",
    "delivery_date",
    "payment_date",
    "joined_on",
    "opened_on",
    "closed_on",
    "updated_at",
    "registered_on",
    "visit_date",
    "issue_date",
    "return_date",
    "departure_date",
    "arrival_date",
    "published_on",
    "expiry_date",
    "signed_on",
    "last_login",
    "inspection_date",
    "release_date",
    "founded_on",
    "booked_on",
    "exam_date",
]
FIRST = ["Ann", "Bo", "Carl", "Dina", "Erik", "Fay", "Gus", "Hana", "Ivan", "June", "Kai", "Lena", "Max", "Nora", "Omar", "Pia", "Quinn", "Rosa", "Sam", "Tara", "Ugo", "Vera", "Will", "Xena", "Yara", "Zoe", "Aldo", "Berta", "Cleo", "Dario", "Elsa", "Felix", "Greta", "Hugo", "Iris", "Jonas", "Klara", "Liam", "Maya", "Noah"]  # fmt: skip
LAST = ["Adams", "Baker", "Chan", "Diaz", "Evans", "Fischer", "Gupta", "Hansen", "Ivanov", "Jensen", "Khan", "Lopez", "Meyer", "Novak", "Okafor", "Patel", "Quist", "Rossi", "Silva", "Tanaka", "Ueda", "Vargas", "Weber", "Xu", "Young", "Zhang", "Abbott", "Brandt", "Costa", "Duval", "Ekberg", "Flores"]  # fmt: skip
COMMENT_FORMS = ("{x}", "{x}", "{x}", "{x} of the {t}", "the {x}", "{t} {x}")
SYLLABLES = [
    "ba",
    "ko",
    "ri",
    "ta",
    "me",
    "lu",
    "no",
    "si",
    "ver",
    "dan",
    "pol",
    "mar",
    "tin",
    "gar",
    "ost",
    "ell",
    "ira",
    "fen",
    "wick",
    "ton",
    "berg",
    "lin",
    "mor",
    "sta",
    "vik",
    "zu",
    "qua",
    "pre",
]


@dataclass(frozen=True)
class RandomDatabase:
    """A schema, and what its coded values stand for."""

    schema: MSchema
    meanings: dict[str, dict[str, str]]


def made_up(rng: random.Random) -> str:
    """A word that no model has seen: it can only be copied."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice([2, 2, 3])))


def _words(name: str) -> list[str]:
    return name.split("_")


def _abbreviate(rng: random.Random, name: str) -> str:
    parts = []
    for word in _words(name):
        short = word[0] + re.sub("[aeiou]", "", word[1:])
        parts.append(rng.choice([short[:4], short[:3], word[:3], word[:4]]) if len(word) > 3 else word)
    return "_".join(parts)


def _code(rng: random.Random) -> str:
    return "".join(rng.choice("ABCDEFGHIKLMNOPRSTUVWZ") for _ in range(rng.choice([4, 5, 5])))


STYLES: dict[str, tuple[Callable[[random.Random, str], str], float, float]] = {
    "snake": (lambda _, n: n, 0.5, 6),
    "camel": (lambda _, n: _words(n)[0] + "".join(w.capitalize() for w in _words(n)[1:]), 0.4, 1.5),
    "pascal": (lambda _, n: "".join(w.capitalize() for w in _words(n)), 0.4, 1.5),
    "upper": (lambda _, n: n.upper(), 0.8, 0.7),
    "short": (_abbreviate, 0.97, 3),
    "code": (lambda rng, _: _code(rng), 0.97, 3),
}
"""Naming style: how a plain name is written, the chance that its schema has comments, and its weight."""


def random_database(rng: random.Random, tables: tuple[int, int] = (2, 6), max_columns: int = 6) -> RandomDatabase:
    """Draw a database.

    Args:
        tables: least and most tables.
        max_columns: most columns a table, keys included.
    """
    style, comment_chance, _ = STYLES[rng.choices(list(STYLES), [w for _, _, w in STYLES.values()])[0]]
    commented = rng.random() < comment_chance
    plural_tables, prefix = rng.random() < 0.5, rng.choice(["", "", "", "", "tbl_", "t_", "dim_"])
    entities = rng.sample(ENTITIES, rng.randint(*tables))
    if rng.random() < 0.25:
        entities[0] = made_up(rng)
    schema = MSchema(rng.choice([rng.choice(ENTITIES), made_up(rng)]))
    meanings: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    keys: dict[str, str] = {}
    key_form = rng.choice(["{e}_id", "{e}_id", "id", "{e}_no", "{e}_number", "{e}_code"])
    for place, entity in enumerate(entities):
        said = phrasing.humanize(entity)
        table = _unused(rng, style, prefix + (phrasing.plural(entity) if plural_tables else entity), schema.tables)
        names[entity] = table
        schema.add_table(table, comment=_table_comment(rng, said) if commented else "")
        taken: dict[str, dict] = schema.tables[table]["fields"]
        key = _unused(rng, style, key_form.format(e=entity), taken)
        keys[entity] = key
        text_key = rng.random() < 0.15
        comment = f"{said} {rng.choice(['number', 'id', 'key'])}" if commented else ""
        schema.add_field(table, key, "TEXT" if text_key else rng.choice(["INTEGER", "INTEGER", "BIGINT"]), True, False,
                         comment=comment, examples=_keys(rng, text_key))  # fmt: skip
        parents = _parents(rng, entities[:place])
        for parent in parents:
            column = _unused(rng, style, key_form.format(e=parent) if key_form != "id" else f"{parent}_id", taken)
            info = schema.tables[names[parent]]["fields"][keys[parent]]
            schema.add_field(table, column, info["type"], nullable=rng.random() < 0.3,
                             comment=f"{phrasing.humanize(parent)} {rng.choice(['number', 'id', 'key', 'reference'])}"
                             if commented else "", examples=rng.sample(info["examples"], 3))  # fmt: skip
            schema.add_foreign_key(table, column, None, names[parent], keys[parent])
        room = max_columns - len(taken)
        for plain, kind in _attributes(rng, max(2, rng.randint(min(2, room), max(room, 2)))):
            column = _unused(rng, style, plain, taken)
            comment = rng.choice(COMMENT_FORMS).format(x=phrasing.humanize(plain), t=said) if commented else ""
            field_type, examples = _values(rng, plain, kind)
            if kind == "category" and rng.random() < 0.25:
                examples, meanings[f"{table}.{column}"] = _codes(rng, plain)
            schema.add_field(table, column, field_type, nullable=rng.random() < 0.2, comment=comment, examples=examples)
    return RandomDatabase(schema, meanings)


def _unused(rng: random.Random, style: Callable[[random.Random, str], str], plain: str, taken: dict) -> str:
    lowered = {t.lower() for t in taken}
    name = style(rng, plain)
    while name.lower() in lowered:
        name = style(rng, f"{plain}_{rng.randint(2, 99)}")
    return name


def _table_comment(rng: random.Random, said: str) -> str:
    return rng.choice(
        [said, phrasing.plural(said), phrasing.plural(said), f"{said} records", f"list of {phrasing.plural(said)}"]
    )


def _parents(rng: random.Random, before: list[str]) -> list[str]:
    if not before or rng.random() < 0.08:
        return []
    return rng.sample(before, min(len(before), rng.choices([1, 2], [0.75, 0.25])[0]))


def _attributes(rng: random.Random, count: int) -> list[tuple[str, str]]:
    chosen: list[tuple[str, str]] = []
    if rng.random() < 0.8:
        chosen.append((rng.choice(LABELS) if rng.random() < 0.6 else "name", "label"))
    pools: dict[str, list[str]] = {"category": list(CATEGORIES), "measure": list(MEASURES), "date": list(DATES)}
    while len(chosen) < count:
        kind = rng.choices(["category", "measure", "date"], [0.42, 0.4, 0.18])[0]
        name = rng.choice(pools[kind])
        if rng.random() < 0.06:
            name = f"{made_up(rng)}_{name}"
        if name not in {n for n, _ in chosen}:
            chosen.append((name, kind))
    rest = chosen[1:]
    rng.shuffle(rest)
    return chosen[:1] + rest


def _keys(rng: random.Random, text: bool) -> list[str]:
    start = rng.choice([1, 1, 1, 100, 1000, rng.randint(2, 9000)])
    prefix = "".join(rng.choice("ABCKLMPRSTX") for _ in range(2)) if text else ""
    return [f"{prefix}{start + i}" for i in range(6)]


def _values(rng: random.Random, plain: str, kind: str) -> tuple[str, list[str]]:
    if kind == "label":
        return rng.choice(["TEXT", "VARCHAR"]), [_label(rng) for _ in range(6)]
    if kind == "date":
        year = rng.randint(1995, 2023)
        days = [
            f"{rng.randint(year, min(year + 4, 2024))}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
            for _ in range(6)
        ]
        return rng.choice(["DATE", "DATE", "TEXT"]), days
    if kind == "measure":
        low, high = MEASURES[_words_tail(plain, MEASURES)]
        if rng.random() < 0.3 and high < 10000:
            return rng.choice(["REAL", "DECIMAL", "NUMERIC"]), [f"{rng.uniform(low, high):.2f}" for _ in range(6)]
        return "INTEGER", [str(rng.randint(low, high)) for _ in range(6)]
    values = [v for v in CATEGORIES[_words_tail(plain, CATEGORIES)].split("|") if v]
    if not values:
        letters = "".join(rng.choice("ABCDEFGHKMNPRSTXZ") for _ in range(rng.choice([0, 1, 2])))
        values = [f"{letters}{rng.randint(100, 9999)}" for _ in range(6)]
    elif rng.random() < 0.15:
        values = [made_up(rng).capitalize() for _ in range(6)]
    return rng.choice(["TEXT", "TEXT", "VARCHAR"]), rng.sample(values, min(6, len(values)))


def _words_tail(name: str, known: dict) -> str:
    return name if name in known else name.split("_", 1)[1]


def _label(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.4:
        return f"{rng.choice(FIRST)} {rng.choice(LAST)}"
    if roll < 0.7:
        return made_up(rng).capitalize()
    return f"{made_up(rng).capitalize()} {rng.choice(['Street', 'Group', 'House', 'One', 'Center', 'Park', 'Works', 'Bay'])}"


def _codes(rng: random.Random, plain: str) -> tuple[list[str], dict[str, str]]:
    spelled = [v for v in CATEGORIES[_words_tail(plain, CATEGORIES)].split("|") if len(v) > 2] or [
        "open",
        "closed",
        "blocked",
    ]
    chosen = rng.sample(spelled, min(4, len(spelled)))
    form = rng.choice([lambda v, _: v[0].upper(), lambda v, _: v[:2].upper(), lambda _, i: str(i + 1), lambda _, i: f"{i + 1:02}",
                       lambda _, i: "XKZWYQ"[i]])  # fmt: skip
    codes: dict[str, str] = {}
    for i, value in enumerate(chosen):
        codes.setdefault(form(value, i), value.lower())
    return list(codes), codes
