"""Published values of the models, and the comparison with them."""
