"""What every feature stands on: settings, errors, fields, times, the database, the parts that all pages and routes share."""
