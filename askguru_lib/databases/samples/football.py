"""A national football league: clubs, stadiums, players and their contracts, matches, goals. Used for testing only."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "Football league"
METADATA = sa.MetaData()

sa.Table(
    "stadiums",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(30), nullable=False, comment="name of the ground"),
    sa.Column("city", sa.String(30), nullable=False),
    sa.Column("capacity", sa.Integer, nullable=False, comment="number of places"),
    sa.Column("opened_year", sa.Integer, nullable=False, comment="year of the first match"),
    comment="football grounds",
)
sa.Table(
    "clubs",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(30), nullable=False, comment="name of the team"),
    sa.Column("founded_year", sa.Integer, nullable=False),
    sa.Column("stadium_id", sa.Integer, sa.ForeignKey("stadiums.id"), nullable=False, comment="home ground"),
    comment="clubs that have played in the league",
)
sa.Table(
    "players",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(40), nullable=False, comment="first and last name"),
    sa.Column("nationality", sa.String(20), nullable=False, comment="country he plays for"),
    sa.Column("birth_date", sa.Date, nullable=False),
    sa.Column("position", sa.String(10), nullable=False, comment="goalkeeper defender midfielder or forward"),
    sa.Column("height_cm", sa.Integer, comment="empty when never measured"),
)
sa.Table(
    "contracts",
    METADATA,
    sa.Column("player_id", sa.Integer, sa.ForeignKey("players.id"), primary_key=True),
    sa.Column("starts_on", sa.Date, primary_key=True, comment="first day"),
    sa.Column("ends_on", sa.Date, comment="last day; empty while it runs"),
    sa.Column("club_id", sa.Integer, sa.ForeignKey("clubs.id"), nullable=False),
    sa.Column("weekly_wage", sa.Integer, nullable=False, comment="pounds a week"),
    sa.Column("fee", sa.Integer, comment="transfer fee in pounds; empty for free moves, own youth and extensions"),
    comment="who was employed where and when",
)
sa.Table(
    "matches",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("season", sa.String(7), nullable=False, comment="such as 2023/24"),
    sa.Column("matchday", sa.Integer, nullable=False, comment="round of the season"),
    sa.Column("played_on", sa.Date, nullable=False, comment="date of the game"),
    sa.Column(
        "home_club_id", sa.Integer, sa.ForeignKey("clubs.id"), nullable=False, comment="plays in its own stadium"
    ),
    sa.Column("away_club_id", sa.Integer, sa.ForeignKey("clubs.id"), nullable=False, comment="visiting club"),
    sa.Column("home_goals", sa.Integer, nullable=False, comment="final score of the home side"),
    sa.Column("away_goals", sa.Integer, nullable=False, comment="final score of the visitors"),
    sa.Column("attendance", sa.Integer, comment="spectators; empty when played behind closed doors"),
    comment="league games; a win brings 3 points and a draw 1",
)
sa.Table(
    "goals",
    METADATA,
    sa.Column("match_id", sa.Integer, sa.ForeignKey("matches.id"), primary_key=True),
    sa.Column("minute", sa.Integer, primary_key=True, comment="minute of play"),
    sa.Column("club_id", sa.Integer, sa.ForeignKey("clubs.id"), nullable=False, comment="club it counts for"),
    sa.Column("player_id", sa.Integer, sa.ForeignKey("players.id"), nullable=False, comment="who put it in"),
    sa.Column("assist_id", sa.Integer, sa.ForeignKey("players.id"), comment="player who gave the last pass"),
    sa.Column("kind", sa.String(10), nullable=False, comment="open play or free kick or penalty or own goal"),
)

_CLUBS = [  # name, founded, strength, stadium with city, capacity, year; the last three start outside the league
    ("Kingsford City", 1886, 10, "Crown Stadium", "Kingsford", 54_000, 2006),
    ("Northwick United", 1894, 9, "Northwick Stadium", "Northwick", 42_800, 1995),
    ("Brackwater City", 1901, 8, "Harbour Park", "Brackwater", 31_500, 1998),
    ("Kingsford Rangers", 1891, 8, "Rangers Park", "Kingsford", 38_200, 1913),
    ("Stanmoor Villa", 1908, 7, "Moor Park", "Stanmoor", 27_400, 2001),
    ("Eastholme United", 1923, 6, "Eastholme Arena", "Eastholme", 24_600, 2012),
    ("Hartbury Albion", 1888, 6, "Albion Ground", "Hartbury", 21_700, 1899),
    ("Fernleigh Wanderers", 1912, 5, "Fern Bank", "Fernleigh", 17_300, 1956),
    ("Pembrook Town", 1919, 4, "Castle View", "Pembrook", 16_100, 1962),
    ("Ashcombe Rovers", 1905, 4, "Mill Lane", "Ashcombe", 14_200, 1921),
    ("Brackwater Athletic", 1937, 3, "Harbour Park", "Brackwater", 31_500, 1998),
    ("Glenhaven", 1899, 3, "Lochside", "Glenhaven", 12_900, 1928),
    ("Carrow Vale", 1926, 4, "Orchard Road", "Carrow", 11_800, 1934),
    ("Dunmere Town", 1907, 3, "The Quarry", "Dunmere", 9_400, 1909),
    ("Larkhill", 1951, 2, "Lark Meadow", "Larkhill", 8_700, 1947),
]
_STADIUMS = sorted({club[3:] for club in _CLUBS} | {("National Stadium", "Kingsford", 71_200, 2007)})
_NATIONS = {"England": 55, "Scotland": 11, "Ireland": 9, "Wales": 8, "Jamaica": 5, "Australia": 5, "United States": 4}
_POSITIONS = {  # how many a squad needs, least and greatest height, share of goals
    "goalkeeper": (2, 185, 201, 0),
    "defender": (7, 174, 196, 2),
    "midfielder": (7, 166, 189, 5),
    "forward": (4, 168, 194, 15),
}
_KINDS = {"open play": 82, "penalty": 10, "free kick": 5, "own goal": 3}
_YEARS = range(2021, 2025)  # in which a season starts


class _League:
    """Squads and contracts as they change from summer to summer."""

    def __init__(self, rng: random.Random, fake: Faker) -> None:
        self.rng, self.fake = rng, fake
        self.players: list[dict] = []
        self.contracts: list[dict] = []
        self.talent: list[float] = []
        self.names: set[str] = set()
        for club in range(1, len(_CLUBS) + 1):
            for position, (number, *_) in _POSITIONS.items():
                for _ in range(number):
                    age = rng.randint(18, 33)
                    since = 2021 - rng.randint(0, min(3, age - 18))
                    self._sign(self._player(position, 2021 - age), club, since, paid=age > 22 and rng.random() < 0.5)

    def _player(self, position: str, born: int) -> dict:
        while (name := f"{self.fake.first_name_male()} {self.fake.last_name()}") in self.names:
            pass
        self.names.add(name)
        _, shortest, tallest, _ = _POSITIONS[position]
        player = {
            "id": len(self.names),
            "name": name,
            "nationality": self.rng.choices(list(_NATIONS), list(_NATIONS.values()))[0],
            "birth_date": dt.date(born, 1, 1) + dt.timedelta(days=self.rng.randint(0, 364)),
            "position": position,
            "height_cm": None if self.rng.random() < 0.04 else self.rng.randint(shortest, tallest),
        }
        self.players.append(player)
        self.talent.append(0.2 + self.rng.random() * self.rng.random())
        return player

    def _sign(self, player: dict, club: int, year: int, paid: bool = False) -> None:
        worth = self.talent[player["id"] - 1] * (_CLUBS[club - 1][2] + 2)
        self.contracts.append(
            {
                "player_id": player["id"],
                "starts_on": dt.date(year, 7, 1),
                "ends_on": None,
                "club_id": club,
                "weekly_wage": 100 * int(8 + worth * (10 + 14 * self.rng.random())),
                "fee": 25_000 * int(1 + worth * worth * (0.5 + 4 * self.rng.random())) if paid else None,
            }
        )

    def running(self, club: int, position: str) -> list[dict]:
        """Players of one position whom the club employs now."""
        own = [self.players[c["player_id"] - 1] for c in self.contracts if c["club_id"] == club and not c["ends_on"]]
        return [p for p in own if p["position"] == position]

    def summer(self, year: int) -> None:
        """Players retire, leave, move or extend on 30 June; squads are filled up again on 1 July."""
        for contract in [c for c in self.contracts if not c["ends_on"]]:
            player = self.players[contract["player_id"] - 1]
            old = year - player["birth_date"].year > 34
            step = self.rng.choices(["stay", "leave", "move", "extend"], [35, 55, 5, 5] if old else [66, 9, 13, 12])[0]
            if step == "stay":
                continue
            contract["ends_on"] = dt.date(year, 6, 30)
            club = contract["club_id"]
            if step == "move":
                club = self.rng.choice([i for i in range(1, len(_CLUBS) + 1) if i != club])
            if step != "leave" and year in _YEARS:
                self._sign(player, club, year, paid=step == "move" and self.rng.random() < 0.65)
        for club in range(1, len(_CLUBS) + 1) if year in _YEARS else ():
            for position, (number, *_) in _POSITIONS.items():
                for _ in range(number - len(self.running(club, position))):
                    youth = self.rng.random() < 0.5
                    born = year - (self.rng.randint(17, 19) if youth else self.rng.randint(20, 29))
                    self._sign(self._player(position, born), club, year, paid=not youth)

    def goal(self, club: int, other: int) -> dict:
        """Scorer, passer and kind of one goal for a club."""
        kind = self.rng.choices(list(_KINDS), list(_KINDS.values()))[0]
        field = [p for position in list(_POSITIONS)[1:] for p in self.running(club, position)]
        shares = [_POSITIONS[p["position"]][3] * self.talent[p["id"] - 1] for p in field]
        scorer = self.rng.choices(field, shares)[0]
        passer = self.rng.choice(field)
        alone = kind != "open play" or passer is scorer or self.rng.random() < 0.15
        scorer = self.rng.choice(self.running(other, "defender")) if kind == "own goal" else scorer
        return {"club_id": club, "player_id": scorer["id"], "assist_id": None if alone else passer["id"], "kind": kind}


def _pairs(clubs: list[int]) -> Iterator[tuple[int, int, int]]:
    """(matchday, home, away): everybody meets everybody twice, by the circle method."""
    circle, rounds = clubs[1:], len(clubs) - 1
    for matchday in range(1, rounds + 1):
        row = [clubs[0], *circle]
        for i in range(len(row) // 2):
            pair = (row[i], row[-1 - i]) if (matchday + i) % 2 else (row[-1 - i], row[i])
            yield matchday, *pair
            yield matchday + rounds, pair[1], pair[0]
        circle = [circle[-1], *circle[:-1]]


def _season(league: _League, year: int, clubs: list[int]) -> Iterator[tuple[dict, list[dict]]]:
    rng = league.rng
    kick_off = dt.date(year, 8, 14)
    kick_off -= dt.timedelta(days=kick_off.weekday() - 5)
    form = {club: _CLUBS[club - 1][2] + rng.randint(-2, 2) for club in clubs}
    for number, (matchday, home, away) in enumerate(sorted(_pairs(clubs)), 132 * (year - _YEARS[0]) + 1):
        edge = 0.013 * (form[home] - form[away])
        score = [sum(rng.random() < min(0.4, max(0.04, p)) for _ in range(10)) for p in (0.16 + edge, 0.125 - edge)]
        drawn = 0.5 + 0.03 * form[home] + 0.02 * _CLUBS[away - 1][2] + 0.2 * rng.random()
        match = {
            "id": number,
            "season": f"{year}/{(year + 1) % 100}",
            "matchday": matchday,
            "played_on": kick_off + dt.timedelta(days=(matchday - 1) * 13 // 7 * 7 + rng.choice([-1, 0, 0, 0, 1, 1])),
            "home_club_id": home,
            "away_club_id": away,
            "home_goals": score[0],
            "away_goals": score[1],
            "attendance": None if rng.random() < 0.02 else int(_CLUBS[home - 1][5] * min(1.0, drawn)),
        }
        sides = [(home, away)] * score[0] + [(away, home)] * score[1]
        minutes = rng.sample(range(1, 95), len(sides))
        goals = [{"match_id": number, "minute": m, **league.goal(*s)} for m, s in zip(minutes, sides, strict=True)]
        yield match, sorted(goals, key=lambda goal: goal["minute"])


def _points(club: int, season: list[dict]) -> tuple[int, int]:
    """Points and goal difference, as the final table ranks them."""
    margins = [m["home_goals"] - m["away_goals"] for m in season if m["home_club_id"] == club]
    margins += [m["away_goals"] - m["home_goals"] for m in season if m["away_club_id"] == club]
    return sum(3 if m > 0 else m == 0 for m in margins), sum(margins)


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    keys = ("id", "name", "city", "capacity", "opened_year")
    yield "stadiums", [dict(zip(keys, (i, *s), strict=True)) for i, s in enumerate(_STADIUMS, 1)]
    clubs = [(i, c[0], c[1], _STADIUMS.index(c[3:]) + 1) for i, c in enumerate(_CLUBS, 1)]
    yield "clubs", [dict(zip(("id", "name", "founded_year", "stadium_id"), c, strict=True)) for c in clubs]
    league = _League(rng, fake)
    inside, outside = list(range(1, 13)), [13, 14, 15]
    played: list[tuple[dict, list[dict]]] = []
    for year in _YEARS:
        season = list(_season(league, year, inside))
        played += season
        last = min(inside, key=lambda club: _points(club, [match for match, _ in season]))
        inside[inside.index(last)] = outside.pop(0)
        outside.append(last)
        league.summer(year + 1)
    yield "players", league.players
    yield "contracts", league.contracts
    yield "matches", [match for match, _ in played]
    yield "goals", [goal for _, goals in played for goal in goals]
