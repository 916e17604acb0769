"""Human resources: departments, positions, staff and who reports to whom, pay, absences, trainings; tbl_ names."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from faker import Faker

TITLE = "Human resources"
METADATA = sa.MetaData()

sa.Table(
    "tbl_department",
    METADATA,
    sa.Column("dept_id", sa.Integer, primary_key=True),
    sa.Column("dept_name", sa.String(40), nullable=False),
    sa.Column("site", sa.String(20), nullable=False, comment="town where the team sits"),
    sa.Column("training_budget", sa.Integer, comment="pounds a year for courses, empty if none agreed"),
    comment="organisational units",
)
sa.Table(
    "tbl_position",
    METADATA,
    sa.Column("pos_id", sa.Integer, primary_key=True),
    sa.Column("job_title", sa.String(40), nullable=False, comment="role as on the contract"),
    sa.Column("grade", sa.Integer, nullable=False, comment="1 lowest to 8 highest"),
    sa.Column("min_salary", sa.Integer, nullable=False, comment="bottom of the pay band"),
    sa.Column("max_salary", sa.Integer, nullable=False, comment="top of the pay band"),
    comment="jobs with their pay bands",
)
sa.Table(
    "tbl_employee",
    METADATA,
    sa.Column("emp_id", sa.Integer, primary_key=True, comment="personnel number"),
    sa.Column("full_name", sa.String(60), nullable=False),
    sa.Column("birth_date", sa.Date, comment="missing for a few old files"),
    sa.Column("hire_date", sa.Date, nullable=False, comment="first day at work"),
    sa.Column("exit_date", sa.Date, comment="last day, empty while employed"),
    sa.Column("dept_id", sa.Integer, sa.ForeignKey("tbl_department.dept_id"), nullable=False),
    sa.Column("pos_id", sa.Integer, sa.ForeignKey("tbl_position.pos_id"), nullable=False, comment="current job"),
    sa.Column("manager_id", sa.Integer, sa.ForeignKey("tbl_employee.emp_id"), comment="direct boss, empty at the top"),
    sa.Column("contract", sa.String(1), nullable=False, comment="kind of contract"),
    sa.Column("weekly_hours", sa.Integer, nullable=False, comment="full time is 38"),
    comment="staff, past and present",
)
sa.Table(
    "tbl_salary_history",
    METADATA,
    sa.Column("emp_id", sa.Integer, sa.ForeignKey("tbl_employee.emp_id"), primary_key=True),
    sa.Column("valid_from", sa.Date, primary_key=True, comment="day the pay took effect"),
    sa.Column("salary", sa.Integer, nullable=False, comment="gross per year at full time, pounds"),
    sa.Column("reason", sa.String(1), nullable=False, comment="why it was set"),
    comment="every pay change, the latest one applies",
)
sa.Table(
    "tbl_absence",
    METADATA,
    sa.Column("absence_id", sa.Integer, primary_key=True),
    sa.Column("emp_id", sa.Integer, sa.ForeignKey("tbl_employee.emp_id"), nullable=False, comment="who was away"),
    sa.Column("absence_type", sa.String(10), nullable=False, comment="vacation sick parental or unpaid"),
    sa.Column("first_day", sa.Date, nullable=False),
    sa.Column("last_day", sa.Date, comment="included, empty while still away"),
    comment="leave and sickness since 2023",
)
sa.Table(
    "tbl_training",
    METADATA,
    sa.Column("training_id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String(60), nullable=False, comment="course name"),
    sa.Column("topic", sa.String(20), nullable=False, comment="subject area"),
    sa.Column("fee", sa.Integer, comment="pounds per head, empty when held in-house"),
    comment="courses on offer",
)
sa.Table(
    "tbl_attendance",
    METADATA,
    sa.Column("emp_id", sa.Integer, sa.ForeignKey("tbl_employee.emp_id"), primary_key=True),
    sa.Column("training_id", sa.Integer, sa.ForeignKey("tbl_training.training_id"), primary_key=True),
    sa.Column("held_on", sa.Date, primary_key=True, comment="date of the session"),
    sa.Column("result", sa.String(10), comment="passed failed or no show, empty without exam"),
    comment="who was booked on which course",
)

MEANINGS = {
    "tbl_employee.contract": {"P": "permanent", "F": "fixed-term", "A": "apprentice"},
    "tbl_salary_history.reason": {"H": "new hire", "A": "annual review", "P": "promotion", "M": "market adjustment"},
}

_POSITIONS = [  # title, grade, pay band; the first three lead people
    (title, grade, 1000 * int(low), 1000 * int(high))
    for grade, jobs in {
        8: "Managing Director 150 230",
        7: "Head of Department 80 122",
        6: "Team Lead 52 80, Legal Counsel 60 88",
        5: "Design Engineer 42 66, Key Account Manager 46 74, Research Scientist 45 72, Software Developer 42 70",
        4: "Accountant 34 52, Buyer 33 50, Marketing Specialist 32 48, Recruiter 32 47, Sales Representative 30 52",
        3: "Executive Assistant 29 42, Maintenance Technician 30 43, Payroll Clerk 27 38, Quality Inspector 27 38",
        2: "Forklift Driver 24 32, Machine Operator 24 33, Support Agent 22 30, Warehouse Clerk 23 31",
        1: "Trainee 17 21",
    }.items()
    for title, low, high in (job.rsplit(" ", 2) for job in jobs.split(", "))
]
_DEPARTMENTS: list[tuple[str, str, int | None, int, dict[str, int]]] = [  # name, site, budget, people, jobs
    ("Management", "Leeds", 15000, 4, {"Executive Assistant": 1}),
    ("Production", "Bristol", 40000, 72, {"Machine Operator": 20, "Trainee": 2}),
    ("Logistics", "Bristol", 18000, 42, {"Warehouse Clerk": 11, "Forklift Driver": 7, "Trainee": 1}),
    ("Quality", "Bristol", 16000, 20, {"Quality Inspector": 1}),
    ("Maintenance", "Bristol", 20000, 22, {"Maintenance Technician": 9, "Trainee": 1}),
    ("Research and Development", "Leeds", 30000, 34, {"Design Engineer": 5, "Research Scientist": 4, "Trainee": 1}),
    ("Information Technology", "Leeds", 24000, 24, {"Software Developer": 4, "Trainee": 1}),
    ("Finance", "Leeds", 9000, 20, {"Accountant": 5, "Payroll Clerk": 2, "Trainee": 1}),
    ("Human Resources", "Leeds", 12000, 11, {"Recruiter": 2, "Payroll Clerk": 1}),
    ("Sales", "Glasgow", 26000, 36, {"Sales Representative": 7, "Key Account Manager": 3, "Trainee": 1}),
    ("Marketing", "Leeds", 8000, 13, {"Marketing Specialist": 1}),
    ("Customer Service", "Glasgow", 10000, 32, {"Support Agent": 1}),
    ("Procurement", "Leeds", 6000, 11, {"Buyer": 1}),
    ("Sustainability", "Leeds", None, 0, {}),  # founded, nobody hired yet
]
_TRAININGS = [  # title, topic, fee, demand
    (title, topic, int(fee) or None, int(demand))
    for topic, courses in {
        "safety": "Fire Safety Basics 0 14, First Aid at Work 95 9, Forklift Licence 480 3, Welding Certificate 1320 0",
        "compliance": "Data Protection Essentials 0 14, Anti-Bribery Rules 0 7, Export Control 340 2",
        "leadership": "Leading Small Teams 1250 9, Difficult Conversations 890 6, Coaching for Managers 1480 4",
        "methods": "Agile Working 640 4, Lean Manufacturing 700 3, Project Management Foundations 760 5",
        "software": "Excel for Analysts 290 7, Python Basics 540 4, Cloud Security 990 2",
        "language": "Business English 380 3, Spanish for Beginners 360 3, French Conversation 340 2",
        "sales": "Negotiation Skills 820 4, Presenting with Confidence 590 3",
    }.items()
    for title, fee, demand in (course.rsplit(" ", 2) for course in courses.split(", "))
]
_TODAY = dt.date(2025, 6, 30)
# share of absences, shortest and longest in days
_AWAY = {"vacation": (620, 1, 18), "sick": (330, 1, 12), "unpaid": (30, 2, 20), "parental": (7, 30, 240)}


def _exit(rng: random.Random, job: str, hired: dt.date, boss: dict[str, Any]) -> dt.date | None:
    """The end of a month; of the team leads some left recently, and their people still report to them on paper."""
    first, last = max(hired, boss["hire_date"]) + dt.timedelta(days=120), hired + dt.timedelta(days=2400)
    if job == "Team Lead":
        first, last = dt.date(2025, 3, 1), _TODAY
    days = (min(last, _TODAY) - first).days
    if days < 1 or job == "Head of Department" or rng.random() > (0.12 if job == "Team Lead" else 0.34):
        return None
    return (first + dt.timedelta(days=rng.randint(0, days))).replace(day=1) - dt.timedelta(days=1)


def _employee(rng: random.Random, dept: int, job: str, boss: dict[str, Any] | None) -> dict[str, Any]:
    """Without number and name, which come in the order of hiring; ``boss`` and ``level`` stay out of the table."""
    position, grade = next((i, p[1]) for i, p in enumerate(_POSITIONS, 1) if p[0] == job)
    u, v = rng.random(), rng.random()
    ago = int((1100 if job == "Trainee" else 7000) * u * (0.4 + 0.6 * u)) + {6: 700, 7: 1200, 8: 3000}.get(grade, 0)
    hired = (_TODAY - dt.timedelta(days=25 + ago)).replace(day=1)
    youngest, spread = {"Trainee": (17, 6), "Managing Director": (38, 5)}.get(job, (21, 34))
    born = hired - dt.timedelta(days=365 * youngest + 200 + int(365 * spread * v * (0.3 + 0.7 * v)))
    return {
        "birth_date": born + dt.timedelta(days=5500 if born.year < 1960 else 0),
        "hire_date": hired,
        "exit_date": _exit(rng, job, hired, boss) if boss else None,
        "dept_id": dept,
        "pos_id": position,
        "contract": "A" if job == "Trainee" else "F" if rng.random() < 0.13 and grade < 6 else "P",
        "weekly_hours": 38 if rng.random() < 0.77 or grade in (1, 7, 8) else rng.choice([19, 19, 24, 30, 30, 32]),
        "boss": boss,
        "level": boss["level"] + 1 if boss else 0,
    }


def _staff(rng: random.Random, fake: Faker) -> list[dict[str, Any]]:
    """Director, heads, team leads and everybody else; numbered by date of hiring."""
    director = _employee(rng, 1, "Managing Director", None)
    staff: list[dict[str, Any]] = []
    for dept, (_, _, _, people, jobs) in enumerate(_DEPARTMENTS, 1):
        if people:
            head = director if dept == 1 else _employee(rng, dept, "Head of Department", director)
            leads = [_employee(rng, dept, "Team Lead", head) for _ in range(people // 10)]
            chosen = rng.choices(list(jobs), list(jobs.values()), k=people - 1 - len(leads))
            staff += [head, *leads, *(_employee(rng, dept, job, rng.choice([*leads, *leads, head])) for job in chosen)]
    staff.sort(key=lambda e: e["hire_date"])
    names = dict.fromkeys(f"{fake.first_name()} {fake.last_name()}" for _ in range(2 * len(staff)))
    for number, (e, name) in enumerate(zip(staff, names, strict=False), 1001):
        e.update(emp_id=number, full_name=name)
        if e["hire_date"].year < 2009 and rng.random() < 0.2:
            e["birth_date"] = None
    return [{**e, "manager_id": e["boss"]["emp_id"] if e["boss"] else None} for e in staff]


def _salaries(rng: random.Random, staff: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Backwards from a last salary inside the band, or a little above it; reviews are in April."""
    for e in staff:
        _, _, low, high = _POSITIONS[e["pos_id"] - 1]
        salary = low + (high - low) * (1.0 + 0.2 * rng.random() if rng.random() < 0.04 else 0.9 * rng.random())
        hired, left = e["hire_date"], e["exit_date"] or _TODAY
        salary *= 1 - 0.018 * (_TODAY.year - left.year)
        years = [year for year in range(_TODAY.year, hired.year, -1) if rng.random() < 0.8]
        days = [dt.date(year, 4 if rng.random() < 0.85 else rng.randint(1, 12), 1) for year in years]
        for day in [*(d for d in days if hired + dt.timedelta(days=180) < d <= left), hired]:
            reason = "H" if day == hired else "A" if day.month == 4 and rng.random() < 0.92 else rng.choice("PPM")
            yield {"emp_id": e["emp_id"], "valid_from": day, "salary": 20 * round(salary / 20), "reason": reason}
            salary /= 1 + {"H": 0, "A": 0.01, "P": 0.07, "M": 0.03}[reason] + 0.03 * rng.random()


