"""The pages of this feature: parse what was typed, call a service, render."""
