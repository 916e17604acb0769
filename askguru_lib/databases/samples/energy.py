"""An energy utility: feeders, sites, meters, dated tariffs, readings, invoices, outages; short technical names."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from faker import Faker

TITLE = "Energy metering"
METADATA = sa.MetaData()

sa.Table(
    "fdr",
    METADATA,
    sa.Column("fdr_id", sa.String(6), primary_key=True),
    sa.Column("fdr_nm", sa.String(30), nullable=False, comment="name of the line"),
    sa.Column("volt_kv", sa.Integer, nullable=False, comment="rated voltage, kV"),
    comment="feeders of the power grid",
)
sa.Table(
    "site",
    METADATA,
    sa.Column("site_id", sa.Integer, primary_key=True),
    sa.Column("cust_nm", sa.String(60), nullable=False, comment="who gets the bill"),
    sa.Column("town", sa.String(20), nullable=False),
    sa.Column("seg", sa.String(3), nullable=False, comment="customer segment"),
    sa.Column("fdr_id", sa.String(6), sa.ForeignKey("fdr.fdr_id"), comment="empty without a power connection"),
    comment="places we supply",
)
sa.Table(
    "mtr",
    METADATA,
    sa.Column("mtr_no", sa.String(8), primary_key=True, comment="number on the plate"),
    sa.Column("site_id", sa.Integer, sa.ForeignKey("site.site_id"), nullable=False),
    sa.Column("med", sa.String(1), nullable=False, comment="medium"),
    sa.Column("tech", sa.String(3), nullable=False, comment="kind of device"),
    sa.Column("inst_dt", sa.Date, nullable=False, comment="installed"),
    sa.Column("rem_dt", sa.Date, comment="removed, empty while in use"),
    comment="meters",
)
sa.Table(
    "trf",
    METADATA,
    sa.Column("trf_id", sa.Integer, primary_key=True),
    sa.Column("trf_cd", sa.String(3), nullable=False, comment="product"),
    sa.Column("vld_fr", sa.Date, nullable=False, comment="prices apply from"),
    sa.Column("vld_to", sa.Date, comment="last day, empty for current prices"),
    sa.Column("base_fee", sa.Numeric(7, 2, asdecimal=False), nullable=False, comment="standing charge, EUR per month"),
    sa.Column("unit_prc", sa.Numeric(6, 2, asdecimal=False), nullable=False, comment="energy price, ct/kWh"),
    comment="price list, one row per product and period",
)
sa.Table(
    "rdg",
    METADATA,
    sa.Column("mtr_no", sa.String(8), sa.ForeignKey("mtr.mtr_no"), primary_key=True),
    sa.Column("rd_dt", sa.Date, primary_key=True, comment="day of reading"),
    sa.Column("val", sa.Numeric(11, 1, asdecimal=False), nullable=False, comment="counter, kWh; gas in m3"),
    sa.Column("src", sa.String(1), nullable=False, comment="how it was obtained"),
    comment="meter readings, counters only go up",
)
sa.Table(
    "inv",
    METADATA,
    sa.Column("inv_no", sa.Integer, primary_key=True),
    sa.Column("mtr_no", sa.String(8), sa.ForeignKey("mtr.mtr_no"), nullable=False),
    sa.Column("trf_id", sa.Integer, sa.ForeignKey("trf.trf_id"), nullable=False, comment="prices used"),
    sa.Column("inv_dt", sa.Date, nullable=False, comment="issued, due 14 days later"),
    sa.Column("qty", sa.Integer, nullable=False, comment="billed energy, kWh"),
    sa.Column("net_amt", sa.Numeric(10, 2, asdecimal=False), nullable=False, comment="EUR before tax"),
    sa.Column("paid_dt", sa.Date, comment="money received, empty if not yet"),
    comment="quarterly bills since April 2023, one per meter",
)
sa.Table(
    "outg",
    METADATA,
    sa.Column("outg_id", sa.Integer, primary_key=True),
    sa.Column("fdr_id", sa.String(6), sa.ForeignKey("fdr.fdr_id"), nullable=False),
    sa.Column("beg_dt", sa.Date, nullable=False, comment="power lost on"),
    sa.Column("dur_min", sa.Integer, comment="minutes until restored, empty if not logged"),
    sa.Column("cause", sa.String(4), nullable=False, comment="why the line was dead"),
    comment="power cuts",
)

MEANINGS = {
    "site.seg": {"RES": "residential", "COM": "commercial", "IND": "industrial", "PUB": "public"},
    "mtr.med": {"E": "electricity", "G": "gas", "H": "district heat"},
    "mtr.tech": {"CLS": "classic", "SMT": "smart"},
    "trf.trf_cd": {
        **{"EBA": "basic power", "EGR": "green power", "EBU": "business power", "ENT": "night power"},
        **{"EIN": "industrial power", "GBA": "basic gas", "GBU": "business gas", "GIN": "industrial gas"},
        "HBA": "heat",
    },
    "rdg.src": {"R": "remote", "M": "manual", "E": "estimated"},
    "outg.cause": {
        **{"STRM": "storm", "TREE": "fallen tree", "EQPT": "equipment failure", "DIGG": "digging damage"},
        **{"ANML": "animal contact", "PLAN": "planned work"},
    },
}
"""What the codes stand for."""

_TOWNS = {"Norwick": 30, "Elmford": 24, "Castlebay": 16, "Brookfield": 14, "Dunmore": 10, "Westhaven": 6}
_FEEDERS = [  # name, voltage, town; nobody hangs on the last one
    *[("Mill Lane", 10, "Norwick"), ("Norwick Docks", 20, "Norwick"), ("Norwick Central", 20, "Norwick")],
    *[("Elmford East", 20, "Elmford"), ("Elmford West", 10, "Elmford"), ("Harbour Road", 10, "Castlebay")],
    *[("Castle Hill", 10, "Castlebay"), ("Brookfield", 10, "Brookfield"), ("Steelworks", 30, "Brookfield")],
    *[("Dunmore Village", 10, "Dunmore"), ("Coast Line", 10, "Westhaven"), ("Wind Park Tie", 110, "Westhaven")],
]
_SEGMENTS = {"RES": 62, "COM": 21, "PUB": 10, "IND": 7}
_YEARLY = {  # kWh, least and most, by medium and segment
    "E": {"RES": (1500, 6500), "COM": (6000, 70000), "PUB": (9000, 120000), "IND": (180000, 1400000)},
    "G": {"RES": (7000, 24000), "COM": (15000, 110000), "PUB": (30000, 200000), "IND": (250000, 1600000)},
    "H": {"RES": (5000, 16000), "COM": (12000, 80000), "PUB": (25000, 150000), "IND": (90000, 400000)},
}
_SEASON = {  # per mille of a year's use by month
    "E": [98, 90, 88, 80, 76, 72, 72, 74, 77, 85, 91, 97],
    "G": [172, 150, 124, 78, 42, 18, 14, 15, 31, 76, 124, 156],
    "H": [168, 148, 122, 80, 46, 22, 18, 18, 33, 76, 118, 151],
}
_PRICES = {  # EUR per month and ct/kWh in 2023
    **{"EBA": (11.5, 38.9), "EGR": (12.9, 40.3), "EBU": (19.0, 34.6), "EIN": (85.0, 26.2), "ENT": (13.5, 31.9)},
    **{"GBA": (9.8, 14.7), "GBU": (16.5, 13.1), "GIN": (70.0, 9.4), "HBA": (14.2, 15.8)},
}
_CHANGES = [(2022 * 12, 0.81), (2022 * 12 + 9, 0.96), (2023 * 12 + 3, 1.0), (2024 * 12, 0.91), (2025 * 12, 0.88)]
_PUBLIC = ["Town Hall", "Library", "Primary School", "Fire Station", "Swimming Pool", "Secondary School", "Hospital"]
_TRADES = ["Foods", "Steel", "Paper", "Chemicals", "Plastics", "Textiles"]
_CAUSES = {  # share in summer and in winter, shortest and longest in minutes
    **{"STRM": (12, 34, 40, 900), "TREE": (16, 18, 30, 420), "EQPT": (20, 22, 15, 600)},
    **{"DIGG": (18, 6, 45, 360), "ANML": (12, 4, 5, 120), "PLAN": (22, 16, 60, 300)},
}
_START, _END, _TODAY = 2023 * 12, 2025 * 12 + 6, dt.date(2025, 7, 31)


def _pick(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _first(month: int) -> dt.date:
    """The first day of a month; months are counted from year 0."""
    return dt.date(month // 12, month % 12 + 1, 1)


def _sites(rng: random.Random, fake: Faker, feeders: list[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    public = [f"{town} {kind}" for kind in _PUBLIC for town in _TOWNS]
    shops = [fake.company() for _ in range(number // 6)]  # some have several places
    for i in range(1, number + 1):
        seg = _pick(rng, _SEGMENTS)
        name = {
            "RES": f"{fake.first_name()} {fake.last_name()}",
            "COM": rng.choice(shops),
            "PUB": public[i * 5 % len(public)],
            "IND": f"{fake.last_name()} {_TRADES[i % 6]}",
        }[seg]
        town = {"PUB": name.split()[0], "IND": rng.choice(["Norwick", "Brookfield"])}.get(seg) or _pick(rng, _TOWNS)
        near = [f["fdr_id"] for f in feeders if f["town"] == town and f["volt_kv"] < (31 if seg == "IND" else 30)]
        fdr = near[-1] if seg == "IND" else rng.choice([*near, *near, *near, None])
        yield {"site_id": 3000 + i, "cust_nm": name, "town": town, "seg": seg, "fdr_id": fdr}


def _meters(rng: random.Random, sites: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Some classic meters give way to smart ones; product, yearly use and counter stay out of the table."""
    number = 51000
    for site in sites[:-2]:  # the last two wait for their meters
        power, industry = "E" if site["fdr_id"] else "", site["seg"] == "IND"
        for med in power + ("G" if industry else rng.choices(["", "G", "H"], [40 if power else 0, 46, 14])[0]):
            u = rng.random()
            low, high = _YEARLY[med][site["seg"]]
            code = med + ("BA" if site["seg"] == "RES" or med == "H" else "IN" if industry else "BU")
            code = "EGR" if med == "E" and site["seg"] in ("RES", "PUB") and rng.random() < 0.35 else code
            smart = rng.random() < (0.8 if industry else 0.3)
            months = rng.randint(1, 50 if smart else 220)  # in use when the data begin
            swap = _START + 3 * rng.randint(1, 9) if not smart and rng.random() < 0.22 else _END
            for first, last, new in [(_START - months, swap, smart), (swap, _END, True)][: 1 + (swap < _END)]:
                number += rng.randint(1, 40)
                yield {
                    **{"mtr_no": f"{med}{number}", "site_id": site["site_id"], "med": med, "trf_cd": code},
                    **{"tech": "SMT" if new else "CLS", "inst_dt": _first(first), "first": first, "last": last},
                    "rem_dt": None if last == _END else _first(last),
                    "yearly": low + (high - low) * u * u,
                }


