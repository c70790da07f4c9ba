"""What each way of learning does, and what each of its parameters means, in a few words."""

ALGORITHMS = {
    "auto": "races several learners on your log and lets the best one decide; the right choice for almost everybody",
    "thompson": "chooses an action as often as it is likely to be the best; one learner, no race",
    "squarecb": "the better an action looks, the more often it is chosen",
    "epsilon_greedy": "takes what looks best, and a small share at random",
    "softmax": "chooses in proportion to how good actions look",
    "bag": "several models vote; where they disagree, it tries more",
    "cover": "several policies that try different actions where it is unclear",
    "regcb": "tries every action that could still be the best, and new ones first",
    "first": "tries all alike for a while, then takes the best",
}
PARAMETERS = {
    "exploration": "Larger tries more of what is not known well",
    "learning_rate": "Size of the first learning steps",
    "power_t": "How fast the steps shrink: 0 never (a world that changes), 1 fastest",
    "l2": "Pull of everything learned back towards nothing",
    "bits": "Memory: 2 to the power of this many weights",
    "epsilon": "Share of decisions spread evenly",
    "lambda_": "How sharply it follows what looks better; 0 not at all",
    "bags": "Models that vote",
    "policies": "Policies that together cover what is plausible",
    "psi": "How much the policies must differ",
    "gamma_scale": "Larger tries less",
    "gamma_exponent": "How fast it tries less while it learns",
    "mellowness": "Larger tries more",
    "explore_first": "Decisions that are tried evenly first",
}
CANDIDATES = {
    "linear": "a straight line for each action",
    "kernel": "a curve for each action",
    "shared": "one straight line for all actions, from their features",
    "ca": "a regression on context times action",
    "cca": "a regression that also knows pairs of context fields",
}


SHORT = {
    "linear": "line per action",
    "kernel": "curve per action",
    "shared": "line over features",
    "ca": "regression",
    "cca": "regression with pairs",
}


def short_candidate(name: str) -> str:
    """Name a candidate of the race in a chart."""
    return " + ".join(SHORT[part] for part in name.split("+"))


def candidate(name: str) -> str:
    """Say what a candidate of the race is."""
    words = [CANDIDATES[part] for part in name.split("+")]
    return words[0] if len(words) == 1 else f"the mean of {words[0]} and {words[1]}"
