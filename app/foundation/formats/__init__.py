"""What goes in and out as text or files: JSON that people type, CSV, tables, intervals as data."""
