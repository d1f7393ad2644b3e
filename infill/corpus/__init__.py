"""The text side of training: sources, cleaning, hole cutting. `python -m infill.corpus build` runs it all."""
