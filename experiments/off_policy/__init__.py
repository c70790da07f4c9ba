"""Values of policies that did not decide, from the log of those that did."""
