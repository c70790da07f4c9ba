"""Tells people what they should know: notices by webhook, Slack and e-mail, each once, in order, with its end."""
