"""A trained network read as one of spiking neurons, whose rates settle where its activities do."""
