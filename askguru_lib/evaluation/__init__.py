"""How good is it: matching of results, metrics with intervals, and the evaluation of predictions."""
