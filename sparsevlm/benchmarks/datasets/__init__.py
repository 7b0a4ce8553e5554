"""The data of the twelve benchmarks: where they come from, and bringing them into their folders.

Read next: declared.py (the table data/datasets.yaml), stocks.py (what is done with what comes),
unpack.py and videos.py.
"""
