"""Parts of the table of codes (``app/foundation/codes.py``)."""
