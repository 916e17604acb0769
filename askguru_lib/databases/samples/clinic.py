"""A group practice: doctors, patients, appointments, diagnoses, prescriptions, invoices. Used for testing only."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "Group practice"
METADATA = sa.MetaData()

sa.Table(
    "practitioners",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(40), nullable=False, comment="doctor's name"),
    sa.Column("specialty", sa.String(20), nullable=False),
    sa.Column("joined_on", sa.Date, nullable=False, comment="first day at the practice"),
    comment="doctors of the practice",
)
sa.Table(
    "patients",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(40), nullable=False, comment="full name"),
    sa.Column("sex", sa.String(1), nullable=False, comment="F or M"),
    sa.Column("birth_date", sa.Date, nullable=False, comment="date of birth"),
    sa.Column("city", sa.String(20), nullable=False, comment="home town"),
    sa.Column("cover", sa.String(3), nullable=False, comment="who pays the bills"),
    sa.Column("doctor_id", sa.Integer, sa.ForeignKey("practitioners.id"), comment="usual doctor if there is one"),
    comment="everybody on file",
)
sa.Table(
    "appointments",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("patient_id", sa.Integer, sa.ForeignKey("patients.id"), nullable=False),
    sa.Column("practitioner_id", sa.Integer, sa.ForeignKey("practitioners.id"), nullable=False, comment="doctor seen"),
    sa.Column("booked_on", sa.Date, nullable=False, comment="day of the call"),
    sa.Column("visit_date", sa.Date, nullable=False, comment="day it is scheduled for"),
    sa.Column("kind", sa.String(2), nullable=False, comment="type of visit"),
    sa.Column("status", sa.String(1), nullable=False, comment="what became of it"),
    sa.Column("minutes", sa.Integer, comment="length of the visit; empty unless it took place"),
)
sa.Table(
    "conditions",
    METADATA,
    sa.Column("code", sa.String(8), primary_key=True, comment="ICD-10"),
    sa.Column("title", sa.String(40), nullable=False, comment="illness in words"),
    sa.Column("chronic", sa.Integer, nullable=False, comment="1 long-term 0 not"),
    comment="catalogue of illnesses and reasons for a visit",
)
sa.Table(
    "diagnoses",
    METADATA,
    sa.Column("appointment_id", sa.Integer, sa.ForeignKey("appointments.id"), primary_key=True),
    sa.Column("order", sa.Integer, primary_key=True, comment="rank at the visit; 1 is the main one"),
    sa.Column("code", sa.String(8), sa.ForeignKey("conditions.code"), nullable=False, comment="ICD-10"),
    comment="what was found at a visit",
)
sa.Table(
    "medicines",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), nullable=False, comment="substance"),
    sa.Column("price (USD)", sa.Numeric(6, 2, asdecimal=False), nullable=False, comment="per pack"),
)
sa.Table(
    "prescriptions",
    METADATA,
    sa.Column("appointment_id", sa.Integer, sa.ForeignKey("appointments.id"), primary_key=True),
    sa.Column("medicine_id", sa.Integer, sa.ForeignKey("medicines.id"), primary_key=True),
    sa.Column("packs", sa.Integer, nullable=False, comment="number of packs"),
    comment="medicines ordered at a visit",
)
sa.Table(
    "invoices",
    METADATA,
    sa.Column("number", sa.String(10), primary_key=True, comment="year and running number"),
    sa.Column("appointment_id", sa.Integer, sa.ForeignKey("appointments.id"), nullable=False),
    sa.Column("issued_on", sa.Date, nullable=False, comment="date of the bill"),
    sa.Column("amount", sa.Numeric(8, 2, asdecimal=False), nullable=False, comment="total in USD"),
    sa.Column("paid_on", sa.Date, comment="empty while unpaid"),
    comment="bills for visits",
)

MEANINGS = {
    "patients.sex": {"F": "female", "M": "male"},
    "patients.cover": {"COM": "commercial insurance", "MCR": "Medicare", "MCD": "Medicaid", "SLF": "self-pay"},
    "appointments.kind": {"CH": "check-up", "AC": "acute", "FU": "follow-up", "PR": "procedure"},
    "appointments.status": {"K": "kept", "C": "cancelled", "N": "no-show", "B": "booked"},
    "conditions.chronic": {"1": "chronic", "0": "not chronic"},
}
"""What the codes stand for."""

_STAFF = {  # letter in the catalogue below: specialty, number of practitioners
    "F": ("family medicine", 5),
    "I": ("internal medicine", 2),
    "P": ("pediatrics", 2),
    "C": ("cardiology", 1),
    "D": ("dermatology", 2),
    "R": ("rheumatology", 1),
    "G": ("gynecology", 1),
}
_CITIES = {"Portland": 46, "South Portland": 18, "Westbrook": 14, "Scarborough": 11, "Falmouth": 7, "Freeport": 4}
# By age group: shares of COM, MCR, MCD, SLF.
_COVER = {"child": [60, 0, 37, 3], "adult": [64, 1, 21, 14], "senior": [12, 86, 2, 0]}
_UNPAID = {"COM": 0.04, "MCR": 0.02, "MCD": 0.03, "SLF": 0.3}
_CHRONIC = [  # code, title, who sees it, percent of children, adults and seniors, medicines
    ("I10", "High blood pressure", "FFICC", (0, 17, 55), ["Lisinopril", "Amlodipine", "Losartan"]),
    ("E11.9", "Type 2 diabetes", "FFII", (0, 8, 24), ["Metformin", "Empagliflozin"]),
    ("E78.5", "High cholesterol", "FIC", (0, 12, 38), ["Atorvastatin", "Rosuvastatin"]),
    ("J45.909", "Asthma", "FIP", (11, 8, 6), ["Albuterol", "Fluticasone"]),
    ("F41.1", "Anxiety disorder", "FFI", (2, 13, 7), ["Sertraline", "Escitalopram"]),
    ("F32.9", "Depression", "FFI", (1, 10, 9), ["Sertraline", "Escitalopram", "Bupropion"]),
    ("I48.91", "Atrial fibrillation", "CCCI", (0, 1, 12), ["Apixaban", "Metoprolol"]),
    ("G43.909", "Migraine", "FI", (2, 9, 3), ["Sumatriptan"]),
    ("M17.9", "Osteoarthritis of the knee", "RRFI", (0, 4, 22), ["Naproxen"]),
]
_OTHER = [  # code, title, who sees it, weight for children, adults and seniors, medicines
    ("Z00.00", "General exam, adult", "FFI", (0, 30, 34), []),
    ("Z00.129", "Routine child exam", "P", (40, 0, 0), []),
    ("J06.9", "Common cold", "FFIPP", (24, 16, 9), []),
    ("H66.90", "Ear infection", "PPF", (18, 2, 1), ["Amoxicillin"]),
    ("J30.9", "Hay fever", "FP", (6, 7, 3), ["Loratadine", "Fluticasone"]),
    ("N39.0", "Urinary tract infection", "FIGG", (2, 8, 8), ["Nitrofurantoin"]),
    ("M54.50", "Low back pain", "FFRR", (0, 15, 12), ["Naproxen", "Cyclobenzaprine"]),
    ("S93.409", "Sprained ankle", "FFP", (6, 5, 2), ["Naproxen"]),
    ("D22.9", "Mole", "D", (1, 7, 8), []),
    ("N94.6", "Painful periods", "GGF", (0, 5, 0), ["Naproxen"]),
    ("A69.20", "Lyme disease", "FIP", (1, 1, 1), ["Doxycycline"]),
    ("B54", "Malaria", "I", (0, 0, 0), []),
]
_PRICES = {  # the last two are in the catalogue, but nobody needs them
    **{"Lisinopril": 6.5, "Amlodipine": 7.2, "Losartan": 9.9, "Metformin": 8.4, "Empagliflozin": 298.0},
    **{"Atorvastatin": 11.3, "Rosuvastatin": 14.75, "Albuterol": 36.0, "Fluticasone": 19.95, "Sertraline": 10.6},
    **{"Escitalopram": 12.1, "Bupropion": 21.4, "Apixaban": 312.0, "Metoprolol": 8.9},
    **{"Sumatriptan": 27.3, "Naproxen": 7.75, "Cyclobenzaprine": 9.4, "Amoxicillin": 8.1},
    **{"Loratadine": 6.95, "Nitrofurantoin": 24.2, "Doxycycline": 17.6, "Interferon beta": 1840.0, "Warfarin": 5.6},
}
# Basic fee and minutes.
_VISITS = {"CH": (120, [30, 30, 45]), "AC": (75, [10, 15, 20]), "FU": (60, [15, 20, 30]), "PR": (210, [30, 45, 60])}
_FIRST, _TODAY, _LAST = dt.date(2022, 1, 3), dt.date(2025, 6, 30), dt.date(2025, 9, 12)


def _patients(rng: random.Random, fake: Faker, practitioners: list[dict], number: int) -> list[dict]:
    patients: list[dict] = []
    names: set[str] = set()
    while len(patients) < number:
        sex = rng.choices("FM", [54, 46])[0]
        name = f"{fake.first_name_female() if sex == 'F' else fake.first_name_male()} {fake.last_name()}"
        if name in names:
            continue
        names.add(name)
        group = rng.choices(list(_COVER), [19, 54, 27])[0]
        age = rng.randint(*{"child": (1, 17), "adult": (18, 64), "senior": (65, 91)}[group])
        fitting = ["pediatrics"] if group == "child" else ["family medicine", "internal medicine"]
        doctors = [p["id"] for p in practitioners if p["specialty"] in fitting]
        patients.append(
            {
                "id": len(names),
                "name": name,
                "sex": sex,
                "birth_date": dt.date(2024 - age, 1, 1) + dt.timedelta(days=rng.randint(0, 364)),
                "city": rng.choices(list(_CITIES), list(_CITIES.values()))[0],
                "cover": rng.choices(["COM", "MCR", "MCD", "SLF"], _COVER[group])[0],
                "doctor_id": None if rng.random() < 0.12 else rng.choice(doctors),
            }
        )
    return patients


def _history(rng: random.Random, patient: dict, practitioners: list[dict]) -> Iterator[tuple[dict, list[tuple]]]:
    """The appointments of one patient, each with its conditions, the main one first."""
    age = 2024 - patient["birth_date"].year
    group = 0 if age < 18 else 1 if age < 65 else 2
    chronic = [c for c in _CHRONIC if 100 * rng.random() < c[3][group]]
    other = [c for c in _OTHER if c[3][group] and (patient["sex"] == "F" or c[0] != "N94.6")]
    reasons = [*chronic, *other]
    pull = [*(25 for _ in chronic), *(c[3][group] for c in other)]
    born_or_first = max(_FIRST, patient["birth_date"] + dt.timedelta(days=7))
    for _ in range(rng.choices(range(11), [5, 14, 17, 16, 13, 10, 8, 6, 5, 3, 3])[0] + len(chronic)):
        main = rng.choices(reasons, pull)[0]
        day = born_or_first + dt.timedelta(days=rng.randint(0, (_LAST - born_or_first).days))
        day -= dt.timedelta(days=max(0, day.weekday() - 4))
        letters = "P" if group == 0 and "P" in main[2] else main[2].replace("P", "")
        there = [p for p in practitioners if p["joined_on"] < day]
        staff = {c: [p for p in there if p["specialty"] == _STAFF[c][0]] for c in letters}
        usual = [p for c in staff for p in staff[c] if p["id"] == patient["doctor_id"]]
        doctor = usual[0] if usual and rng.random() < 0.65 else rng.choice(staff[rng.choice(letters)])
        late = day > _TODAY
        weights = [0 if late or main in chronic else 70, 60, 30 if doctor["specialty"].endswith("ology") else 0]
        kind = "CH" if main[0].startswith("Z") else rng.choices(["AC", "FU", "PR"], weights)[0]
        lead = rng.randint(0, 3) if kind == "AC" else 2 + int(70 * rng.random() * rng.random())
        status = rng.choices("KCNB", [0, 8, 0, 92] if late else [83, 10, 7, 0])[0]
        visit = {
            "patient_id": patient["id"],
            "practitioner_id": doctor["id"],
            "booked_on": min(day, _TODAY) - dt.timedelta(days=lead),
            "visit_date": day,
            "kind": kind,
            "status": status,
            "minutes": rng.choice(_VISITS[kind][1]) if status == "K" else None,
        }
        also = [c for c in chronic if c is not main and rng.random() < 0.25]
        yield visit, [main, *also][:4] if status == "K" else []


def _invoices(rng: random.Random, appointments: list[dict], patients: list[dict]) -> Iterator[dict]:
    days = (rng.choice([0, 0, 1, 1, 2, 3, 5, 8]) for _ in appointments)
    dated = [(visit["visit_date"] + dt.timedelta(days=n), visit) for n, visit in zip(days, appointments, strict=True)]
    dated = [d for d in dated if d[0] <= _TODAY and d[1]["status"] == "K" and rng.random() < 0.97]
    for i, (issued, visit) in enumerate(sorted(dated, key=lambda d: (d[0], d[1]["id"])), 1):
        paid = issued + dt.timedelta(days=1 + int(220 * rng.random() * rng.random() * rng.random()))
        open_still = rng.random() < _UNPAID[patients[visit["patient_id"] - 1]["cover"]] or paid > _TODAY
        yield {
            "number": f"{issued.year}-{i:04d}",
            "appointment_id": visit["id"],
            "issued_on": issued,
            "amount": _VISITS[visit["kind"]][0] + 2.5 * visit["minutes"] + rng.choice([0, 0, 0, 18.5, 42, 65.25]),
            "paid_on": None if open_still else paid,
        }


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    practitioners = [
        {
            "id": i,
            "name": f"{fake.first_name()} {fake.unique.last_name()}",
            "specialty": specialty,
            "joined_on": dt.date(2023 if i in (5, 11) else rng.randint(2006, 2020), rng.randint(1, 12), 1),
        }
        for i, specialty in enumerate((s for s, n in _STAFF.values() for _ in range(n)), 1)
    ]
    yield "practitioners", practitioners
    patients = _patients(rng, fake, practitioners, 380)
    yield "patients", patients
    history = [entry for patient in patients for entry in _history(rng, patient, practitioners)]
    history.sort(key=lambda entry: (entry[0]["visit_date"], entry[0]["patient_id"]))
    appointments = [{"id": i, **visit} for i, (visit, _) in enumerate(history, 1)]
    yield "appointments", appointments
    catalogue = sorted((*_CHRONIC, *_OTHER))
    yield "conditions", [{"code": c[0], "title": c[1], "chronic": int(c in _CHRONIC)} for c in catalogue]
    diagnoses = [(i, place, c[0]) for i, (_, found) in enumerate(history, 1) for place, c in enumerate(found, 1)]
    yield "diagnoses", [{"appointment_id": i, "order": place, "code": code} for i, place, code in diagnoses]
    medicines = {name: i for i, name in enumerate(sorted(_PRICES), 1)}
    yield "medicines", [{"id": i, "name": name, "price (USD)": _PRICES[name]} for name, i in medicines.items()]
    prescribed: dict[tuple[int, int], int] = {}
    for i, (_, found) in enumerate(history, 1):
        for condition in found:
            if condition[4] and rng.random() < 0.62:
                packs = rng.choice([1, 1, 2, 3, 3]) if condition in _CHRONIC else rng.choice([1, 1, 1, 2])
                prescribed.setdefault((i, medicines[rng.choice(condition[4])]), packs)
    yield "prescriptions", [{"appointment_id": a, "medicine_id": m, "packs": n} for (a, m), n in prescribed.items()]
    yield "invoices", list(_invoices(rng, appointments, patients))
