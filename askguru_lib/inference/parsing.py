"""Reading the SQL out of what a model wrote."""

from __future__ import annotations

import re

_FENCE = re.compile(r"```[ \t]*\w*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_QUERY = re.compile(r"SELECT\b|WITH\s+(?:RECURSIVE\s+)?[\w\"`\[\]]+\s*(?:\([^)]*\)\s*)?AS\b", re.IGNORECASE)
_LINE_OF_QUERY = re.compile(rf"^[ \t(]*(?:{_QUERY.pattern})", re.IGNORECASE | re.MULTILINE)
_PIECE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|;|\n[ \t]*\n", re.DOTALL)
_GOES_ON = re.compile(
    r"\s*(?:[(),]|--|SELECT|FROM|WHERE|JOIN|LEFT|RIGHT|INNER|FULL|CROSS|ON|AND|OR|GROUP|ORDER|HAVING|LIMIT|OFFSET|UNION"
    r"|EXCEPT|INTERSECT|WINDOW)(?![a-z])"
)


def parse_sql(text: str) -> str:
    """The SQL in a model's answer: code fences, words around it, the closing semicolon and later statements dropped.

    An answer without SELECT or WITH is returned as it stands, so that executing it reports what is wrong with it.
    """
    fenced = [m[1] for m in _FENCE.finditer(text) if m[1].strip()]
    body = next((f for f in fenced if _QUERY.search(f)), fenced[0] if fenced else text).strip()
    start = _LINE_OF_QUERY.search(body) or next((m for m in _QUERY.finditer(body) if m[0][:4].isupper()), None)
    start = start or _QUERY.search(body)
    sql = body[start.start() :].strip() if start else body
    for piece in _PIECE.finditer(sql):
        prose = piece[0].isspace() and not _GOES_ON.match(sql, piece.end())
        if piece[0] == ";" or (start and prose):
            sql = sql[: piece.start()]
            break
    return sql.strip().strip("`").strip()
