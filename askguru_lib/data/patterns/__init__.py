"""The query patterns of the grammar: each builds one kind of SQL tree and says what it asks."""

from __future__ import annotations

from collections.abc import Callable

from askguru_lib.data.grammar import Grammar, Pair
from askguru_lib.data.patterns.compared import beyond_row, in_both, own_parent
from askguru_lib.data.patterns.computed import best_of_group, days_between, product, running_total
from askguru_lib.data.patterns.derived import classes, initials, text_form
from askguru_lib.data.patterns.groups import (
    aggregate,
    beyond_average,
    busiest_time,
    grouping,
    having,
    most_common,
    per_year,
    share,
    two_measures,
)
from askguru_lib.data.patterns.joins import (
    both_conditions,
    childless,
    different_parents,
    far_groups,
    join_grouping,
    join_listing,
    join_measure,
    join_pair,
    latest_of,
    parent_having,
    top_parent,
    two_hops,
    with_none,
)
from askguru_lib.data.patterns.one_table import counting, distinct, listing, lookup, two_columns
from askguru_lib.data.patterns.ordering import extreme_date, extreme_rows, sorting, top_k

Pattern = Callable[[Grammar], Pair]

PATTERNS: dict[Pattern, float] = {
    listing: 14, lookup: 8, counting: 10, aggregate: 8, extreme_date: 1.5, two_columns: 1.5, extreme_rows: 1.5,
    distinct: 5, top_k: 9, sorting: 3, grouping: 6, per_year: 3,
    having: 3, most_common: 4, beyond_average: 3, share: 1.5, join_listing: 9, join_pair: 3, join_measure: 7,
    join_grouping: 6, top_parent: 5, parent_having: 3, childless: 4, two_hops: 4, both_conditions: 4, with_none: 2,
    latest_of: 2, different_parents: 2, far_groups: 3, product: 3, days_between: 1.5, best_of_group: 1.5,
    running_total: 1.5, two_measures: 1.5, busiest_time: 1.2, classes: 1.2, text_form: 1.2, initials: 0.6,
    beyond_row: 1.5, own_parent: 1.5, in_both: 1.5,
}  # fmt: skip
"""Every pattern with its weight in a draw."""

PLAIN: dict[Pattern, float] = {listing: 8, lookup: 4, counting: 5, aggregate: 5, top_k: 2, grouping: 2}
"""The patterns that need little more than the right column."""
