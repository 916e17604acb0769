"""From a question to an answer: batched generation, schema constraints, candidates, selection, refinement."""

from askguru_lib.inference.backend import Backend, load_backend
from askguru_lib.inference.candidates import Candidate, MultiCandidateInference, answer_candidates
from askguru_lib.inference.constraints import SchemaConstraint
from askguru_lib.inference.critic import Selection, SQLCritic, likelihoods, majority_vote
from askguru_lib.inference.generation import Generated, Generator, answer, load_model
from askguru_lib.inference.harvest import HarvestReport, harvest
from askguru_lib.inference.parsing import parse_sql
from askguru_lib.inference.predictions import question_prompt
from askguru_lib.inference.refinement import Flips, Refinement, flips, refine

__all__ = [
    "Backend",
    "Candidate",
    "Flips",
    "Generated",
    "Generator",
    "HarvestReport",
    "MultiCandidateInference",
    "Refinement",
    "SQLCritic",
    "SchemaConstraint",
    "Selection",
    "answer",
    "answer_candidates",
    "flips",
    "harvest",
    "likelihoods",
    "load_backend",
    "load_model",
    "majority_vote",
    "parse_sql",
    "question_prompt",
    "refine",
]
