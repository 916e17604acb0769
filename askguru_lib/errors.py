"""The one hierarchy of errors: every message says what is wrong, where, and what to do about it."""

from __future__ import annotations


class AskGuruError(Exception):
    """Base of every error that askGuru raises on purpose.

    Args:
        what: the fact, in one clause (``"unknown parameter 'lerning_rate'"``).
        where: file, record, field or database in which it was found.
        hint: what the reader can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  → {self.hint}" if self.hint else ""
        return f"{place}{self.what}{advice}"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a notebook: the message, not fifty lines of how it was raised."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(AskGuruError):
    """A parameter file or a parameter is wrong."""

    exit_code = 2


class DataError(AskGuruError):
    """A data file or one of its records is wrong."""

    exit_code = 3


class MissingArtifactError(AskGuruError):
    """Something that an earlier chapter or command makes is not there yet."""

    exit_code = 4


class DatabaseError(AskGuruError):
    """A database cannot be reached, read or built."""

    exit_code = 5


class TrainingError(AskGuruError):
    """Training cannot start or go on."""

    exit_code = 6


class InferenceError(AskGuruError):
    """Predictions cannot be made."""

    exit_code = 7


class EvaluationError(AskGuruError):
    """An evaluation cannot be trusted, so it is not reported."""

    exit_code = 8
