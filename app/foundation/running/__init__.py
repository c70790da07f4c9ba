"""What every process has while it runs: its log, its background threads, and the disk that it stands on."""
