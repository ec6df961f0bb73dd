"""Many texts at once from `unrolled serve`: `python bench/serve.py` starts the server, asks, counts and prints.

Not part of the benches beside other libraries: no peer serves a recurrent network.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary


def megabytes(pid):
    """Return the resident memory of a process, in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def written(port, symbols, seed, found):
    """Ask for one text; note its length and the seconds until its first piece and its end."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    asked = json.dumps({"prompt": "a", "max_length": symbols, "seed": seed})
    connection.request("POST", "/api/models/large/generate", asked, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    first, last = None, b""
    for line in answer:
        first = first or time.perf_counter() - begin
        last = line if line.startswith(b"data: ") else last
    found[seed] = json.loads(last[6:])["symbols"], first, time.perf_counter() - begin
    connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    torch.manual_seed(0)
    symbols = "abcdefghijklmnopqrstuvwxyz ,.\n"
    model = SequenceModel(ModelConfig(cell="lstm", hidden_size=given.hidden_size), Vocabulary(symbols, "characters"))
    with torch.no_grad():
        model.head.bias[model.vocabulary.eos_id] = -1e4
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(Path(folder) / "large")
        command = [sys.executable, "-m", "unrolled.cli", "serve", f"{folder}/large", "--port", "0"]
        command += ["--requests", str(2 * given.clients)]  # of which one address may have half
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
            print(f"{given.clients} texts of {given.symbols} symbols at once, {model}")
            for number in range(1, given.rounds + 1):
                found, begin = {}, time.perf_counter()
                clients = [
                    threading.Thread(target=written, args=(port, given.symbols, seed, found))
                    for seed in range(given.clients)
                ]
                for client in clients:
                    client.start()
                for client in clients:
                    client.join()
                seconds = time.perf_counter() - begin
                whole = sum(count == given.symbols for count, _, _ in found.values())
                first = max(first for _, first, _ in found.values())
                speed = sum(count for count, _, _ in found.values()) / seconds
                print(
                    f"round {number}: {whole} of {given.clients} whole, {seconds:.2f} s, {speed:,.0f} symbols/s, "
                    f"slowest first piece {1e3 * first:.0f} ms, server {megabytes(server.pid):.0f} MB"
                )
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
