"""Other ways to bring the same files into the same server, each a script that prints `{"phases": {name: seconds}}`."""
