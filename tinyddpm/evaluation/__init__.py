"""How good the samples of a trained run are, in numbers. It imports `runs` and `pictures`."""
