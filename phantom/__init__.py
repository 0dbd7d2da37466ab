"""The digital thorax: synthetic CT of known truth, for the demonstration, the tests and the training."""
