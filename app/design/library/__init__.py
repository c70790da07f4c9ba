"""Parts of definitions that experiments share."""
