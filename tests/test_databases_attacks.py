"""Every attack of attacks.yaml on every engine at hand: stopped in time, failed as it should, and nothing changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import attacks
import pytest
from attacks import ANSWER, ENGINES, HONEST, SERVERS, Attack, Victim

from askguru_lib.databases.executor import Executor

TIMEOUT_S = 0.6
AT_ONCE_S = 1.0
"""What stopping a statement and replacing its worker may take beyond the time-out."""

Under = tuple[Victim, Executor, str]


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Under]]:
    """Victims by engine, each built by the first attack on it."""
    with ExitStack() as stack:

        class Victims(dict[str, Under]):
            def __missing__(self, engine: str) -> Under:
                victim = stack.enter_context(attacks.victim(engine))
                executor = stack.enter_context(
                    Executor(victim.connections, timeout_s=TIMEOUT_S, max_rows=100, memory_mb=256, workers=1)
                )
                assert executor.run("t", HONEST).rows == ANSWER
                self[engine] = victim, executor, victim.digest()
                return self[engine]

        yield Victims()


def param(attack: Attack) -> object:
    reason = attacks.missing(attack.engine)
    marks = [*([pytest.mark.slow] if attack.engine in SERVERS else []), pytest.mark.skipif(bool(reason), reason=reason)]
    return pytest.param(attack, id=f"{attack.engine}: {attack.name}", marks=marks)


@pytest.mark.parametrize("attack", [param(attack) for engine in ENGINES for attack in attacks.load(engine)])
def test_attack(engines: dict[str, Under], attack: Attack) -> None:
    victim, executor, digest = engines[attack.engine]
    times = []
    for _ in range(3):  # a busy machine may delay one answer, hardly three
        started = time.monotonic()
        result = executor.run("t", attack.sql)
        times.append(time.monotonic() - started)
        assert attacks.outcome(result) in attack.kinds, result.failure or result.rows[:3]
        if times[-1] <= TIMEOUT_S + AT_ONCE_S:
            break
    assert min(times) <= TIMEOUT_S + AT_ONCE_S
    if result.failure:
        assert result.rows == ()
        assert 0 < len(result.failure.message) <= 300
    assert executor.run("t", f"{HONEST} -- {attack.name}").rows == ANSWER
    assert victim.digest() == digest
    assert not attacks.stolen()
    assert victim.running() == []


@pytest.mark.parametrize("engine", ENGINES)
def test_the_table_is_long_and_its_names_are_distinct(engine: str) -> None:
    names = [attack.name for attack in attacks.load(engine)]
    assert len(names) >= 60
    assert len(set(names)) == len(names)
