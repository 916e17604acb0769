"""An airline: airports, aircraft, flights, passengers, bookings. No training stage ever touches it."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "Airline"
METADATA = sa.MetaData()

sa.Table(
    "airports",
    METADATA,
    sa.Column("iata", sa.String(3), primary_key=True, comment="three letter airport code"),
    sa.Column("name", sa.String(60), nullable=False, comment="airport name"),
    sa.Column("city", sa.String(40), nullable=False, comment="city served"),
    sa.Column("country", sa.String(40), nullable=False),
    sa.Column("elevation_ft", sa.Integer, nullable=False, comment="height in feet"),
    comment="airports served",
)
sa.Table(
    "aircraft",
    METADATA,
    sa.Column("tail_number", sa.String(8), primary_key=True, comment="registration of the plane"),
    sa.Column("manufacturer", sa.String(20), nullable=False, comment="maker of the plane"),
    sa.Column("model", sa.String(20), nullable=False, comment="type of the plane"),
    sa.Column("seats", sa.Integer, nullable=False, comment="number of seats"),
    sa.Column("built_year", sa.Integer, nullable=False, comment="year of construction"),
    sa.Column("retired_on", sa.Date, comment="empty while in service"),
    comment="planes of the fleet",
)
sa.Table(
    "flights",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("flight_number", sa.String(8), nullable=False, comment="number of the route"),
    sa.Column("origin", sa.String(3), sa.ForeignKey("airports.iata"), nullable=False, comment="departure airport"),
    sa.Column("destination", sa.String(3), sa.ForeignKey("airports.iata"), nullable=False, comment="arrival airport"),
    sa.Column("tail_number", sa.String(8), sa.ForeignKey("aircraft.tail_number"), comment="plane used"),
    sa.Column("flight_date", sa.Date, nullable=False, comment="day of departure"),
    sa.Column("dep_time", sa.String(5), nullable=False, comment="scheduled departure time"),
    sa.Column("distance_km", sa.Integer, nullable=False, comment="length of the flight"),
    sa.Column("delay_min", sa.Integer, comment="departure delay in minutes"),
    sa.Column("status", sa.String(10), nullable=False, comment="landed cancelled or diverted"),
    comment="single flights by day",
)
sa.Table(
    "passengers",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("first_name", sa.String(30), nullable=False),
    sa.Column("last_name", sa.String(30), nullable=False),
    sa.Column("nationality", sa.String(40), nullable=False, comment="country of the passport"),
    sa.Column("birth_date", sa.Date, nullable=False),
    sa.Column("ff_tier", sa.String(10), comment="frequent flyer tier"),
    comment="people who booked",
)
sa.Table(
    "bookings",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("flight_id", sa.Integer, sa.ForeignKey("flights.id"), nullable=False),
    sa.Column("passenger_id", sa.Integer, sa.ForeignKey("passengers.id"), nullable=False),
    sa.Column("booked_on", sa.Date, nullable=False, comment="day of booking"),
    sa.Column("cabin", sa.String(1), nullable=False, comment="class of travel code"),
    sa.Column("fare", sa.Numeric(8, 2, asdecimal=False), nullable=False, comment="price paid in euro"),
    sa.Column("bags", sa.Integer, nullable=False, comment="checked bags"),
    sa.Column("channel", sa.String(10), nullable=False, comment="web app agent or phone"),
    comment="seats sold on flights",
)

_AIRPORTS = [  # code, name, city, country, elevation, traffic, position on a map in units of 100 km
    ("FRA", "Frankfurt Main", "Frankfurt", "Germany", 364, 30, 0, 0),
    ("MUC", "Munich Franz Josef Strauss", "Munich", "Germany", 1487, 16, 2, -2),
    ("BER", "Berlin Brandenburg", "Berlin", "Germany", 157, 12, 3, 3),
    ("HAM", "Hamburg Airport", "Hamburg", "Germany", 53, 8, 1, 4),
    ("LHR", "London Heathrow", "London", "United Kingdom", 83, 12, -6, 2),
    ("LGW", "London Gatwick", "London", "United Kingdom", 203, 5, -6, 1),
    ("EDI", "Edinburgh Airport", "Edinburgh", "United Kingdom", 136, 3, -8, 7),
    ("CDG", "Paris Charles de Gaulle", "Paris", "France", 392, 10, -4, -1),
    ("ORY", "Paris Orly", "Paris", "France", 291, 4, -4, -2),
    ("NCE", "Nice Cote d Azur", "Nice", "France", 12, 4, -1, -7),
    ("MAD", "Madrid Barajas", "Madrid", "Spain", 1998, 8, -12, -10),
    ("BCN", "Barcelona El Prat", "Barcelona", "Spain", 14, 7, -6, -9),
    ("PMI", "Palma de Mallorca", "Palma", "Spain", 27, 7, -5, -11),
    ("FCO", "Rome Fiumicino", "Rome", "Italy", 14, 7, 4, -9),
    ("MXP", "Milan Malpensa", "Milan", "Italy", 768, 5, 0, -5),
    ("VIE", "Vienna International", "Vienna", "Austria", 600, 6, 6, -1),
    ("ZRH", "Zurich Airport", "Zurich", "Switzerland", 1417, 6, 0, -3),
    ("LIS", "Lisbon Humberto Delgado", "Lisbon", "Portugal", 374, 5, -17, -11),
    ("ATH", "Athens Eleftherios Venizelos", "Athens", "Greece", 308, 4, 13, -12),
    ("CPH", "Copenhagen Kastrup", "Copenhagen", "Denmark", 17, 4, 3, 6),
    ("OSL", "Oslo Gardermoen", "Oslo", "Norway", 681, 3, 2, 11),
    ("KEF", "Keflavik International", "Reykjavik", "Iceland", 171, 1, -19, 15),
    ("IST", "Istanbul Airport", "Istanbul", "Turkey", 325, 4, 17, -6),
    ("JFK", "New York John F Kennedy", "New York", "United States", 13, 5, -62, 5),
    ("SFO", "San Francisco International", "San Francisco", "United States", 13, 2, -91, 10),
    ("DEL", "Delhi Indira Gandhi", "Delhi", "India", 777, 2, 60, -12),
    ("NRT", "Tokyo Narita", "Tokyo", "Japan", 135, 2, 93, 8),
    ("GRU", "Sao Paulo Guarulhos", "Sao Paulo", "Brazil", 2459, 1, -60, -77),
    ("INN", "Innsbruck Kranebitten", "Innsbruck", "Austria", 1907, 0, 2, -3),
    ("FNC", "Madeira Cristiano Ronaldo", "Funchal", "Portugal", 192, 0, -24, -18),
]
_MODELS = [  # manufacturer, model, seats, how many, first built, long haul
    ("Airbus", "A320", 180, 12, 2001, False),
    ("Airbus", "A321", 220, 7, 2001, False),
    ("Airbus", "A220", 145, 5, 2016, False),
    ("Boeing", "737-800", 189, 5, 2001, False),
    ("Embraer", "E190", 100, 6, 2005, False),
    ("Airbus", "A350", 325, 4, 2015, True),
    ("Boeing", "787-9", 294, 4, 2014, True),
    ("Boeing", "777-300", 368, 2, 2002, True),
]
_NATIONALITIES = {
    "Germany": 34,
    "United Kingdom": 14,
    "France": 10,
    "Spain": 8,
    "Italy": 8,
    "United States": 7,
    "Austria": 5,
    "Turkey": 4,
    "Switzerland": 4,
    "Portugal": 3,
    "India": 2,
    "Japan": 1,
}
_FIRST, _LAST = dt.date(2021, 3, 1), dt.date(2024, 12, 29)
_HUBS = ("FRA", "MUC")
_LONG_HAUL_KM = 3500


def _fleet(rng: random.Random) -> list[dict]:
    tails = rng.sample([f"D-A{a}{b}{c}" for a in "BCGKX" for b in "ABCDE" for c in "JKLMNPQRS"], 45)
    fleet = []
    for manufacturer, model, seats, number, first, _ in _MODELS:
        for _ in range(number):
            built = rng.randint(first, 2022)
            old = built < 2006
            fleet.append(
                {
                    "tail_number": tails.pop(),
                    "manufacturer": manufacturer,
                    "model": model,
                    "seats": seats,
                    "built_year": built,
                    "retired_on": dt.date(2022, 1, 3) + dt.timedelta(days=rng.randint(0, 1000)) if old else None,
                }
            )
    return fleet


def _routes(rng: random.Random) -> list[tuple[str, str, str, int, str, int]]:
    """(flight number, origin, destination, km, departure time, weight): mostly from and to the hubs, both ways."""
    routes = []
    number = 100
    for hub in _HUBS:
        for code, *_, traffic, x, y in _AIRPORTS:
            if code in _HUBS[: _HUBS.index(hub) + 1] or not traffic or (hub == "MUC" and traffic < 5):
                continue
            hx, hy = next((a[6], a[7]) for a in _AIRPORTS if a[0] == hub)
            km = max(160, 100 * (abs(x - hx) + abs(y - hy)) * 4 // 5 + rng.randint(-40, 40))
            for origin, destination in ((hub, code), (code, hub)):
                number += 1
                hour = rng.choices(range(6, 22), [7, 9, 8, 6, 5, 4, 4, 5, 5, 6, 7, 8, 7, 5, 3, 2])[0]
                time = f"{hour:02d}:{rng.randrange(0, 60, 5):02d}"
                routes.append((f"AG{number}", origin, destination, km, time, traffic if hub == "FRA" else traffic // 2))
    return routes


def _flights(rng: random.Random, fleet: list[dict], number: int) -> list[dict]:
    routes = _routes(rng)
    long_haul = {model for _, model, *_, far in _MODELS if far}
    seen: set[tuple[str, dt.date]] = set()
    flights: list[dict] = []
    while len(flights) < number:
        name, origin, destination, km, time, _ = rng.choices(routes, [r[5] for r in routes])[0]
        # Traffic grows from year to year and peaks in summer.
        year = rng.choices([2021, 2022, 2023, 2024], [12, 22, 30, 36])[0]
        month = rng.choices(range(1, 13), [5, 5, 7, 8, 9, 11, 13, 13, 10, 8, 5, 6])[0]
        day = dt.date(year, month, rng.randint(1, 28))
        if not _FIRST <= day <= _LAST or (name, day) in seen:
            continue
        seen.add((name, day))
        usable = [
            a
            for a in fleet
            if (a["model"] in long_haul) == (km > _LONG_HAUL_KM)
            and a["built_year"] < year
            and (a["retired_on"] is None or a["retired_on"] > day)
        ]
        status = rng.choices(["landed", "cancelled", "diverted"], [935, 50, 15])[0]
        flights.append(
            {
                "flight_number": name,
                "origin": origin,
                "destination": destination,
                "tail_number": None if status == "cancelled" else rng.choice(usable)["tail_number"],
                "flight_date": day,
                "dep_time": time,
                "distance_km": km,
                "delay_min": None if status == "cancelled" else _delay(rng, month),
                "status": status,
            }
        )
    flights.sort(key=lambda f: (f["flight_date"], f["dep_time"], f["flight_number"]))
    return [{"id": i, **f} for i, f in enumerate(flights, 1)]


def _delay(rng: random.Random, month: int) -> int:
    if rng.random() < (0.45 if month in (6, 7, 8, 12) else 0.6):
        return 0
    u = rng.random()
    return 1 + int(u * u * u * 240)


def _passengers(rng: random.Random, fake: Faker, number: int) -> list[dict]:
    return [
        {
            "id": i,
            "first_name": fake.first_name(),
            "last_name": fake.last_name(),
            "nationality": rng.choices(list(_NATIONALITIES), list(_NATIONALITIES.values()))[0],
            "birth_date": dt.date(1942, 1, 1) + dt.timedelta(days=rng.randint(0, 24800)),
            "ff_tier": rng.choices([None, "blue", "silver", "gold"], [45, 33, 15, 7])[0],
        }
        for i in range(1, number + 1)
    ]


def _bookings(rng: random.Random, flights: list[dict], passengers: list[dict], number: int) -> list[dict]:
    loyal = {None: 2, "blue": 4, "silver": 12, "gold": 30}
    flyers = passengers[:-25]  # registered, never booked
    habit = [loyal[p["ff_tier"]] * rng.randint(1, 5) for p in flyers]
    pairs: set[tuple[int, int]] = set()
    bookings: list[dict] = []
    while len(bookings) < number:
        flight, passenger = rng.choice(flights), rng.choices(flyers, habit)[0]
        if (flight["id"], passenger["id"]) in pairs:
            continue
        pairs.add((flight["id"], passenger["id"]))
        far = flight["distance_km"] > _LONG_HAUL_KM
        cabin = rng.choices("YWJF", [72, 14, 12, 2] if far else [86, 0, 14, 0])[0]
        base = 39 + flight["distance_km"] * 0.055
        fare = base * {"Y": 1.0, "W": 1.6, "J": 3.2, "F": 6.0}[cabin] * (0.7 + rng.random() * 0.9)
        ahead = int(rng.random() * rng.random() * 180)
        bookings.append(
            {
                "flight_id": flight["id"],
                "passenger_id": passenger["id"],
                "booked_on": flight["flight_date"] - dt.timedelta(days=ahead),
                "cabin": cabin,
                "fare": round(fare) - 0.01 if rng.random() < 0.5 else float(round(fare)),
                "bags": rng.choices([0, 1, 2, 3], [38, 44, 15, 3])[0],
                "channel": rng.choices(["web", "app", "agent", "phone"], [48, 31, 16, 5])[0],
            }
        )
    bookings.sort(key=lambda b: (b["booked_on"], b["flight_id"], b["passenger_id"]))
    return [{"id": i, **b} for i, b in enumerate(bookings, 1)]


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    columns = ("iata", "name", "city", "country", "elevation_ft")
    yield "airports", [dict(zip(columns, a, strict=False)) for a in _AIRPORTS]
    fleet = _fleet(rng)
    yield "aircraft", fleet
    flights = _flights(rng, fleet, 1500)
    yield "flights", flights
    passengers = _passengers(rng, fake, 640)
    yield "passengers", passengers
    yield "bookings", _bookings(rng, flights, passengers, 5200)
