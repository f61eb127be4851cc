"""Benchmarks: each measures rivals side by side in one run, in interleaved rounds, and says on which machine.

detect.py    documents through what a user would write today, its improvements, and mvh
memory.py    memory and time against length and number of documents
latency.py   first verdict of a fresh process, and a warm call
parity.py    verdicts in bfloat16 against float32
train.py     five epochs by the stock Trainer and by mvh: seconds and AUROC
steps.py     one training step of a model of true size (train.py --shape)
scan.py      a corpus by one worker and by several; cost and a billion by arithmetic
growth.py    seconds against length; the share of deciding
load.py      many clients on the Endpoint's handler and on the Space, every answer compared

Shared: measuring.py (rounds, matmul peak, machine, files), samples.py (documents), rivals.py (the other ways, ONNX Runtime and
OpenVINO among them), work.py (FLOPs).
Of load.py: served.py, endpoint.py (servers), asking*.py (what clients send).
"""
