"""Watches what runs: notices that an arm's value fell, opens incidents, learns again and falls back by a person's rule."""
