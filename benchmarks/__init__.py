"""`make bench`: what a night costs as a whole process, beside peers on the same files and the same server.

Only the driver lives at this level: what is measured (`workloads`), on which server (`server`), how (`measure`), what
comes out (`results`, `plot`). Each peer is a script of its own in `peers/`. Nothing here imports the package.
"""
