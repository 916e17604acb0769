"""Reading the SQL out of what a model wrote."""

from __future__ import annotations

import re

_FENCE = re.compile(r"```[ \t]*\w*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_OTHER_STATEMENT = re.compile(
    r"(?:INSERT|REPLACE|UPDATE|DELETE|MERGE|CREATE|DROP|ALTER|TRUNCATE|EXPLAIN|PRAGMA|ATTACH|COPY|CALL|GRANT|SET|VACUUM"
    r"|(?:OPTIONAL\s+)?MATCH|UNWIND|LOOKUP|GO\s+FROM|FETCH\s+PROP)\b(?=\s*[\w(\"`\[*])",
    re.IGNORECASE,
)
_QUERY = re.compile(r"SELECT\b|WITH\s+(?:RECURSIVE\s+)?[\w\"`\[\]]+\s*(?:\([^)]*\)\s*)?AS\b", re.IGNORECASE)
_LINE_OF_QUERY = re.compile(rf"^[ \t(]*(?:{_QUERY.pattern})", re.IGNORECASE | re.MULTILINE)
_PIECE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|;|\[[^\]\n]*\]|\n[ \t]*\n", re.DOTALL)
_GOES_ON = re.compile(
    r"\s*(?:[(),]|--|SELECT|FROM|WHERE|JOIN|LEFT|RIGHT|INNER|FULL|CROSS|ON|AND|OR|GROUP|ORDER|HAVING|LIMIT|OFFSET|UNION"
    r"|EXCEPT|INTERSECT|WINDOW)(?![a-z])"
)


def parse_sql(text: str) -> str:
    """The SQL in a model's answer: code fences, words around it, the closing semicolon and later statements dropped.

    What a reasoning model thinks aloud (``<think>``) is not its answer. An answer that begins with another statement
    (INSERT, EXPLAIN, MATCH …) is that statement, never the SELECT inside it; one without any is returned as it stands,
    so that executing it reports what is wrong with it.
    """
    text = _THOUGHT.sub("", text)
    fenced = [m[1] for m in _FENCE.finditer(text) if m[1].strip()]
    body = next((f for f in fenced if _QUERY.search(f)), fenced[0] if fenced else text).strip()
    if _OTHER_STATEMENT.match(body):
        start: re.Match[str] | None = re.match("", body)
    else:
        shouted = (m for m in _QUERY.finditer(body) if m[0][:4].isupper())
        start = _LINE_OF_QUERY.search(body) or next(shouted, None) or _QUERY.search(body)
    sql = body[start.start() :].strip() if start else body
    for piece in _PIECE.finditer(sql):
        prose = piece[0].isspace() and not _GOES_ON.match(sql, piece.end())
        if piece[0] == ";" or (start and prose):
            sql = sql[: piece.start()]
            break
    return sql.strip().strip("`").strip()
