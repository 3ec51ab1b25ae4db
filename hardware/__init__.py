"""What a chip can do, as data and functions: number formats, limits, quantisation, mapping, energy.  No simulation."""
