"""Selection: grouping by result, the vote, the critic that no order can sway."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import permutations

import pytest
from inference_tools import shop, small_config, small_generator

from askguru_lib.databases.executor import Failure, Result
from askguru_lib.errors import InferenceError
from askguru_lib.inference.critic import SQLCritic, group_by_result, likelihoods, majority_vote, rotations

ONE, SAME, TWO = Result(("n",), ((1,),)), Result(("m",), ((1.0,),)), Result(("n",), ((2,),))
THREE = Result(("n",), ((3,),))
EMPTY, FAILED = Result(("n",), ()), Result(failure=Failure("unknown_name", "no such column: x"))
SQLS = ["SELECT 1", "SELECT 2", "SELECT 1.0", "SELECT x", "SELECT 3"]


def test_equal_results_are_one_group_failures_none() -> None:
    assert group_by_result(SQLS, [ONE, TWO, SAME, FAILED, EMPTY]) == [[0, 2], [1], [4]]


def test_order_counts_where_a_candidate_asks_for_it() -> None:
    up, down = Result(("a",), ((1,), (2,))), Result(("a",), ((2,), (1,)))
    assert len(group_by_result(["SELECT a FROM t", "SELECT a FROM t WHERE 1"], [up, down])) == 1
    assert len(group_by_result(["SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC"], [up, down])) == 2


@pytest.mark.parametrize(
    ("results", "winner"),
    [
        ([TWO, ONE, SAME, FAILED, EMPTY], 1),
        ([ONE, TWO, FAILED, FAILED, FAILED], 0),
        ([FAILED, FAILED, TWO, FAILED, FAILED], 2),
        ([FAILED] * 5, 0),
        ([EMPTY, EMPTY, EMPTY, ONE, FAILED], 3),
        ([FAILED, EMPTY, FAILED, FAILED, FAILED], 1),
    ],
    ids=["most", "tie: the first", "only one runs", "none runs", "rows beat emptiness", "empty beats an error"],
)
def test_majority_vote(results: list[Result], winner: int) -> None:
    assert majority_vote(SQLS, results) == winner


def test_votes_may_be_weighted() -> None:
    assert majority_vote(SQLS[:3], [ONE, TWO, FAILED], weights=[1, 4, 9]) == 1


def test_a_distinct_candidate_counts_what_its_probability_says() -> None:
    """Three spellings of an unlikely result do not outvote one likely result: no draw would find them as often."""
    found = [{"logprob": math.log(p), "source": "beam"} for p in (0.6, 0.1, 0.1, 0.1)]
    found += [{"logprob": math.log(0.6), "source": "repeat"}]
    counts = likelihoods(found)
    assert counts == pytest.approx([1, 1 / 6, 1 / 6, 1 / 6, 0])
    sqls, results = ["SELECT 1", "SELECT 2", "SELECT 2.0", "SELECT 1+1", "SELECT 1"], [ONE, TWO, TWO, TWO, ONE]
    assert majority_vote(sqls, results) == 1
    assert majority_vote(sqls, results, weights=counts) == 0
    assert likelihoods([]) == []


@pytest.mark.parametrize("logprob", [-1.0, None])
def test_what_was_cut_off_has_no_vote_while_anything_is_finished(logprob: float | None) -> None:
    cut = {"logprob": logprob, "count": 2, "source": "sample", "finished": False}
    whole = {**cut, "count": 1, "finished": True}
    assert likelihoods([cut, whole]) == [0.0, 1.0]
    assert all(weight > 0 for weight in likelihoods([cut, cut]))


def test_rows_of_a_candidate_without_a_vote_count_for_nothing() -> None:
    assert majority_vote(SQLS[:2], [EMPTY, ONE], weights=[1.0, 0.0]) == 0
    assert majority_vote(SQLS[:2], [EMPTY, ONE], weights=[1.0, 0.1]) == 1
    assert majority_vote(SQLS[:2], [EMPTY, ONE], weights=[0.0, 0.0]) == 1


def test_the_critic_decides_what_the_vote_leaves_open() -> None:
    for weights, winner in (([1.0, 1.0], 1), ([1.0, 0.9], 1), ([9.0, 1.0], 0)):
        assert choose(Judge(bias=0.0), SQLS[:2], [ONE, TWO], weights=weights).index == winner


def test_an_empty_result_is_not_put_before_the_critic_unless_there_is_no_other() -> None:
    judge = Judge("SELECT 1")
    assert choose(judge, SQLS, [ONE, TWO, SAME, FAILED, EMPTY]).method == "critic"
    assert not any("SELECT 3" in prompt for prompt in judge.prompts)


def test_every_group_stands_once_at_every_position() -> None:
    assert rotations(3) == [(0, 1, 2), (1, 2, 0), (2, 0, 1)]


class Judge:
    """A critic's model that likes one query, and likes the first position more than anything."""

    def __init__(self, favourite: str = "SELECT 2", bias: float = 5.0) -> None:
        self.config, self.favourite, self.bias = small_config(), favourite, bias
        self.prompts: list[str] = []

    def score_options(self, prompts: Sequence[str], options: Sequence[str], _: str | None) -> list[dict[str, float]]:
        self.prompts += prompts
        scored = []
        for prompt in prompts:
            letters = dict.fromkeys(options, -9.0)
            letters["A"] += self.bias
            place = next(o for o in options if f"【Candidate {o}】\n{self.favourite}\n" in prompt)
            letters[place] += 1.0
            scored.append(letters)
        return scored


