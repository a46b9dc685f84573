"""Networks that code a pixel from its causal past. Everything but `stabilise` and `intensity_grid` needs torch."""
