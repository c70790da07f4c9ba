"""Speed and cost, each as a ratio to a reference that is measured in the same run. No test depends on these numbers."""
