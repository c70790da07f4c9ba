"""PostgreSQL and Redis as child processes of ours, for people who have neither. Never imported by a request path."""
