"""What a scoring costs: shapes of models, memory, rates and tokens, by arithmetic."""
