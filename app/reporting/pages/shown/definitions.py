"""What the columns of results mean: behind a question mark at each column, and as a list in the report to send."""

UNIT = "A unit is what is assigned to an arm: a user, a household or a device. Errors are computed over units, not decisions."
ESTIMATE = "The metric's value over the arm's settled decisions: those whose reward window has closed."
DIFFERENCE = (
    "The arm's value minus the control's, in the metric's unit. A learning arm counts with everything that it tried while it "
    "learned."
)
LIFT = "The difference as a share of the control's value."
PEEK_SAFE = (
    "You may read this interval at any time, as often as you like, and stop whenever you like. It misses the true difference in "
    "at most 5% of experiments, unless your rule sets another share. It is wider than an interval for one look. It starts once "
    "each arm has 100 effective units and expects 10 effective events."
)
FIXED = (
    "An interval for one look, at a time that you chose before you saw any data. If you look again and again, it misses "
    "more often."
)
ANY_LOOK = (
    "How often arms that do not differ would look at least this different at some look so far. A small p means that chance is a "
    "poor explanation. Adjusted: corrected for the number of comparisons."
)
ONE_LOOK = "The same for a single look that you chose beforehand."
CHANCE = (
    "How likely this arm is the best of all arms, given these data alone. It does not say that the difference is large, it is "
    "not corrected for many looks or metrics, and on its own it is no reason to stop."
)
GUARDRAIL = (
    "A metric that must not get worse by more than its margin. It is crossed once the peek-safe interval shows a larger loss. It "
    "is within its margin once a test for one look shows that."
)

TERMS = {
    "Unit": UNIT,
    "Estimate": ESTIMATE,
    "Difference to control": DIFFERENCE,
    "Lift": LIFT,
    "Peek-safe interval": PEEK_SAFE,
    "Fixed-horizon interval": FIXED,
    "p, any look": ANY_LOOK,
    "p, one look": ONE_LOOK,
    "Chance to win": CHANCE,
    "Guardrail": GUARDRAIL,
}
COLUMNS = {
    "Units": UNIT,
    "Estimate": ESTIMATE,
    "Lift": LIFT,
    "Difference to control, relative lift": f"{DIFFERENCE} {LIFT}",
    "Difference, peek-safe interval": f"{DIFFERENCE} {PEEK_SAFE}",
    "Difference, interval for one look": f"{DIFFERENCE} {FIXED}",
    "Peek-safe interval": PEEK_SAFE,
    "Fixed-horizon interval": FIXED,
    "p, any look, adjusted": ANY_LOOK,
    "p, one look, adjusted": ONE_LOOK,
    "Chance to win": CHANCE,
    "Margin of the guardrail": GUARDRAIL,
}
