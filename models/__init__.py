"""What is learned: the trunk, its branches, temporal pooling, class texts and the quality head."""