def choose(judge: Judge, sqls: Sequence[str], results: Sequence[Result], **options: object):  # type: ignore[no-untyped-def]
    weights = options.pop("weights", None)
    critic = SQLCritic(judge, **options)  # type: ignore[arg-type]
    return critic.select_best_candidate(
        "How many?",
        shop().to_mschema(),
        "None known",
        sqls,
        results,
        weights=weights,  # type: ignore[arg-type]
    )


def test_the_critic_chooses_the_same_under_all_orders() -> None:
    results = dict(zip(SQLS[:3], [ONE, TWO, EMPTY], strict=True))
    for order in permutations(results):
        chosen = choose(Judge(), order, [results[s] for s in order])
        assert chosen.sql == order[chosen.index] == "SELECT 2"
        assert chosen.method == "critic"
        assert sum(chosen.scores) == pytest.approx(1)
    swayed = Judge()
    single = swayed.score_options(
        [SQLCritic(swayed).prompt(item(["SELECT 1", "SELECT 2"], [ONE, TWO]), [0, 1])], "AB", None
    )
    assert single[0]["A"] > single[0]["B"]


class Neighbourly(Judge):
    """A critic's model that likes a query by what stands before it: no average over rotations alone undoes that."""

    def score_options(self, prompts: Sequence[str], options: Sequence[str], _: str | None) -> list[dict[str, float]]:
        scored = []
        for prompt in prompts:
            shown = re.findall(r"【Candidate .】\n(.*)\n", prompt)
            taste = {("SELECT 1", "SELECT 2"): 4.0, ("SELECT 2", "SELECT 3"): 3.0, ("SELECT 3", "SELECT 1"): 2.0}
            values = [taste.get((a, b), 0.0) for a, b in zip([None, *shown], shown, strict=False)]
            scored.append(dict(zip(options, [*values, *[-9.0] * len(options)], strict=False)))
        return scored


def test_the_order_in_which_candidates_come_changes_nothing() -> None:
    results = dict(zip(["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 1.0"], [ONE, TWO, THREE, SAME], strict=True))
    chosen = set()
    for order in permutations(results):
        selection = choose(Neighbourly(), order, [results[s] for s in order])
        chosen.add(
            (selection.sql, tuple(round(dict(zip(order, selection.scores, strict=True))[s], 9) for s in results))
        )
    assert len(chosen) == 1


def item(sqls: Sequence[str], results: Sequence[Result]) -> dict[str, object]:
    return {"question": "How many?", "db_schema": "S", "evidence": "", "candidates": sqls, "results": results}


def test_equal_results_are_shown_once_and_score_alike() -> None:
    judge = Judge("SELECT 1")
    chosen = choose(judge, SQLS[:3], [ONE, TWO, SAME])
    assert len(judge.prompts) == 2
    assert "【Candidate C】" not in judge.prompts[0]
    assert chosen.scores[0] == chosen.scores[2]


