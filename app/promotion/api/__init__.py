"""The JSON routes of this feature: parse, authorise, call one service, render."""
