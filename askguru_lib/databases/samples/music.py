"""Music streaming: artists with albums and tracks, listeners with subscriptions, plays and playlists. Plain names."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "Music streaming"
METADATA = sa.MetaData()

sa.Table(
    "artists",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(60), nullable=False, comment="stage or band name"),
    sa.Column("country", sa.String(40), nullable=False, comment="where they come from"),
    sa.Column("genre", sa.String(20), nullable=False, comment="main style of music"),
    comment="bands and solo musicians",
)
sa.Table(
    "albums",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("artist_id", sa.Integer, sa.ForeignKey("artists.id"), nullable=False),
    sa.Column("title", sa.String(60), nullable=False, comment="album title"),
    sa.Column("released_on", sa.Date, nullable=False, comment="release date"),
    comment="records in the catalogue",
)
sa.Table(
    "tracks",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("album_id", sa.Integer, sa.ForeignKey("albums.id"), nullable=False),
    sa.Column("title", sa.String(60), nullable=False, comment="song title"),
    sa.Column("duration_sec", sa.Integer, nullable=False, comment="length in seconds"),
    sa.Column("explicit", sa.Integer, nullable=False, comment="1 if the lyrics carry a parental warning"),
    comment="songs",
)
sa.Table(
    "listeners",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(60), nullable=False),
    sa.Column("country", sa.String(40), nullable=False, comment="country of residence"),
    sa.Column("birth_year", sa.Integer, comment="empty if not given"),
    sa.Column("signed_up_on", sa.Date, nullable=False, comment="account opened"),
    comment="user accounts, paying or free",
)
sa.Table(
    "subscriptions",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("listener_id", sa.Integer, sa.ForeignKey("listeners.id"), nullable=False),
    sa.Column("plan", sa.String(12), nullable=False, comment="individual duo family or student"),
    sa.Column("monthly_fee", sa.Numeric(6, 2, asdecimal=False), nullable=False, comment="price per month in dollars"),
    sa.Column("started_on", sa.Date, nullable=False, comment="first day"),
    sa.Column("ended_on", sa.Date, comment="day of cancellation, empty while running"),
    comment="paid plans; free listeners have none",
)
sa.Table(
    "plays",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("listener_id", sa.Integer, sa.ForeignKey("listeners.id"), nullable=False),
    sa.Column("track_id", sa.Integer, sa.ForeignKey("tracks.id"), nullable=False),
    sa.Column("played_on", sa.Date, nullable=False, comment="day of the stream"),
    sa.Column("seconds_played", sa.Integer, nullable=False, comment="how long it ran before the end or a skip"),
    sa.Column("device", sa.String(10), nullable=False, comment="phone web speaker or car"),
    comment="streams",
)
sa.Table(
    "playlists",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("listener_id", sa.Integer, sa.ForeignKey("listeners.id"), nullable=False, comment="who made it"),
    sa.Column("title", sa.String(40), nullable=False, comment="name given by its maker"),
    comment="collections of songs made by listeners",
)
sa.Table(
    "playlist_tracks",
    METADATA,
    sa.Column("playlist_id", sa.Integer, sa.ForeignKey("playlists.id"), primary_key=True),
    sa.Column("track_id", sa.Integer, sa.ForeignKey("tracks.id"), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False, comment="place in the playlist, from 1"),
)

_GENRES = {  # artists, shortest and longest song in seconds, share of explicit songs
    "pop": (13, 140, 240, 0.1),
    "rock": (11, 160, 330, 0.08),
    "hip hop": (8, 120, 280, 0.55),
    "electronic": (7, 170, 420, 0.02),
    "folk": (6, 130, 290, 0.01),
    "jazz": (5, 200, 560, 0.0),
    "metal": (4, 190, 480, 0.22),
    "soul": (4, 160, 310, 0.06),
}
_ORIGINS = {
    **{"United States": 34, "United Kingdom": 20, "Sweden": 9, "Canada": 8, "Australia": 6, "France": 6},
    **{"Germany": 5, "Nigeria": 4, "Brazil": 4, "South Korea": 4},
}
_HOMES = {
    **{"United States": 38, "United Kingdom": 15, "Germany": 11, "Brazil": 9, "Canada": 7, "France": 6},
    **{"Australia": 5, "Sweden": 4, "Mexico": 4, "Ireland": 1},
}
_BANDS, _FIRST_WORDS, _LAST_WORDS, _THINGS, _SONGS = (
    line.split(", ")
    for line in (
        "Foxes, Lanterns, Satellites, Architects, Parade, Tigers, Cinemas, Weathermen, Strangers, Pilots, Magpies, "
        "Ghosts, Engines, Choir, Wolves, Astronauts, Neighbours, Hotels",
        "Velvet, Midnight, Electric, Paper, Neon, Hollow, Golden, Static, Northern, Slow, Cobalt, Wild, Summer, "
        "Broken, Crystal, Lonely, Distant, Burning, Silver, Faded",
        "Rain, Hearts, Roads, Skies, Signals, Rooms, Waves, Letters, Mirrors, Shadows, Dancers, Cities, Fires, "
        "Gardens, Echoes, Trains, Nights, Rivers, Thunder, Sundays",
        "you, tonight, the radio, my old town, nobody, the ocean, tomorrow, strangers, gravity, the moon, your mother",
        "{a} {n}, {a} {n}, {a} {n}, {n} and {m}, {n} and {m}, {n} without {m}, All the {a} {n}, {n}, {a}, "
        "Waiting for {t}, Dancing with {t}, Song for {t}, Don't Say {n}, Leave the {n}, {n} over {m}, {a} Again",
    )
)
_PLAYLISTS = {
    **{"Favourites": 20, "Workout": 14, "Road Trip": 11, "Chill": 11, "Party": 9, "Morning Run": 8, "Focus": 8},
    **{"Sleep": 6, "Dinner with friends": 4, "Throwback": 4, "Sad songs": 3, "Summer 2024": 3, "Summer 2025": 3},
}
_FEES = {"individual": (9.99, 10.99), "duo": (12.99, 14.99), "family": (15.99, 17.99), "student": (4.99, 5.99)}
"""Monthly price of each plan before and after the increase."""
_OPENED, _DEARER, _LAST = dt.date(2022, 1, 10), dt.date(2024, 7, 1), dt.date(2025, 11, 30)


def _numbered(columns: str, rows: Iterable[tuple]) -> list[dict]:
    return [dict(zip(("id", *columns.split()), (i, *row), strict=True)) for i, row in enumerate(rows, 1)]


def _artists(rng: random.Random, fake: Faker) -> list[dict]:
    genres = [genre for genre, spec in _GENRES.items() for _ in range(spec[0])]
    rng.shuffle(genres)
    bands = rng.sample([f"{the}{a} {b}" for the in ("", "The ") for a in _FIRST_WORDS for b in _BANDS], len(genres))
    names = [band if rng.random() < 0.6 else f"{fake.first_name()} {fake.unique.last_name()}" for band in bands]
    countries = rng.choices(list(_ORIGINS), list(_ORIGINS.values()), k=len(genres))
    return _numbered("name country genre", zip(names, countries, genres, strict=True))


def _title(rng: random.Random, used: set[str]) -> str:
    while True:
        a, t, (n, m) = rng.choice(_FIRST_WORDS), rng.choice(_THINGS), rng.sample(_LAST_WORDS, 2)
        if (title := rng.choice(_SONGS).format(a=a, n=n, m=m, t=t)) not in used:
            used.add(title)
            return title


def _records(rng: random.Random, artists: list[dict]) -> tuple[list[dict], list[dict]]:
    """Albums by release date, and their tracks; an artist never uses a song title twice."""
    releases = []
    for artist in artists[:-2]:  # the last two are signed, but have not released anything yet
        day = dt.date(1974, 1, 1) + dt.timedelta(days=int((1 - rng.random() * rng.random()) * 18200))
        for _ in range(rng.choices([1, 2, 3, 4, 5, 6], [26, 27, 20, 13, 9, 5])[0]):
            if day < dt.date(2025, 11, 1):
                releases.append((day, artist["id"]))
            day += dt.timedelta(days=rng.randint(330, 1500))
    albums, tracks = [], []
    used: dict[int, set[str]] = {artist["id"]: set() for artist in artists}
    for number, (day, artist_id) in enumerate(sorted(releases), 1):
        artist = artists[artist_id - 1]
        _, shortest, longest, explicit = _GENRES[artist["genre"]]
        songs = [_title(rng, used[artist_id]) for _ in range(rng.choice([4, 8, 8, 9, 10, 10, 11, 12, 13]))]
        for song in songs:
            length = rng.randint(shortest, (shortest + longest) // 2) + rng.randint(0, longest // 4)
            tracks.append((number, song, length, int(rng.random() < explicit)))
        roll = rng.random()
        title = artist["name"] if roll < 0.06 else songs[0] if roll < 0.5 else _title(rng, used[artist_id])
        albums.append((artist_id, title, day))
    return _numbered("artist_id title released_on", albums), _numbered("album_id title duration_sec explicit", tracks)


def _listeners(rng: random.Random, fake: Faker, number: int) -> list[dict]:
    joined = sorted(_OPENED + dt.timedelta(days=rng.randint(0, (_LAST - _OPENED).days)) for _ in range(number))
    countries = rng.choices(list(_HOMES), list(_HOMES.values()), k=number)
    born = [None if rng.random() < 0.08 else 2007 - int(rng.random() * rng.random() * 62) for _ in joined]
    names = [f"{fake.first_name()} {fake.last_name()}" for _ in joined]
    return _numbered("name country birth_year signed_up_on", zip(names, countries, born, joined, strict=True))


def _subscriptions(rng: random.Random, listeners: list[dict]) -> list[dict]:
    rows = []
    for listener in listeners:
        start = listener["signed_up_on"] + dt.timedelta(days=int(rng.random() * rng.random() * 240))
        while start <= _LAST and rng.random() < 0.7:  # the others listen for free
            young = (listener["birth_year"] or 0) > 1998
            plan = rng.choices(list(_FEES), [56, 13, 19, 40 if young else 0])[0]
            end = start + dt.timedelta(days=30 * rng.choice([1, 2, 3, 4, 6, 9, 12, 15, 18, 24, 30, 36, 48]))
            fee = _FEES[plan][start >= _DEARER]
            rows.append((start, listener["id"], plan, fee, end if end <= _LAST else None))
            start = end + dt.timedelta(days=rng.randint(1, 150))
    rows.sort(key=lambda row: row[:2])
    return _numbered("started_on listener_id plan monthly_fee ended_on", rows)


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    artists = _artists(rng, fake)
    yield "artists", artists
    albums, tracks = _records(rng, artists)
    yield "albums", albums
    yield "tracks", tracks
    listeners = _listeners(rng, fake, 330)
    yield "listeners", listeners
    yield "subscriptions", _subscriptions(rng, listeners)

    fame = [_GENRES[artist["genre"]][0] / rng.randint(2, 24) for artist in artists]
    makers = [artists[albums[track["album_id"] - 1]["artist_id"] - 1] for track in tracks]
    hits = [rng.random() * rng.random() * rng.random() * fame[maker["id"] - 1] for maker in makers]
    tastes = []
    for _ in listeners:
        loved = rng.sample(list(_GENRES), 2)
        tastes.append([hit * (8 if m["genre"] in loved else 1) for hit, m in zip(hits, makers, strict=True)])
    keen = [0.0 if listener["id"] % 14 == 5 else 1 / rng.randint(2, 40) for listener in listeners]  # some never listen
    plays: list[tuple] = []
    while len(plays) < 3600:
        listener = rng.choices(listeners, keen)[0]
        track = rng.choices(tracks, tastes[listener["id"] - 1])[0]
        day = listener["signed_up_on"] + dt.timedelta(days=rng.randint(0, (_LAST - listener["signed_up_on"]).days))
        length, roll = track["duration_sec"], rng.random()
        heard = length if roll < 0.68 else rng.randint(2, 29 if roll < 0.9 else length)
        device = rng.choices(["phone", "web", "speaker", "car"], [58, 19, 15, 8])[0]
        if albums[track["album_id"] - 1]["released_on"] <= day:
            plays.append((day, listener["id"], track["id"], heard, device))
    yield "plays", _numbered("played_on listener_id track_id seconds_played device", sorted(plays))

    playlists, entries = [], []
    for i in range(1, 131):
        owner = rng.choices(listeners, keen)[0]["id"]
        playlists.append((owner, rng.choices(list(_PLAYLISTS), list(_PLAYLISTS.values()))[0]))
        songs = rng.choices(range(1, len(tracks) + 1), tastes[owner - 1], k=rng.randint(2, 18) if i % 19 else 0)
        for place, track_id in enumerate(dict.fromkeys(songs), 1):
            entries.append({"playlist_id": i, "track_id": track_id, "position": place})
    yield "playlists", _numbered("listener_id title", playlists)
    yield "playlist_tracks", entries