def test_reference_defect_critic_sees_empty_results_and_prompt_as_question() -> None:
    judge = Judge()
    choose(judge, SQLS[:2], [ONE, TWO])
    assert "【Question】\nHow many?\n【Evidence】\nNone known\n" in judge.prompts[0]
    assert "【Result A】\nn\n1\n【Candidate B】\nSELECT 2\n【Result B】\nn\n2\n" in judge.prompts[0]


def test_reference_defect_critic_without_chat_template() -> None:
    generator = small_generator()
    seen = []
    tokenize = generator.tokenize
    generator.tokenize = lambda prompts: seen.append(list(prompts)) or tokenize(prompts)  # type: ignore
    chosen = choose(generator, SQLS[:2], [ONE, TWO])  # type: ignore[arg-type]
    assert len(seen[0]) == 2
    assert chosen.method == "critic"
    assert sum(chosen.scores) == pytest.approx(1)


def test_reference_defect_choice_parsed_from_free_text() -> None:
    """ "candidate1 … candidate2" was read as 12: an option is a letter, and its probability is read, not its text."""
    generator = small_generator()
    scores = generator.score_options(["Which?"], ["A", "B"])[0]
    assert set(scores) == {"A", "B"}
    assert all(s < 0 for s in scores.values())


def test_reference_defect_critic_cannot_be_switched_off() -> None:
    judge = Judge("SELECT 3")
    chosen = choose(judge, SQLS, [ONE, TWO, SAME, FAILED, EMPTY], enabled=False)
    assert (chosen.index, chosen.method, judge.prompts) == (0, "majority", [])
    judge.config = small_config(use_critic=False)
    assert choose(judge, SQLS, [ONE, TWO, SAME, FAILED, EMPTY]).method == "majority"


CITY = ["SELECT name FROM customers", "SELECT name FROM customers ORDER BY city"]


@pytest.mark.parametrize(
    ("settings", "options", "index", "method"),
    [
        ({}, {}, 1, "critic"),
        ({"coverage_penalty": 0.0}, {}, 0, "critic"),
        ({}, {"reads": False}, 1, "check"),
        ({"critic_reads": False}, {}, 1, "check"),
        ({}, {"enabled": False}, 0, "majority"),
    ],
    ids=["all", "without the check", "without reading", "without reading, by parameter", "the vote alone"],
)
def test_a_query_that_uses_what_the_question_says_beats_a_likelier_one(settings, options, index, method) -> None:
    judge = Judge(CITY[0], bias=0.0)
    judge.config = small_config(**settings)
    item = {"question": "names of customers by city", "db_schema": shop().to_mschema(), "candidates": CITY,
            "results": [ONE, TWO], "weights": [1.0, 0.3]}  # fmt: skip
    [chosen] = SQLCritic(judge, **options).select_many([item])
    assert (chosen.index, chosen.method) == (index, method)
    assert bool(judge.prompts) == (method == "critic")
    assert item["weights"] == [1.0, 0.3]


def test_who_speaks_for_a_group_is_the_one_that_uses_most() -> None:
    critic = SQLCritic(Judge())
    item = {"question": "names of customers by city", "db_schema": shop().to_mschema(), "candidates": CITY,
            "results": [ONE, SAME], "weights": [1.0, 0.3]}  # fmt: skip
    assert critic.groups(item) == [[1, 0]]
    assert critic.weigh(item) == pytest.approx([math.exp(-3), 0.3])


def test_nothing_to_choose_costs_nothing() -> None:
    judge = Judge()
    assert choose(judge, SQLS[:2], [FAILED, ONE]).index == 1
    assert choose(judge, SQLS[:2], [FAILED, FAILED]).index == 0
    assert judge.prompts == []


def test_candidates_without_results_are_an_error() -> None:
    with pytest.raises(InferenceError, match=r"item 0.*|5 candidates and 1 results"):
        choose(Judge(), SQLS, [ONE])
    with pytest.raises(InferenceError, match="0 candidates"):
        choose(Judge(), [], [])
