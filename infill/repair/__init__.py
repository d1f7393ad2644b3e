"""What the parser cannot read of a fill: found, blamed, and cut, closed, mended or denoised again."""
