"""The life of a challenger: from a candidate that was valued to an arm."""
