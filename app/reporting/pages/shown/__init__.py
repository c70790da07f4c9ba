"""What results look like over time, and what their columns mean."""
