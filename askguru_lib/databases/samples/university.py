"""A university: departments, lecturers, courses and what they build on, students and their results. Plain names."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "University"
METADATA = sa.MetaData()

sa.Table(
    "department",
    METADATA,
    sa.Column("department_id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("building", sa.String(30), nullable=False, comment="office building"),
    sa.Column("budget", sa.Integer, comment="yearly budget in thousand pounds; empty while being negotiated"),
    comment="academic departments",
)
sa.Table(
    "lecturer",
    METADATA,
    sa.Column("lecturer_id", sa.Integer, primary_key=True, comment="staff number"),
    sa.Column("name", sa.String(50), nullable=False, comment="first and last name"),
    sa.Column("department_id", sa.Integer, sa.ForeignKey("department.department_id"), nullable=False),
    sa.Column("position", sa.String(20), nullable=False, comment="professor reader lecturer or tutor"),
    sa.Column("hired_on", sa.Date, nullable=False, comment="start of the contract"),
    comment="teaching staff",
)
sa.Table(
    "course",
    METADATA,
    sa.Column("course_code", sa.String(6), primary_key=True, comment="subject and number"),
    sa.Column("title", sa.String(50), nullable=False, comment="printed title"),
    sa.Column("department_id", sa.Integer, sa.ForeignKey("department.department_id"), nullable=False),
    sa.Column("credits", sa.Integer, nullable=False, comment="earned when passed"),
    sa.Column("study_year", sa.Integer, nullable=False, comment="recommended year, 1 to 3"),
    comment="course catalogue",
)
sa.Table(
    "prerequisite",
    METADATA,
    sa.Column("course_code", sa.String(6), sa.ForeignKey("course.course_code"), primary_key=True),
    sa.Column(
        "required_code",
        sa.String(6),
        sa.ForeignKey("course.course_code"),
        primary_key=True,
        comment="to be passed first",
    ),
    comment="entry requirements",
)
sa.Table(
    "offering",
    METADATA,
    sa.Column("offering_id", sa.Integer, primary_key=True),
    sa.Column("course_code", sa.String(6), sa.ForeignKey("course.course_code"), nullable=False, comment="course held"),
    sa.Column("lecturer_id", sa.Integer, sa.ForeignKey("lecturer.lecturer_id"), comment="empty: still open"),
    sa.Column("year", sa.Integer, nullable=False, comment="calendar year"),
    sa.Column("semester", sa.String(6), nullable=False, comment="half of the year"),
    sa.Column("capacity", sa.Integer, nullable=False, comment="seats in the room"),
    comment="course runs by semester",
)
sa.Table(
    "student",
    METADATA,
    sa.Column("student_id", sa.Integer, primary_key=True, comment="matriculation number"),
    sa.Column("first_name", sa.String(30), nullable=False),
    sa.Column("last_name", sa.String(30), nullable=False, comment="family name"),
    sa.Column("birth_date", sa.Date, comment="empty when not given"),
    sa.Column("department_id", sa.Integer, sa.ForeignKey("department.department_id"), comment="major, if decided"),
    sa.Column("admitted_on", sa.Date, nullable=False, comment="first day as a student"),
    sa.Column("graduated_on", sa.Date, comment="degree awarded"),
)
sa.Table(
    "grade",
    METADATA,
    sa.Column("grade_code", sa.String(2), primary_key=True, comment="letter on the transcript"),
    sa.Column("points", sa.Numeric(2, 1, asdecimal=False), comment="weight in the average"),
    sa.Column("passed", sa.Integer, nullable=False, comment="1 if the credits count"),
    comment="grading scale",
)
sa.Table(
    "enrolment",
    METADATA,
    sa.Column("student_id", sa.Integer, sa.ForeignKey("student.student_id"), primary_key=True),
    sa.Column("offering_id", sa.Integer, sa.ForeignKey("offering.offering_id"), primary_key=True),
    sa.Column("enrolled_on", sa.Date, nullable=False, comment="day of registration"),
    sa.Column("grade_code", sa.String(2), sa.ForeignKey("grade.grade_code"), comment="empty until marked"),
    comment="registrations and results",
)

MEANINGS = {"enrolment.grade_code": {"F": "failed", "W": "withdrawn"}, "grade.passed": {"0": "failing", "1": "passing"}}
_GRADES = {"A": 4.0, "A-": 3.7, "B+": 3.3, "B": 3.0, "B-": 2.7, "C+": 2.3, "C": 2.0, "D": 1.0, "F": 0.0, "W": None}
_DEPARTMENTS = {  # subject: name, building, budget, share of students, share of lecturers
    "CS": ("Computer Science", "Turing Hall", 5200, 26, 9),
    "MA": ("Mathematics", "Turing Hall", 2900, 11, 7),
    "PH": ("Physics", "Maxwell Building", 4100, 9, 6),
    "BI": ("Biology", "Maxwell Building", 4600, 15, 7),
    "EC": ("Economics", "Old Library", 3300, 18, 6),
    "HI": ("History", "Old Library", 1700, 9, 5),
    "LI": ("Linguistics", "Harper House", None, 5, 4),
    "PL": ("Philosophy", "Harper House", 900, 4, 2),
}
_COURSES = """
CS110 Introduction to Programming|CS120 Computer Systems|CS210 Algorithms<CS110|CS220 Databases<CS110
CS230 Operating Systems<CS110,CS120|CS310 Machine Learning<CS210,MA220|CS320 Distributed Systems<CS230
CS330 Information Retrieval<CS210,CS220|CS340 Robotics<CS210
MA110 Calculus|MA120 Linear Algebra|MA210 Real Analysis<MA110|MA220 Probability<MA110|MA230 Number Theory<MA120
MA310 Statistics<MA220|MA320 Topology<MA210|MA330 Optimisation<MA110,MA120
PH110 Mechanics|PH120 Waves and Optics|PH210 Electromagnetism<PH110|PH220 Thermodynamics<PH110
PH310 Quantum Mechanics<PH210,MA120|PH320 Astrophysics<PH210
BI110 Cell Biology|BI120 Ecology|BI210 Genetics<BI110|BI220 Biochemistry<BI110|BI230 Animal Behaviour<BI120
BI310 Evolution<BI210|BI320 Neurobiology<BI220|BI330 Marine Biology<BI120
EC110 Microeconomics|EC120 Macroeconomics|EC210 Econometrics<MA110,EC110|EC220 Game Theory<EC110
EC230 Public Finance<EC120|EC310 Behavioural Economics<EC220|EC320 Development Economics<EC120
HI110 Introduction to World History|HI120 Ancient Rome|HI210 The Age of Revolutions<HI110|HI220 History of Science
HI310 Oral History<HI110
LI110 Introduction to Linguistics|LI210 Phonetics<LI110|LI220 Syntax<LI110|LI310 Computational Linguistics<LI220,CS110
PL110 Introduction to Ethics|PL120 Logic|PL210 Philosophy of Mind<PL110|PL310 Philosophy of Science<PL120
"""
_UNTAUGHT = {"PH320", "HI310"}  # in the catalogue, never held so far
_POSITIONS = {  # share, hired from, to
    "professor": (20, 1994, 2014),
    "reader": (18, 2001, 2020),
    "lecturer": (42, 2008, 2023),
    "tutor": (20, 2016, 2024),
}
_SEATS = {1: (40, 60, 80), 2: (20, 25, 30, 40), 3: (12, 16, 20)}
_TERMS = [dt.date(y, m, d) for y in range(2019, 2026) for m, d in ((2, 3), (9, 22))][1:-1]  # the last is under way
_DEGREE = 105  # credits


def _courses() -> tuple[list[dict], list[dict]]:
    courses, prerequisites = [], []
    for entry in _COURSES.strip().replace("\n", "|").split("|"):
        text, _, required = entry.partition("<")
        code, title = text.split(" ", 1)
        course = {"course_code": code, "title": title, "department_id": 1 + list(_DEPARTMENTS).index(code[:2])}
        heavy = 10 if code in ("CS110", "MA110", "PH110", "CS310", "PH310", "BI310") else 5
        courses.append({**course, "credits": heavy, "study_year": int(code[2])})
        prerequisites += [{"course_code": code, "required_code": r} for r in required.split(",") if r]
    return courses, prerequisites


def _lecturers(rng: random.Random, fake: Faker) -> list[dict]:
    lecturers: list[dict] = []
    for department, (*_, number) in enumerate(_DEPARTMENTS.values(), 1):
        for n in range(number):
            position = rng.choices(list(_POSITIONS), [p[0] for p in _POSITIONS.values()])[0] if n else "professor"
            lecturers.append(
                {
                    "lecturer_id": 301 + len(lecturers),
                    "name": f"{fake.first_name()} {fake.unique.last_name()}",
                    "department_id": department,
                    "position": position,
                    "hired_on": dt.date(rng.randint(*_POSITIONS[position][1:]), rng.choice([1, 4, 8, 9, 9]), 1),
                }
            )
    return lecturers


def _offerings(rng: random.Random, courses: list[dict], lecturers: list[dict]) -> dict[dt.date, list[dict]]:
    """By the first day of the semester; every course about once a year, with the same lecturer for a while."""
    offerings: dict[dt.date, list[dict]] = {day: [] for day in _TERMS}
    teaches: dict[str, int | None] = {}
    for number, (day, course) in enumerate([(day, c) for day in _TERMS for c in courses]):
        code, semester = course["course_code"], "spring" if day.month == 2 else "autumn"
        usual = "autumn" if number % len(courses) % 2 else "spring"
        if (
            course["study_year"] > 1 + day.year - _TERMS[0].year + (day.month - 9) // 12
            or code in _UNTAUGHT
            or rng.random() > (0.94 if semester == usual else 0.1)
        ):
            continue
        if code not in teaches or rng.random() < 0.4:
            own = [x for x in lecturers if x["department_id"] == course["department_id"] and x["hired_on"] < day]
            teaches[code] = rng.choice(own)["lecturer_id"] if day < _TERMS[-1] or rng.random() < 0.6 else None
        held = {"offering_id": 1 + sum(map(len, offerings.values())), "course_code": code, "lecturer_id": teaches[code]}
        seats = rng.choice(_SEATS[course["study_year"]])
        offerings[day].append({**held, "year": day.year, "semester": semester, "capacity": seats})
    return offerings


def _students(rng: random.Random, fake: Faker, number: int) -> list[dict]:
    shares = [share for *_, share, _ in _DEPARTMENTS.values()]
    students = []
    for i, year in enumerate(sorted(rng.choices(range(2019, 2025), [13, 14, 16, 17, 19, 21], k=number)), 1):
        born = dt.date(year - 18 - int(rng.random() * rng.random() * 12), 1, 1) + dt.timedelta(days=rng.randint(0, 240))
        students.append(
            {
                "student_id": 70000 + i,
                "first_name": fake.first_name(),
                "last_name": fake.last_name(),
                "birth_date": None if rng.random() < 0.04 else born,
                "department_id": None if rng.random() < 0.07 else rng.choices(range(1, len(shares) + 1), shares)[0],
                "admitted_on": dt.date(year, 9, rng.choice([2, 2, 2, 9, 16])),
                "graduated_on": None,
            }
        )
    return students


def _enrolments(rng: random.Random, students: list[dict], courses: dict, needs: dict, offerings: dict) -> list[dict]:
    """Student by student, semester by semester, until the degree or until they give up; sets ``graduated_on``."""
    free = {o["offering_id"]: o["capacity"] for held in offerings.values() for o in held}
    enrolments = []
    for student in students:
        talent = rng.random()
        passed: set = set()
        for day in (d for d in _TERMS if d > student["admitted_on"]):
            year = 1 + (day - student["admitted_on"]).days // 365
            pool = [o for o in offerings[day] if free[o["offering_id"]] and o["course_code"] not in passed]
            pool = [o for o in pool if needs[o["course_code"]] <= passed]
            pool = [o for o in pool if courses[o["course_code"]]["study_year"] <= year]
            taught = [courses[o["course_code"]] for o in pool]
            likes = [c["study_year"] * (9 if c["department_id"] == student["department_id"] else 1) for c in taught]
            wanted = rng.choices(pool, likes, k=5)
            for offering in {o["offering_id"]: o for o in wanted}.values():
                code, number = offering["course_code"], offering["offering_id"]
                free[number] -= 1
                mark = (talent + rng.random() + rng.random()) / 3 - (0.06 if code[:2] in ("MA", "PH") else 0.0)
                grade = list(_GRADES)[max(0, min(8, int((0.86 - mark) / 0.08)))] if rng.random() > 0.04 else "W"
                if grade not in "FW":
                    passed.add(code)
                registered = max(student["admitted_on"], day - dt.timedelta(days=rng.randint(0, 14)))
                key = {"student_id": student["student_id"], "offering_id": number, "enrolled_on": registered}
                enrolments.append({**key, "grade_code": None if day == _TERMS[-1] else grade})
            if day < _TERMS[-1] and sum(courses[code]["credits"] for code in passed) >= _DEGREE:
                student["graduated_on"] = dt.date(day.year, 7, 11) if day.month == 2 else dt.date(day.year + 1, 1, 30)
                break
            if rng.random() < 0.03:
                break
    return enrolments


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    columns = ("department_id", "name", "building", "budget")
    yield "department", [dict(zip(columns, (i, *d[:3]), strict=True)) for i, d in enumerate(_DEPARTMENTS.values(), 1)]
    lecturers = _lecturers(rng, fake)
    yield "lecturer", lecturers
    courses, prerequisites = _courses()
    yield "course", courses
    yield "prerequisite", prerequisites
    offerings = _offerings(rng, courses, lecturers)
    yield "offering", [o for held in offerings.values() for o in held]
    students = _students(rng, fake, 320)
    needs: dict[str, set[str]] = {c["course_code"]: set() for c in courses}
    for p in prerequisites:
        needs[p["course_code"]].add(p["required_code"])
    enrolments = _enrolments(rng, students, {c["course_code"]: c for c in courses}, needs, offerings)
    yield "student", students
    yield "grade", [{"grade_code": g, "points": p, "passed": int(g not in "FW")} for g, p in _GRADES.items()]
    yield "enrolment", enrolments
