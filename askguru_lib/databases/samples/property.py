"""A real-estate agency: owners, properties, agents, viewings, offers, contracts. Abbreviated, partly capital names."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "Real-estate agency"
METADATA = sa.MetaData()

sa.Table(
    "OWN",
    METADATA,
    sa.Column("OWN_ID", sa.Integer, primary_key=True),
    sa.Column("OWN_NM", sa.String(50), nullable=False, comment="owner name"),
    sa.Column("OWN_TYP", sa.String(1), nullable=False, comment="kind of owner"),
    comment="owners",
)
sa.Table(
    "BRKR",
    METADATA,
    sa.Column("BRK_ID", sa.Integer, primary_key=True),
    sa.Column("BRK_NM", sa.String(40), nullable=False, comment="agent name"),
    sa.Column("OFF_CD", sa.String(3), nullable=False, comment="branch office"),
    sa.Column("SHR_PCT", sa.Integer, nullable=False, comment="part of the commission the agent keeps, in percent"),
    comment="our agents",
)
sa.Table(
    "PROP",
    METADATA,
    sa.Column("PROP_NO", sa.Integer, primary_key=True, comment="property number"),
    sa.Column("OWN_ID", sa.Integer, sa.ForeignKey("OWN.OWN_ID"), nullable=False),
    sa.Column("BRK_ID", sa.Integer, sa.ForeignKey("BRKR.BRK_ID"), comment="agent in charge, empty until assigned"),
    sa.Column("PR_TYP", sa.String(1), nullable=False, comment="kind of property"),
    sa.Column("DEAL_TYP", sa.String(1), nullable=False, comment="sale or lease"),
    sa.Column("DIST", sa.String(20), nullable=False, comment="part of town"),
    sa.Column("AREA (M2)", sa.Numeric(7, 1, asdecimal=False), comment="floor space, for land the plot"),
    sa.Column("RMS", sa.Integer, comment="rooms, homes only"),
    sa.Column("BLT_YR", sa.Integer, comment="year of construction"),
    sa.Column("ASK_PRC", sa.Integer, nullable=False, comment="asking price; rent per month if to let"),
    sa.Column("LIST_DT", sa.Date, nullable=False, comment="on the market since"),
    comment="properties we offer",
)
sa.Table(
    "clnt",
    METADATA,
    sa.Column("cl_id", sa.Integer, primary_key=True),
    sa.Column("cl_nm", sa.String(40), nullable=False, comment="client name"),
    sa.Column("src_cd", sa.String(1), nullable=False, comment="how they found us"),
    comment="clients looking for a property",
)
sa.Table(
    "vwg",
    METADATA,
    sa.Column("prop_no", sa.Integer, sa.ForeignKey("PROP.PROP_NO"), primary_key=True, comment="property number"),
    sa.Column("cl_id", sa.Integer, sa.ForeignKey("clnt.cl_id"), primary_key=True),
    sa.Column("vw_dt", sa.Date, primary_key=True, comment="day of the viewing"),
    sa.Column("rtg", sa.Integer, comment="client feedback, 1 poor to 5 love it"),
    comment="viewings",
)
sa.Table(
    "OFFR",
    METADATA,
    sa.Column("OFFR_ID", sa.Integer, primary_key=True),
    sa.Column("PROP_NO", sa.Integer, sa.ForeignKey("PROP.PROP_NO"), nullable=False, comment="property number"),
    sa.Column("CL_ID", sa.Integer, sa.ForeignKey("clnt.cl_id"), nullable=False, comment="client who made it"),
    sa.Column("OFFR_DT", sa.Date, nullable=False, comment="date of the offer"),
    sa.Column("OFFR_AMT", sa.Integer, nullable=False, comment="amount; rent per month for a lease"),
    sa.Column("OFFR_ST", sa.String(1), nullable=False),
    comment="offers",
)
sa.Table(
    "contr",
    METADATA,
    sa.Column("contr_no", sa.Integer, primary_key=True, comment="contract number"),
    sa.Column("offr_id", sa.Integer, sa.ForeignKey("OFFR.OFFR_ID"), nullable=False, comment="accepted offer"),
    sa.Column("sgn_dt", sa.Date, nullable=False, comment="signed on"),
    sa.Column("term_mo", sa.Integer, comment="months of a fixed-term lease"),
    sa.Column("comm_amt", sa.Numeric(9, 2, asdecimal=False), nullable=False, comment="our commission"),
    comment="signed sales and leases",
)

MEANINGS = {
    "OWN.OWN_TYP": {"P": "private", "C": "corporate", "M": "municipal"},
    "BRKR.OFF_CD": {"CTR": "city centre", "HBR": "harbour", "WST": "west side"},
    "PROP.PR_TYP": {"F": "flats", "H": "houses", "S": "shops", "L": "land"},
    "PROP.DEAL_TYP": {"S": "for sale", "R": "to let"},
    "clnt.src_cd": {"P": "portal", "W": "website", "R": "referral", "B": "signboard"},
    "OFFR.OFFR_ST": {"A": "accepted", "D": "declined", "W": "withdrawn", "P": "pending"},
}
"""What the codes stand for."""

_DISTRICTS = {  # share, sale price and monthly rent of a square metre, office
    "Old Town": (20, 5200, 15.5, "CTR"),
    "Station Quarter": (17, 3600, 12.5, "CTR"),
    "Harbour": (16, 4700, 14.5, "HBR"),
    "Lighthouse Point": (9, 5900, 17.0, "HBR"),
    "Westfield": (18, 2900, 10.0, "WST"),
    "Mill Park": (13, 3300, 11.0, "WST"),
    "Quarry Hill": (7, 2300, 8.5, "WST"),
}
_KINDS = {  # share, part to let, smallest and largest area, price factor
    "F": (54, 0.58, 27, 128, 1.0),
    "H": (23, 0.12, 84, 260, 0.9),
    "S": (13, 0.75, 32, 380, 1.15),
    "L": (10, 0.0, 280, 1900, 0.11),
}
_OFFICES = {"CTR": 6, "HBR": 4, "WST": 4}
_FIRST, _LAST = dt.date(2021, 1, 4), dt.date(2025, 11, 28)


def _owners(rng: random.Random, fake: Faker) -> list[dict]:
    towns = ["City of Norwick", "Norwick Housing Trust", "Port Authority", "School District", "Water Works"]
    kinds = [*"M" * len(towns), *rng.choices("PC", [82, 18], k=185)]
    rng.shuffle(kinds)
    names = [fake.company() if k == "C" else f"{fake.first_name()} {fake.last_name()}" for k in kinds]
    return [
        {"OWN_ID": i, "OWN_NM": towns.pop() if kind == "M" else name, "OWN_TYP": kind}
        for i, (kind, name) in enumerate(zip(kinds, names, strict=True), 1)
    ]


def _properties(rng: random.Random, owners: list[dict], agents: list[dict]) -> list[dict]:
    holdings = [(2.5 if o["OWN_TYP"] == "C" else 1) / rng.randint(1, 3) if o["OWN_ID"] % 24 else 0.0 for o in owners]
    listed = sorted(_FIRST + dt.timedelta(days=rng.randint(0, (_LAST - _FIRST).days - 4)) for _ in range(430))
    rows = []
    for i, day in enumerate(listed, 1):
        kind = rng.choices(list(_KINDS), [k[0] for k in _KINDS.values()])[0]
        district = rng.choices(list(_DISTRICTS), [d[0] for d in _DISTRICTS.values()])[0]
        _, let, smallest, largest, factor = _KINDS[kind]
        _, price, rent, office = _DISTRICTS[district]
        to_let = rng.random() < let
        area = smallest + (largest - smallest) * rng.random() * (0.4 + 0.6 * rng.random())
        worth = area * factor * (0.82 + 0.4 * rng.random()) * (rent if to_let else price)
        near = [a for a in agents[:-1] if a["OFF_CD"] == office or rng.random() < 0.08]  # the last is new
        unassigned = (_LAST - day).days < 40 and rng.random() < 0.6
        built = 2024 - int(rng.random() * rng.random() * 140)
        rows.append(
            {
                "PROP_NO": 1000 + i,
                "OWN_ID": rng.choices(owners, holdings)[0]["OWN_ID"],
                "BRK_ID": None if unassigned else rng.choices(near, [1 / (a["BRK_ID"] + 2) for a in near])[0]["BRK_ID"],
                "PR_TYP": kind,
                "DEAL_TYP": "R" if to_let else "S",
                "DIST": district,
                "AREA (M2)": None if rng.random() < 0.03 else round(area * 2) / 2,
                "RMS": max(1 + (kind == "H"), round(area / 27) + rng.choice([-1, 0, 0, 1])) if kind in "FH" else None,
                "BLT_YR": None if kind == "L" or rng.random() < 0.06 else min(built, day.year - 1),
                "ASK_PRC": round(worth / 10) * 10 if to_let else round(worth / 1000) * 1000,
                "LIST_DT": day,
            }
        )
    return rows


def _offers(rng: random.Random, home: dict, client: int, day: dt.date) -> Iterator[dict]:
    """A client's offers for one property after a viewing; some come back with more when they were declined."""
    step = 5 if home["DEAL_TYP"] == "R" else 500
    share = 0.86 + 0.17 * rng.random()
    day += dt.timedelta(days=rng.randint(1, 7))
    while day <= _LAST:
        state = rng.choices("ADW", [68, 19, 13] if share > 0.94 else [28, 59, 13])[0]
        state = "P" if (_LAST - day).days < 20 and rng.random() < 0.7 else state
        amount = round(home["ASK_PRC"] * share / step) * step
        yield {"PROP_NO": home["PROP_NO"], "CL_ID": client, "OFFR_DT": day, "OFFR_AMT": amount, "OFFR_ST": state}
        if state != "D" or rng.random() < 0.5:
            return
        share *= 1.02 + 0.05 * rng.random()
        day += dt.timedelta(days=rng.randint(2, 14))


