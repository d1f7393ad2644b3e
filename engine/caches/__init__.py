"""Keys and values that are kept: of prompts, between requests, and of middles on their way behind them."""
