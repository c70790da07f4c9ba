"""Results, health, activity, and the reports that people read and send."""
