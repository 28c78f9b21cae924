"""What networks regress, computed on the fly from labels: one room per study."""
