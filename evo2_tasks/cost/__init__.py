"""The cost of a scoring, computed: shapes of models, memory, rates and tokens."""
