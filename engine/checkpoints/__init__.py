"""From a name to a network: where checkpoints lie, what they say of themselves, how their weights are read,
and whether they fit."""
