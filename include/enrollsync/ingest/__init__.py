"""Reading a delivery that has arrived: files into tables with line numbers, and those into canonical tables."""
