"""What is stored of a person: consent, erasure, retention."""
