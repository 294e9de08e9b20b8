"""What the software costs and how fast it is, against the goals that were set, and against two other ways to do it.

`python -m benchmarks` runs what needs no site; `python -m benchmarks.site BENCH SITE` what needs one.
"""
