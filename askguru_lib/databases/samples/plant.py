"""Plant maintenance in the manner of an ERP: cryptic names, comments for most of them, codes for everything."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "Plant maintenance"
METADATA = sa.MetaData()


def _money(digits: int) -> sa.Numeric:
    return sa.Numeric(digits, 2, asdecimal=False)


sa.Table(
    "WERK",
    METADATA,
    sa.Column("WERKS", sa.String(4), primary_key=True, comment="plant code"),
    sa.Column("NAME1", sa.String(30), nullable=False, comment="plant name"),
    sa.Column("ORT01", sa.String(30), nullable=False, comment="city"),
    sa.Column("LAND1", sa.String(2), nullable=False),
    comment="plants",
)
sa.Table(
    "EQUI",
    METADATA,
    sa.Column("EQUNR", sa.Integer, primary_key=True, comment="equipment number"),
    sa.Column("EQKTX", sa.String(40), nullable=False, comment="equipment name"),
    sa.Column("EQART", sa.String(1), nullable=False, comment="P pump M motor V valve"),
    sa.Column("WERKS", sa.String(4), sa.ForeignKey("WERK.WERKS"), nullable=False, comment="plant code"),
    sa.Column("HERST", sa.String(30), comment="manufacturer"),
    sa.Column("ANSWT", _money(11), comment="purchase value"),
    sa.Column("INBDT", sa.Date, nullable=False, comment="start-up date"),
    sa.Column("ABCKZ", sa.String(1), nullable=False, comment="A critical to C minor"),
    comment="equipment",
)
sa.Table(
    "ARBPL",
    METADATA,
    sa.Column("ARBPL", sa.String(8), primary_key=True, comment="work centre"),
    sa.Column("KTEXT", sa.String(30), nullable=False, comment="work centre name"),
    sa.Column("LSTPR", _money(6), nullable=False, comment="hourly rate"),
    sa.Column("EXTRN", sa.String(1)),
    comment="work centres",
)
sa.Table(
    "AUFK",
    METADATA,
    sa.Column("AUFNR", sa.Integer, primary_key=True, comment="order number"),
    sa.Column("AUART", sa.String(4), nullable=False, comment="order type"),
    sa.Column("EQUNR", sa.Integer, sa.ForeignKey("EQUI.EQUNR"), nullable=False, comment="equipment number"),
    sa.Column("ARBPL", sa.String(8), sa.ForeignKey("ARBPL.ARBPL"), comment="work centre"),
    sa.Column("PRIOK", sa.Integer, nullable=False, comment="priority 1 most urgent"),
    sa.Column("STAT", sa.String(1), nullable=False),
    sa.Column("ERDAT", sa.Date, nullable=False, comment="created on"),
    sa.Column("IDAT2", sa.Date, comment="completed on"),
    sa.Column("ARBEI", sa.Numeric(5, 1, asdecimal=False), comment="hours worked"),
    sa.Column("KOSTP", _money(10), nullable=False, comment="planned cost"),
    sa.Column("KOSTI", _money(10), comment="actual cost"),
    comment="maintenance orders",
)
sa.Table(
    "MARA",
    METADATA,
    sa.Column("MATNR", sa.String(8), primary_key=True, comment="part number"),
    sa.Column("MAKTX", sa.String(40), nullable=False, comment="part name"),
    sa.Column("STPRS", _money(8), nullable=False, comment="unit price"),
    sa.Column("LABST", sa.Integer, nullable=False, comment="stock on hand"),
    sa.Column("MINBE", sa.Integer, nullable=False, comment="reorder point"),
    comment="spare parts",
)
sa.Table(
    "RESB",
    METADATA,
    sa.Column("RSNUM", sa.Integer, primary_key=True),
    sa.Column("AUFNR", sa.Integer, sa.ForeignKey("AUFK.AUFNR"), nullable=False, comment="order number"),
    sa.Column("MATNR", sa.String(8), sa.ForeignKey("MARA.MATNR"), nullable=False, comment="part number"),
    sa.Column("BDMNG", sa.Integer, nullable=False, comment="quantity used"),
    comment="parts used by orders",
)

MEANINGS = {
    "WERK.LAND1": {"DE": "German", "ES": "Spanish", "PL": "Polish", "US": "American"},
    "EQUI.EQART": {"P": "pumps", "M": "motors", "V": "valves", "C": "compressors", "H": "heat exchangers"},
    "EQUI.ABCKZ": {"A": "critical", "B": "important", "C": "minor"},
    "ARBPL.EXTRN": {"X": "contractors"},
    "AUFK.AUART": {"PM01": "breakdowns", "PM02": "preventive", "PM03": "inspections"},
    "AUFK.STAT": {"A": "open", "B": "in progress", "C": "completed", "X": "cancelled"},
}
"""What the codes stand for."""

_PLANTS = [  # code, name, city, country, share of the equipment
    ("1000", "Rhine Works", "Mannheim", "DE", 30),
    ("1100", "Hafen Works", "Hamburg", "DE", 18),
    ("1200", "Vistula Works", "Gdansk", "PL", 14),
    ("2000", "Lakeside Mill", "Toledo", "US", 22),
    ("2100", "Bayou Plant", "Baton Rouge", "US", 11),
    ("3000", "Turia Plant", "Valencia", "ES", 5),
]
_KINDS = {  # share, name, least and greatest value
    "P": (34, "Pump", 2_000, 45_000),
    "M": (27, "Motor", 800, 30_000),
    "V": (21, "Valve", 300, 9_000),
    "C": (10, "Compressor", 15_000, 180_000),
    "H": (8, "Heat exchanger", 8_000, 90_000),
}
_PLACES = ["Feed", "Cooling", "Boiler", "Reactor", "Transfer", "Dosing", "Vacuum", "Circulation", "Drain", "Intake"]
_CENTRES = [  # code, name, hourly rate, contractor, share of the orders
    ("MECH01", "Mechanics day shift", 52.0, None, 30),
    ("MECH02", "Mechanics night shift", 61.5, None, 17),
    ("ELEC01", "Electricians", 58.0, None, 20),
    ("INST01", "Instrumentation", 63.0, None, 11),
    ("WELD01", "Welding shop", 66.5, None, 6),
    ("LUBE01", "Lubrication crew", 44.0, None, 7),
    ("EXT001", "Crane service", 118.0, "X", 3),
    ("EXT002", "Insulation contractor", 74.0, "X", 4),
    ("EXT003", "Compressor specialists", 135.5, "X", 2),
    ("CALI01", "Calibration lab", 70.0, None, 0),
]
_PARTS = {  # name: variants, least and greatest price
    "Ball bearing": (["6204", "6205", "6308", "6312", "NU210"], 6, 140),
    "Shaft seal": (["25 mm", "32 mm", "40 mm", "50 mm"], 18, 420),
    "Gasket": (["DN25", "DN50", "DN80", "DN100"], 1, 22),
    "O-ring": (["NBR 30", "NBR 45", "FKM 30", "FKM 45"], 1, 9),
    "V-belt": (["A36", "A48", "B55", "B72"], 7, 38),
    "Filter element": (["10 micron", "25 micron", "80 micron"], 14, 190),
    "Impeller": (["160 mm", "200 mm", "250 mm"], 240, 1900),
    "Coupling": (["R28", "R38", "R48"], 45, 360),
    "Contactor": (["9 A", "25 A", "65 A"], 28, 210),
    "Fuse": (["16 A", "63 A", "125 A"], 2, 31),
    "Pressure sensor": (["10 bar", "40 bar"], 110, 480),
    "Temperature probe": (["PT100", "PT1000"], 35, 95),
    "Valve seat": (["DN25", "DN50"], 60, 310),
    "Actuator": (["pneumatic", "electric"], 390, 2600),
    "Lubricating oil": (["ISO 46", "ISO 68"], 9, 24),
    "Grease cartridge": (["400 g"], 8, 12),
    "Hex bolt set": (["M8", "M12", "M16"], 3, 19),
    "Hose": (["1 inch", "2 inch"], 21, 130),
}
_FIRST, _LAST = dt.date(2021, 1, 4), dt.date(2024, 12, 20)
_TYPES = {"PM01": 46, "PM02": 40, "PM03": 14}
"""PM01 breakdown, PM02 preventive, PM03 inspection."""


def _skewed(rng: random.Random, low: float, high: float) -> float:
    """Most values near ``low``; products only, so that every platform computes the same."""
    u = rng.random()
    return low + (high - low) * u * u * u


def _days(rng: random.Random, first: dt.date, last: dt.date) -> dt.date:
    return first + dt.timedelta(days=rng.randint(0, (last - first).days))


def _equipment(rng: random.Random, makers: list[str]) -> Iterator[dict]:
    kinds = list(_KINDS)
    numbers: dict[tuple[str, str], int] = {}
    for i in range(360):
        kind = rng.choices(kinds, [_KINDS[k][0] for k in kinds])[0]
        _, word, low, high = _KINDS[kind]
        place = rng.choice(_PLACES)
        numbers[place, kind] = numbers.get((place, kind), 0) + 1
        yield {
            "EQUNR": 10001 + i,
            "EQKTX": f"{place} {word.lower()} {numbers[place, kind]}",
            "EQART": kind,
            "WERKS": rng.choices([p[0] for p in _PLANTS], [p[4] for p in _PLANTS])[0],
            "HERST": rng.choices(makers, [1 / (n + 2) for n in range(len(makers))])[0] if rng.random() > 0.06 else None,
            "ANSWT": round(_skewed(rng, low, high), 0 if i % 3 else 2) if rng.random() > 0.05 else None,
            "INBDT": _days(rng, dt.date(2006, 3, 1), dt.date(2023, 10, 31)),
            "ABCKZ": rng.choices("ABC", [20, 45, 35])[0],
        }


def _parts(rng: random.Random) -> Iterator[dict]:
    number = 100
    for name, (variants, low, high) in _PARTS.items():
        for step, variant in enumerate(variants, 1):
            number += 1
            price = low + (high - low) * step * step / (len(variants) * len(variants)) * (0.7 + 0.3 * rng.random())
            reorder = rng.choice([2, 4, 5, 10, 20] if price > 50 else [10, 20, 25, 50])
            stock = 0 if rng.random() < 0.05 else rng.randint(reorder // 3, reorder * 4)
            yield {
                "MATNR": f"SP-{number}",
                "MAKTX": f"{name} {variant}",
                "STPRS": round(price, 2),
                "LABST": stock,
                "MINBE": reorder,
            }


def _orders(rng: random.Random, equipment: list[dict]) -> Iterator[dict]:
    trouble = [1 / (rng.randint(2, 50)) if e["EQUNR"] % 11 else 0.0 for e in equipment]  # some never had an order
    dates = sorted(_days(rng, _FIRST, _LAST) for _ in range(2400))
    for i, created in enumerate(dates):
        candidates = rng.choices(equipment, trouble, k=4)
        machine = next((e for e in candidates if e["INBDT"] < created), candidates[0])
        if machine["INBDT"] >= created:
            continue
        kind = rng.choices(list(_TYPES), list(_TYPES.values()))[0]
        urgent = [30, 35, 25, 10] if kind == "PM01" else [2, 18, 45, 35]
        recent = (_LAST - created).days < 60
        status = rng.choices("ABCX", [35, 30, 33, 2] if recent else [2, 2, 91, 5])[0]
        centre = rng.choices(_CENTRES, [c[4] for c in _CENTRES])[0] if rng.random() > 0.04 else None
        long_job = 0.25 if kind == "PM01" else 0.08
        hours = rng.randint(2, 24) / 2 if rng.random() > long_job else rng.randint(25, 120) / 2
        planned = 50 * rng.randint(3, 36) + (500 * rng.randint(0, 8) if machine["EQART"] in "CH" else 0)
        done = status == "C"
        rate = centre[2] if centre else 55.0
        actual = hours * rate * (0.9 + 0.4 * rng.random()) + _skewed(rng, 5, 1800)
        yield {
            "AUFNR": 400001 + i,
            "AUART": kind,
            "EQUNR": machine["EQUNR"],
            "ARBPL": centre[0] if centre else None,
            "PRIOK": rng.choices([1, 2, 3, 4], urgent)[0],
            "STAT": status,
            "ERDAT": created,
            "IDAT2": min(created + dt.timedelta(days=int(_skewed(rng, 0, 75))), dt.date(2024, 12, 31))
            if done
            else None,
            "ARBEI": hours if done or status == "B" else None,
            "KOSTP": float(planned),
            "KOSTI": round(actual, 2) if done and rng.random() > 0.03 else None,
        }


def _used(rng: random.Random, orders: list[dict], parts: list[dict]) -> Iterator[dict]:
    popularity = [0.0 if n % 13 == 5 else 1 / (1 + rng.randint(1, 25)) for n in range(len(parts))]
    number = 0
    for order in orders:
        if order["STAT"] not in "BC" or order["AUART"] == "PM03":
            continue
        wanted = {
            p["MATNR"]: p for p in rng.choices(parts, popularity, k=rng.choices([0, 1, 2, 3], [35, 35, 20, 10])[0])
        }
        for part in wanted.values():
            number += 1
            cheap = part["STPRS"] < 25
            yield {
                "RSNUM": number,
                "AUFNR": order["AUFNR"],
                "MATNR": part["MATNR"],
                "BDMNG": rng.randint(1, 12) if cheap else rng.choices([1, 2, 4], [75, 20, 5])[0],
            }


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    yield "WERK", [dict(zip(("WERKS", "NAME1", "ORT01", "LAND1"), p[:4], strict=True)) for p in _PLANTS]
    makers = [f"{fake.unique.last_name()} {suffix}" for suffix in ("AG", "Inc", "GmbH", "Ltd", "Inc", "SA", "Corp")]
    equipment = list(_equipment(rng, makers))
    yield "EQUI", equipment
    yield "ARBPL", [dict(zip(("ARBPL", "KTEXT", "LSTPR", "EXTRN"), c[:4], strict=True)) for c in _CENTRES]
    orders = list(_orders(rng, equipment))
    yield "AUFK", orders
    parts = list(_parts(rng))
    yield "MARA", parts
    yield "RESB", list(_used(rng, orders, parts))
