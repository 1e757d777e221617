"""What the steps of a run share: its folder, its engine, how a step begins and ends, what becomes of what breaks."""