def _tariffs() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for code, (fee, price) in _PRICES.items():
        changes = [c for c in _CHANGES if code != "HBA" or c[0] % 12 == 0]
        ends = [*(_first(month) - dt.timedelta(days=1) for month, _ in changes[1:]), None]
        for (month, factor), end in list(zip(changes, ends, strict=True))[: 2 if code == "ENT" else None]:
            row = {"trf_cd": code, "vld_fr": _first(month), "vld_to": end, "unit_prc": round(price * factor, 2)}
            rows.append({**row, "base_fee": round(fee * (1.1 if month >= 2024 * 12 else 1), 2)})
    rows.sort(key=lambda r: r["vld_fr"])
    return [{"trf_id": i, **r} for i, r in enumerate(rows, 1)]


def _readings(rng: random.Random, meter: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every month from smart meters, every quarter from classic ones; with what was used in the quarter."""
    smart, old = meter["tech"] == "SMT", max(0, _START - meter["first"])
    counter, quarter = meter["yearly"] * old / 12 * (0.85 + 0.3 * rng.random()), 0.0
    for month in range(max(meter["first"], _START), meter["last"] + 1):
        if month % 3 == 0 or (smart and rng.random() < 0.99):
            src = rng.choices("RE" if smart else "ME", [96, 4] if smart else [78, 22])[0]
            day = _first(month) + dt.timedelta(days=rng.randint(0, 3) if src == "M" and month < meter["last"] else 0)
            val = round(counter / (10.4 if meter["med"] == "G" else 1), 1)  # kWh in a m3 of gas
            used = round(quarter) if month % 3 == 0 else 0
            yield {"mtr_no": meter["mtr_no"], "rd_dt": day, "val": val, "src": src, "month": month, "used": used}
            quarter = quarter if month % 3 else 0.0
        use = meter["yearly"] * _SEASON[meter["med"]][month % 12] / 1000 * (0.85 + 0.3 * rng.random())
        counter, quarter = counter + use, quarter + use


def _invoice(rng: random.Random, reading: dict[str, Any], tariffs: list[dict[str, Any]], code: str) -> dict[str, Any]:
    """For the quarter that ends with a reading; one customer in eight is slow to pay."""
    begun, used = _first(reading["month"] - 3), reading["used"]
    trf = next(t for t in reversed(tariffs) if t["trf_cd"] == code and t["vld_fr"] <= begun)
    fee = 0 if rng.random() < 0.004 else 3 * trf["base_fee"]  # now and then the standing charge is forgotten
    issued = _first(reading["month"]) + dt.timedelta(days=rng.randint(5, 20))
    u, slow = rng.random(), int(reading["mtr_no"][1:]) % 8 == 0
    wait = 15 + int(80 * u * u) if rng.random() < (0.4 if slow else 0.08) else rng.randint(4, 14)
    paid = issued + dt.timedelta(days=wait)
    return {
        **{"mtr_no": reading["mtr_no"], "trf_id": trf["trf_id"], "inv_dt": issued, "qty": used},
        "net_amt": round(used * trf["unit_prc"] / 100 + fee, 2),
        "paid_dt": None if paid > _TODAY or rng.random() < (0.15 if slow else 0.005) else paid,
    }


def _outages(rng: random.Random, feeders: list[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    day = dt.date(2022, 1, 3)
    for i in range(1, number + 1):
        cause = _pick(rng, {c: spec[day.month in (11, 12, 1, 2)] for c, spec in _CAUSES.items()})
        _, _, shortest, longest = _CAUSES[cause]
        u = rng.random()
        minutes = shortest + int((longest - shortest) * u * u)
        minutes -= minutes % 15 if cause == "PLAN" else 0
        fdr = rng.choices(feeders, [(1 + n % 4) / f["volt_kv"] for n, f in enumerate(feeders)])[0]["fdr_id"]
        row = {"outg_id": i, "fdr_id": fdr, "beg_dt": day, "cause": cause}
        yield {**row, "dur_min": None if rng.random() < 0.06 else minutes}
        day += dt.timedelta(days=rng.randint(0, 14))


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    feeders: list[dict[str, Any]] = [
        {"fdr_id": f"F{10 * i:03}", "fdr_nm": f[0], "volt_kv": f[1], "town": f[2]} for i, f in enumerate(_FEEDERS, 1)
    ]
    sites, tariffs = list(_sites(rng, fake, feeders, 150)), _tariffs()
    meters = list(_meters(rng, sites))
    readings = [r for meter in meters for r in _readings(rng, meter)]
    codes = {meter["mtr_no"]: meter["trf_cd"] for meter in meters}
    invoices = [_invoice(rng, r, tariffs, codes[r["mtr_no"]]) for r in readings if r["used"]]
    invoices.sort(key=lambda i: (i["inv_dt"], i["mtr_no"]))
    tables = {"fdr": feeders, "site": sites, "mtr": meters, "trf": tariffs, "rdg": readings}
    tables["inv"] = [{"inv_no": 880000 + i, **invoice} for i, invoice in enumerate(invoices, 1)]
    tables["outg"] = list(_outages(rng, feeders, 190))
    for name, rows in tables.items():
        yield name, [{c.name: row[c.name] for c in METADATA.tables[name].columns} for row in rows]
