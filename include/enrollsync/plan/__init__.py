"""What is to be done: accepted rows against the roster, whether a person must look, and which answers fit."""