def _contract(rng: random.Random, home: dict, offer: dict) -> dict:
    rent, delay, fees = home["DEAL_TYP"] == "R", rng.randint(14, 75), [0.025, 0.03, 0.03, 0.0357]
    term = None
    if rent:
        delay, fees = 2 + delay // 4, [2, 2, 2.5, 3]
        term = rng.choice([12, 24, 36, 60] if home["PR_TYP"] == "S" else [None, None, 12, 24])
    signed, fee = offer["OFFR_DT"] + dt.timedelta(days=delay), round(offer["OFFR_AMT"] * rng.choice(fees), 2)
    return {"offer": offer, "sgn_dt": signed, "term_mo": term, "comm_amt": fee}


def _market(rng: random.Random, homes: list[dict], clients: list[dict]) -> tuple[list[dict], list[dict], list[dict]]:
    """Viewings, the offers that follow some of them, and the contracts that end it."""
    seekers: dict[str, list[list]] = {"R": [], "S": []}
    for client in clients[:-28]:  # the others registered and never came
        start = _FIRST + dt.timedelta(days=rng.randint(-60, (_LAST - _FIRST).days))
        wanted = rng.choices("RS", [46, 54])[0]
        seekers[wanted].append([client["cl_id"], start, start + dt.timedelta(days=rng.randint(60, 270))])
    viewings: dict[tuple, dict] = {}
    offers: list[dict] = []
    contracts: list[dict] = []
    for home in homes:
        day, number = home["LIST_DT"], home["PROP_NO"]
        for _ in range(int((0.3 + 0.7 * rng.random()) * (0.1 + 0.9 * rng.random()) * 24) if home["BRK_ID"] else 0):
            day += dt.timedelta(days=rng.randint(0, 12))
            pool = [s for s in seekers[home["DEAL_TYP"]] if s[1] <= day <= s[2] and (number, s[0], day) not in viewings]
            if day > _LAST or not pool:
                break
            seeker = rng.choice(pool)
            rating = rng.choices([None, 1, 2, 3, 4, 5], [26, 8, 14, 22, 19, 11])[0]
            viewings[number, seeker[0], day] = {"prop_no": number, "cl_id": seeker[0], "vw_dt": day, "rtg": rating}
            keen = rng.random() < {None: 0.2, 3: 0.15, 4: 0.4, 5: 0.65}.get(rating, 0.0)
            made = list(_offers(rng, home, seeker[0], day)) if keen else []
            offers += made
            if made and made[-1]["OFFR_ST"] == "A":
                contracts.append(_contract(rng, home, made[-1]))
                seeker[2] = _FIRST  # looks no further
            if made and made[-1]["OFFR_ST"] in "AP":
                break
    offers.sort(key=lambda o: (o["OFFR_DT"], o["PROP_NO"], o["CL_ID"]))
    for i, offer in enumerate(offers, 1):
        offer["OFFR_ID"] = i
    signed = [{"offr_id": c.pop("offer")["OFFR_ID"], **c} for c in contracts if c["sgn_dt"] <= _LAST]
    signed.sort(key=lambda c: (c["sgn_dt"], c["offr_id"]))
    return (
        [viewings[key] for key in sorted(viewings)],
        offers,
        [{"contr_no": 9000 + i, **c} for i, c in enumerate(signed, 1)],
    )


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    owners = _owners(rng, fake)
    yield "OWN", owners
    offices = [office for office, number in _OFFICES.items() for _ in range(number)]
    shares = rng.choices([30, 35, 40, 45, 50], [15, 30, 30, 15, 10], k=len(offices))
    names = [f"{fake.first_name()} {fake.unique.last_name()}" for _ in offices]
    agents = [
        {"BRK_ID": i, "BRK_NM": name, "OFF_CD": office, "SHR_PCT": share}
        for i, (name, office, share) in enumerate(zip(names, offices, shares, strict=True), 1)
    ]
    yield "BRKR", agents
    homes = _properties(rng, owners, agents)
    yield "PROP", homes
    found_by = rng.choices("PWRB", [46, 25, 19, 10], k=560)
    clients = [
        {"cl_id": i, "cl_nm": f"{fake.first_name()} {fake.last_name()}", "src_cd": code}
        for i, code in enumerate(found_by, 1)
    ]
    yield "clnt", clients
    viewings, offers, contracts = _market(rng, homes, clients)
    yield "vwg", viewings
    yield "OFFR", offers
    yield "contr", contracts
