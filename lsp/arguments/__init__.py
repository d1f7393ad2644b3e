"""What the larger subcommands of `infill` take, one file each; the smaller ones say it themselves."""
