"""Effects as they get old: by step since the first exposure, by cohort, over windows of events; sessions from events."""
