"""Insurance claims: abbreviated names and one-letter codes, as an old policy system keeps them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "Insurance claims"
METADATA = sa.MetaData()


def _money(digits: int) -> sa.Numeric:
    return sa.Numeric(digits, 2, asdecimal=False)


sa.Table(
    "agt",
    METADATA,
    sa.Column("agt_id", sa.Integer, primary_key=True),
    sa.Column("agt_nm", sa.String(40), nullable=False, comment="agent name"),
    sa.Column("rgn_cd", sa.String(2), nullable=False, comment="sales region"),
    comment="agents who sell policies",
)
sa.Table(
    "cust",
    METADATA,
    sa.Column("cust_id", sa.Integer, primary_key=True),
    sa.Column("cust_nm", sa.String(40), nullable=False, comment="customer name"),
    sa.Column("dob", sa.Date, comment="date of birth"),
    sa.Column("st_cd", sa.String(2), nullable=False, comment="state of residence"),
    sa.Column("seg_cd", sa.String(1), nullable=False, comment="customer segment"),
    comment="customers",
)
sa.Table(
    "pol",
    METADATA,
    sa.Column("pol_no", sa.String(8), primary_key=True, comment="policy number"),
    sa.Column("cust_id", sa.Integer, sa.ForeignKey("cust.cust_id"), nullable=False),
    sa.Column("agt_id", sa.Integer, sa.ForeignKey("agt.agt_id"), comment="empty when sold online"),
    sa.Column("lob_cd", sa.String(1), nullable=False, comment="line of business"),
    sa.Column("eff_dt", sa.Date, nullable=False, comment="start of cover"),
    sa.Column("exp_dt", sa.Date, nullable=False, comment="end of cover"),
    sa.Column("prem_amt", _money(9), nullable=False, comment="yearly premium"),
    sa.Column("ded_amt", sa.Integer, comment="deductible"),
    comment="policies",
)
sa.Table(
    "adj",
    METADATA,
    sa.Column("adj_id", sa.Integer, primary_key=True),
    sa.Column("adj_nm", sa.String(40), nullable=False, comment="adjuster name"),
    sa.Column("tm_cd", sa.String(4), nullable=False),
    sa.Column("hire_dt", sa.Date, nullable=False, comment="hired on"),
    comment="claim adjusters",
)
sa.Table(
    "clm_hdr",
    METADATA,
    sa.Column("clm_no", sa.Integer, primary_key=True, comment="claim number"),
    sa.Column("pol_no", sa.String(8), sa.ForeignKey("pol.pol_no"), nullable=False, comment="policy number"),
    sa.Column("adj_id", sa.Integer, sa.ForeignKey("adj.adj_id"), comment="empty until assigned"),
    sa.Column("loss_dt", sa.Date, nullable=False, comment="date of loss"),
    sa.Column("rpt_dt", sa.Date, nullable=False, comment="date reported"),
    sa.Column("cause_cd", sa.String(4), nullable=False, comment="cause of loss"),
    sa.Column("st_cd", sa.String(1), nullable=False, comment="claim status"),
    sa.Column("res_amt", _money(10), nullable=False, comment="reserve"),
    sa.Column("frd_flg", sa.String(1), nullable=False, comment="Y fraud suspected"),
    comment="claims",
)
sa.Table(
    "clm_pmt",
    METADATA,
    sa.Column("pmt_id", sa.Integer, primary_key=True),
    sa.Column("clm_no", sa.Integer, sa.ForeignKey("clm_hdr.clm_no"), nullable=False, comment="claim number"),
    sa.Column("pmt_dt", sa.Date, nullable=False, comment="paid on"),
    sa.Column("pmt_amt", _money(10), nullable=False, comment="amount paid"),
    sa.Column("pmt_typ", sa.String(1), nullable=False, comment="payment type"),
)

MEANINGS = {
    "agt.rgn_cd": {"NE": "northeastern", "MW": "midwestern", "SO": "southern", "WE": "western"},
    "adj.tm_cd": {"FAST": "fast track", "PROP": "property", "CASU": "casualty", "SIU": "special investigations"},
    "cust.seg_cd": {"P": "private", "B": "business"},
    "pol.lob_cd": {"A": "auto", "H": "home", "L": "liability", "T": "travel"},
    "clm_hdr.cause_cd": {
        **{"COLL": "collision", "THFT": "theft", "HAIL": "hail", "GLAS": "broken glass", "WATR": "water damage"},
        **{"FIRE": "fire", "WIND": "storm", "INJ": "injury", "PROP": "property damage", "CANC": "cancelled trip"},
        "MED": "medical treatment",
    },
    "clm_hdr.st_cd": {"O": "open", "P": "in review", "C": "closed", "D": "denied"},
    "clm_hdr.frd_flg": {"Y": "suspicious", "N": "not suspicious"},
    "clm_pmt.pmt_typ": {"I": "indemnity", "E": "expense", "R": "recovery"},
}
"""What the codes stand for."""

_REGIONS = {"NE": 8, "MW": 7, "SO": 5, "WE": 4}
_STATES = {"TX": 21, "CA": 19, "FL": 14, "NY": 12, "OH": 9, "IL": 8, "GA": 6, "WA": 5, "CO": 4, "ME": 2}
_LINES = {  # auto, home, liability, travel: share, premium from, to, deductibles, causes with shares, greatest loss
    "A": (46, 420, 2900, [250, 500, 1000], {"COLL": 60, "THFT": 14, "HAIL": 12, "GLAS": 14}, 15_000),
    "H": (32, 510, 4200, [500, 1000, 2500], {"WATR": 40, "FIRE": 12, "THFT": 18, "WIND": 22, "HAIL": 8}, 24_000),
    "L": (8, 300, 6500, [1000, 2500, 5000], {"INJ": 65, "PROP": 35}, 40_000),
    "T": (14, 45, 390, [0, 100], {"CANC": 55, "MED": 25, "THFT": 20}, 1_200),
}
_TEAMS = {"FAST": 7, "PROP": 6, "CASU": 4, "SIU": 3}
_FIRST, _LAST = dt.date(2021, 1, 1), dt.date(2024, 12, 31)


def _skewed(rng: random.Random, low: float, high: float) -> float:
    """Most values near ``low``; products only, so that every platform computes the same."""
    u = rng.random()
    return low + (high - low) * u * u * u


def _days(rng: random.Random, first: dt.date, last: dt.date) -> dt.date:
    return first + dt.timedelta(days=rng.randint(0, (last - first).days))


def _pick(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _agents(fake: Faker) -> Iterator[dict]:
    regions = [region for region, number in _REGIONS.items() for _ in range(number)]
    for i, region in enumerate(regions, 1):
        yield {"agt_id": i, "agt_nm": f"{fake.first_name()} {fake.unique.last_name()}", "rgn_cd": region}


def _customers(rng: random.Random, fake: Faker) -> Iterator[dict]:
    for i in range(1, 701):
        business = rng.random() < 0.16
        born = _days(rng, dt.date(1938, 1, 1), dt.date(2003, 12, 31))
        yield {
            "cust_id": i,
            "cust_nm": fake.company() if business else f"{fake.first_name()} {fake.last_name()}",
            "dob": None if business or rng.random() < 0.03 else born,
            "st_cd": _pick(rng, _STATES),
            "seg_cd": "B" if business else "P",
        }


def _policies(rng: random.Random, customers: list[dict], agents: list[dict]) -> Iterator[dict]:
    appetite = [0.0 if c["cust_id"] % 17 == 0 else 1 / rng.randint(1, 5) for c in customers]  # some only got a quote
    sellers = [0.0 if a["agt_id"] == 19 else 1 / (a["agt_id"] + 3) for a in agents]
    shares = {line: spec[0] for line, spec in _LINES.items()}
    for i in range(1, 1901):
        customer = rng.choices(customers, appetite)[0]
        line = "L" if customer["seg_cd"] == "B" and rng.random() < 0.5 else _pick(rng, shares)
        _, low, high, deductibles, _, _ = _LINES[line]
        start = _days(rng, _FIRST, dt.date(2024, 10, 31))
        length = rng.randint(5, 45) if line == "T" else 365
        yield {
            "pol_no": f"P{20000 + i}",
            "cust_id": customer["cust_id"],
            "agt_id": rng.choices(agents, sellers)[0]["agt_id"] if rng.random() < 0.72 else None,
            "lob_cd": line,
            "eff_dt": start,
            "exp_dt": start + dt.timedelta(days=length),
            "prem_amt": round(_skewed(rng, low, high), rng.choice([0, 2])),
            "ded_amt": None if rng.random() < 0.05 else rng.choice(deductibles),
        }


def _adjusters(rng: random.Random, fake: Faker) -> Iterator[dict]:
    teams = [team for team, number in _TEAMS.items() for _ in range(number)]
    for i, team in enumerate(teams, 1):
        name = f"{fake.first_name()} {fake.unique.last_name()}"
        yield {
            "adj_id": i,
            "adj_nm": name,
            "tm_cd": team,
            "hire_dt": _days(rng, dt.date(2009, 1, 5), dt.date(2023, 6, 30)),
        }


def _claims(rng: random.Random, policies: list[dict], adjusters: list[dict]) -> Iterator[dict]:
    risk = [0.0 if n % 4 == 1 else 1 / rng.randint(1, 9) for n in range(len(policies))]
    losses = []
    for _ in range(800):
        policy = rng.choices(policies, risk)[0]
        losses.append((_days(rng, policy["eff_dt"], min(policy["exp_dt"], dt.date(2024, 12, 20))), policy))
    losses.sort(key=lambda loss: (loss[0], loss[1]["pol_no"]))
    team = {"A": "FAST", "T": "FAST", "H": "PROP", "L": "CASU"}
    for i, (day, policy) in enumerate(losses, 1):
        _, _, _, _, causes, greatest = _LINES[policy["lob_cd"]]
        reported = min(day + dt.timedelta(days=int(_skewed(rng, 0, 70))), _LAST)
        fraud = rng.random() < 0.07
        recent = (_LAST - reported).days < 90
        status = rng.choices("OPCD", [55, 20, 20, 5] if recent else [4, 3, 79, 14])[0]
        if fraud and rng.random() < 0.5:
            status = "D"
        busy = "SIU" if fraud else team[policy["lob_cd"]]
        own = [a for a in adjusters if a["tm_cd"] == busy]
        shares = [1 / (n + 2) for n in range(len(own))]
        yield {
            "clm_no": 700000 + i,
            "pol_no": policy["pol_no"],
            "adj_id": None if status == "O" and rng.random() < 0.4 else rng.choices(own, shares)[0]["adj_id"],
            "loss_dt": day,
            "rpt_dt": reported,
            "cause_cd": _pick(rng, causes),
            "st_cd": status,
            "res_amt": 50.0 * int(_skewed(rng, 100, greatest) / 50),
            "frd_flg": "Y" if fraud else "N",
        }


def _payments(rng: random.Random, claims: list[dict]) -> Iterator[dict]:
    """Indemnity, expense, and now and then a recovery from a third party."""
    number = 0
    for claim in claims:
        if claim["st_cd"] in "OD" and rng.random() < 0.85:
            continue
        day = claim["rpt_dt"]
        kinds = rng.choices(["I", "II", "IE", "E", "IIE", "IR", ""], [40, 18, 18, 6, 8, 5, 5])[0]
        for kind in "E" if claim["st_cd"] in "OD" else kinds:
            day += dt.timedelta(days=rng.randint(3, 60))
            if day > _LAST:
                break
            number += 1
            share = {"I": 0.25 + 0.6 * rng.random(), "E": 0.02 + 0.1 * rng.random(), "R": 0.1 + 0.3 * rng.random()}[
                kind
            ]
            amount = round(claim["res_amt"] * share, 2)
            yield {"pmt_id": number, "clm_no": claim["clm_no"], "pmt_dt": day, "pmt_amt": amount, "pmt_typ": kind}


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    agents = list(_agents(fake))
    yield "agt", agents
    customers = list(_customers(rng, fake))
    yield "cust", customers
    policies = list(_policies(rng, customers, agents))
    yield "pol", policies
    adjusters = list(_adjusters(rng, fake))
    yield "adj", adjusters
    claims = list(_claims(rng, policies, adjusters))
    yield "clm_hdr", claims
    yield "clm_pmt", list(_payments(rng, claims))
