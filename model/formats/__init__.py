"""Networks with their front end for other programs, and the comparison that holds them to the live network."""
