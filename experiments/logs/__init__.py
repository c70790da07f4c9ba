"""What a log says of itself: can it be trusted, and do its signals agree?"""
