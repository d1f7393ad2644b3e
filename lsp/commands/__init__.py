"""The subcommands of `infill`, one file each; nothing here imports torch before a model is loaded."""
