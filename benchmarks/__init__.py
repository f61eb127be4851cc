"""Benchmarks: each measures rivals side by side in one run, in interleaved rounds, and says on which machine.

detect.py    documents through what a user would write today, its improvements, and mvh
memory.py    memory and time against length and number of documents
latency.py   first verdict of a fresh process, and a warm call
parity.py    verdicts in bfloat16 against float32

Shared: measuring.py (rounds, matmul peak, machine, files), samples.py (documents), rivals.py (the other ways), work.py (FLOPs).
"""
