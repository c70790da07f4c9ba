"""The web process: the routes and pages of all features, put together."""
