"""The query patterns of the grammar: each builds one kind of SQL tree and says what it asks."""

from __future__ import annotations

from collections.abc import Callable

from askguru_lib.data.grammar import Grammar, Pair
from askguru_lib.data.patterns.joins import (
    both_conditions,
    childless,
    join_grouping,
    join_listing,
    join_measure,
    join_pair,
    parent_having,
    top_parent,
    two_hops,
)
from askguru_lib.data.patterns.one_table import (
    aggregate,
    beyond_average,
    counting,
    distinct,
    extreme_date,
    extreme_rows,
    grouping,
    having,
    listing,
    lookup,
    most_common,
    per_year,
    share,
    sorting,
    top_k,
    two_columns,
)

Pattern = Callable[[Grammar], Pair]

PATTERNS: dict[Pattern, float] = {
    listing: 14, lookup: 8, counting: 10, aggregate: 8, extreme_date: 1.5, two_columns: 1.5, extreme_rows: 1.5,
    distinct: 5, top_k: 9, sorting: 3, grouping: 6, per_year: 1.5,
    having: 3, most_common: 4, beyond_average: 3, share: 1.5, join_listing: 9, join_pair: 3, join_measure: 7,
    join_grouping: 6, top_parent: 5, parent_having: 3, childless: 3, two_hops: 4, both_conditions: 4,
}  # fmt: skip
"""Every pattern with its weight in a draw."""

PLAIN: dict[Pattern, float] = {listing: 8, lookup: 4, counting: 5, aggregate: 5, top_k: 2, grouping: 2}
"""The patterns that need little more than the right column."""
