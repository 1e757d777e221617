"""Where deliveries come from: which one is the newest complete one, what is in it, and which format it is."""
