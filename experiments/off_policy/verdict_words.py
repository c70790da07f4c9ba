"""The words of a verdict's reasons: one table from codes to sentences, for reports and for pages.

A code is stable; its words may change. This module must never decide anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.off_policy.verdict import Reason


class Words(NamedTuple):
    """The sentences of a code, without a capital letter at the beginning and a full stop at the end."""

    report: str
    """For analysts: the command line and the API."""
    page: str = ""
    """For people at a page; empty: the same."""


WORDS: dict[str, Words] = {
    "mean_weight": Words(
        "the mean weight is {mean:.4g}, {z:+.1f} standard errors from 1: the logged propensities or the support are broken "
        "(true weights average 1)",
        "the logged probabilities do not fit the logged choices: their weights average {mean:.4g}, and true ones average 1",
    ),
    "mean_weight_constant": Words(
        "the mean weight is {mean:.4g}, with no spread at all: the logged propensities or the support are broken (true "
        "weights average 1)",
        "the logged probabilities do not fit the logged choices: all weights are {mean:.4g}, and true ones average 1",
    ),
    "effective_sample_size": Words(
        "the effective sample size is {size:.1f} of {rows:.0f} rows, below {limit:.0f}: the log holds too few decisions like "
        "the target policy's; only shrunk estimates exist",
        "too few logged decisions are like this policy's: {rows:.0f} decisions tell as much as {size:.1f} of its own, and "
        "{limit:.0f} are needed",
    ),
    "effective_units": Words(
        "the weight rests on {size:.1f} effective units of {units:.0f}, below {limit:.0f}: rows of one unit depend on each "
        "other, so that more rows of the same units do not help",
        "too few units stand behind the value: {units:.0f} units count like {size:.1f} equal ones, and {limit:.0f} are "
        "needed; more decisions of the same units do not help",
    ),
    "row_dominance": Words(
        "one row carries {share:.1%} of all weight (limit {limit:.0%}): the value depends on a single reward",
        "one decision carries {share:.1%} of all weight: the value depends on a single reward",
    ),
    "no_weight": Words(
        "no row carries any weight: the log never chose what the target policy would choose",
        "the log never chose what this policy would choose",
    ),
    "unsupported": Words(
        "{share:.1%} of the target's choices fall on actions that were never logged (limit {limit:.0%}): no log of these "
        "policies holds their rewards",
        "{share:.1%} of this policy's choices are actions that were never logged, so that nothing tells their rewards",
    ),
    "estimator_disagreement": Words(
        "DR and SNIPS differ by {errors:.1f} standard errors of their paired difference: check that the reward model never "
        "saw the rows that it predicts, and that propensities are true",
        "two estimators that should agree differ by {errors:.1f} standard errors: check the logged probabilities",
    ),
    "rare_rewards": Words(
        "only {size:.1f} effective rewards (or failures, whichever are rarer) support the value: below {limit:.0f} normal "
        "intervals cover too rarely; read the headline, whose intervals do not assume normality",
        "only {size:.1f} effective rewards (or failures, whichever are rarer) support the value; the interval allows for it",
    ),
    "already_learned": Words(
        "the model learned from the evaluated decisions: only {rows:.0f} of {evaluated:.0f} come after the last one that it "
        "or its ancestors learned, and {limit:.0f} are needed; on what a model learned it looks better than it is",
        "this version learned from the evaluated decisions: only {rows:.0f} of {evaluated:.0f} came after the last one that "
        "it learned, and {limit:.0f} are needed. Wait for more, or evaluate a later stretch of the log",
    ),
    "too_few_cases": Words(
        "the policy could decide only {rows:.0f} of the {evaluated:.0f} evaluated cases, and {limit:.0f} are needed",
        "only {rows:.0f} of the {evaluated:.0f} evaluated decisions tell something of this policy, and {limit:.0f} are needed",
    ),
    "few_rewards_to_compare": Words(
        "too few effective rewards, or heavy rows that may not have been drawn yet, to test a difference",
        "too few rewards to test a difference",
    ),
    "unseen_weights": Words(
        "a weight of {weight:.1f} is possible, and there are only {rows:.0f} rows for each unit of it: rows that would move "
        "the value may not have been drawn yet (limit {limit:.0f}); read the headline, whose intervals do not assume normality",
        "decisions that would move the value may not have been drawn yet: one may count {weight:.1f} times, and there are "
        "only {rows:.0f} decisions for each of these times; the interval allows for it",
    ),
}


OF_THE_PLATFORM = frozenset({"already_learned", "too_few_cases", "few_rewards_to_compare"})
"""Codes that the platform gives, which knows what a model learned; `experiments.off_policy.verdict` gives the others."""


def sentence(reason: Reason) -> str:
    """The reason in words, for a report."""
    return WORDS[reason.code].report.format(**reason.params)


def sentences(reasons: Sequence[Reason]) -> list[str]:
    """`sentence` of each."""
    return [sentence(reason) for reason in reasons]


def page_sentence(code: str, params: Mapping[str, float]) -> str:
    """A code with its parameters in words, for a page. Raises `KeyError` for a code or a parameter that is not known."""
    words = WORDS[code]
    return (words.page or words.report).format(**params)
