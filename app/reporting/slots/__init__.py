"""What the positions of lists and the parts of composed messages earn."""
