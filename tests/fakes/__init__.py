"""Stand-ins for what is slow, large or far away; they keep the contracts of what they replace."""