def _absences(rng: random.Random, staff: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One after the other for each person; summer and December are popular, a few are never ill."""
    absences = []
    for e in staff:
        day, end = max(dt.date(2023, 1, 2), e["hire_date"]), e["exit_date"] or _TODAY
        healthy, pause = rng.random() < 0.12, rng.randint(70, 150)
        while True:
            day += dt.timedelta(days=rng.randint(3, pause // 2 if day.month in (6, 7, 8, 11, 12) else pause))
            day += dt.timedelta(days=7 - day.weekday() if day.weekday() > 4 else 0)
            if day > end:
                break
            kind = rng.choices(list(_AWAY), [share for share, _, _ in _AWAY.values()])[0]
            kind = "vacation" if kind == "sick" and healthy else kind
            _, shortest, longest = _AWAY[kind]
            u = rng.random() * (rng.random() if kind == "sick" else 1)
            last = day + dt.timedelta(days=shortest - 1 + int((longest - shortest + 1) * u))
            unknown = last > _TODAY and not e["exit_date"] and kind in ("sick", "parental")
            row = {"emp_id": e["emp_id"], "absence_type": kind, "first_day": day}
            absences.append({**row, "last_day": min(last, e["exit_date"] or last) if not unknown else None})
            day = last + dt.timedelta(days=1)
    absences.sort(key=lambda a: (a["first_day"], a["emp_id"]))
    return [{"absence_id": i, **a} for i, a in enumerate(absences, 1)]


def _attendances(rng: random.Random, staff: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Sessions are shared; leadership is for those who lead, and a failed exam is often tried again."""
    ago = [{7 * rng.randint(1, 228) - rng.randint(0, 4) for _ in range(3 + t[3])} for t in _TRAININGS]
    sessions = [sorted(_TODAY - dt.timedelta(days=n) for n in days) for days in ago]
    for e in staff:
        demand = [(3 * d if e["pos_id"] <= 3 else 0) if topic == "leadership" else d for _, topic, _, d in _TRAININGS]
        chosen = rng.choices(range(len(_TRAININGS)), demand, k=rng.choice([0, 1, 2, 3, 3, 4, 5, 7]))
        for number in dict.fromkeys(chosen):
            days = [d for d in sessions[number] if e["hire_date"] <= d <= (e["exit_date"] or _TODAY)]
            exam = _TRAININGS[number][1] in ("safety", "compliance", "software", "methods")
            for day in days[rng.randint(0, len(days)) :]:
                result = rng.choices(["passed", "failed", "no show"], [82, 10, 8])[0]
                row = {"emp_id": e["emp_id"], "training_id": number + 1, "held_on": day}
                yield {**row, "result": result if exam or result == "no show" else None}
                if result == "passed" or not exam or rng.random() < 0.3:
                    break


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order; a manager comes before those who report to them."""
    fields = {name: [c.name for c in table.columns] for name, table in METADATA.tables.items()}
    for name, rows in ("tbl_department", _DEPARTMENTS), ("tbl_position", _POSITIONS), ("tbl_training", _TRAININGS):
        yield name, [dict(zip(fields[name], (i, *row), strict=False)) for i, row in enumerate(rows, 1)]
    staff = _staff(rng, fake)
    for level in range(4):  # DuckDB wants a manager to be there before the statement
        yield "tbl_employee", [{f: e[f] for f in fields["tbl_employee"]} for e in staff if e["level"] == level]
    yield "tbl_salary_history", list(_salaries(rng, staff))
    yield "tbl_absence", _absences(rng, staff)
    yield "tbl_attendance", list(_attendances(rng, staff))
