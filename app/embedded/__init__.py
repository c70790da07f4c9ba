"""PostgreSQL and Redis as child processes, for people who have neither. Code that serves requests must not import this."""
