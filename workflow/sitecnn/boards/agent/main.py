# -*- coding: utf-8 -*-
"""SiteCNN's board agent: measures kernels, layers, forward passes and memory where it is started.

Small modules that travel as one file, a zipapp (boards/archive.py makes it). Standard library only, Python 2.7 and
>= 3.4, because boards have nothing newer; numpy is used as far as pycaffe brings it. The agent reads a plan (one JSON
task per line) and appends one fsynced JSON line per finished measurement to a record file. Started again with the
same two files, it goes on where it was cut off.

    agent.pyz --plan plan.jsonl --records records.jsonl --threads 1     measure what the plan still owes
    agent.pyz --plan - --records -                                      the same for a host, over stdin and stdout
    agent.pyz --probe                                                   say what this board has, as JSON

Two processes: the supervisor keeps records, clocks, the lock and the host's lease; its worker measures and may die
of what it is asked. The protocol, its constants and their reasons are in docs/measuring.md.
"""

from __future__ import absolute_import, division, print_function

import argparse
import json
import os
import signal
import sys

from .campaign import Campaign
from .capabilities import probe
from .clocks import Clocks
from .errors import HostGone, Refused
from .hosts import RecordFile, Stream
from .lock import lock_board
from .private import state_folder
from .worker import work

HOST_GONE = 3


def parse_arguments():
    """The agent's command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probe", action="store_true", help="print what this board has, as JSON")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--engine", default="caffe", help=argparse.SUPPRESS)
    parser.add_argument("--plan", help="tasks, one JSON object per line; - for a host on stdin")
    parser.add_argument("--records", help="record file to append to; - for a host on stdout")
    parser.add_argument("--processor", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads")
    parser.add_argument("--budget-s", type=float, help="seconds of board time after which no group of tasks is begun")
    parser.add_argument("--pin-clocks", action="store_true", help="hold the highest clocks while measuring")
    parser.add_argument("--commit", default="", help="version of SiteCNN that asks, kept with the run")
    parser.add_argument("--lock", default=os.environ.get("SITECNN_AGENT_LOCK", "sitecnn-agent"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.probe or arguments.worker or (arguments.plan and arguments.records)):
        parser.error("give --probe, or --plan and --records")
    if (arguments.plan == "-") != (arguments.records == "-"):
        parser.error("--plan - and --records - go together")
    return arguments


def measure(arguments):
    """Hold the board, pin its clocks if asked, and run the campaign; 0 or 1 as something is still owed."""
    host = Stream() if arguments.plan == "-" else RecordFile(arguments.plan, arguments.records)
    folder = state_folder()
    lock, clocks, campaign = lock_board(arguments.lock, folder, host.check), Clocks(folder), None
    clocks.restore()  # what an agent that was killed left behind
    try:
        if arguments.pin_clocks:
            clocks.pin()
        campaign = Campaign(arguments, host)
        return 1 if campaign.execute() else 0
    finally:
        if campaign and campaign.worker:
            campaign.worker.close()
        clocks.restore()
        lock.close()


def _stop(number, _):
    raise HostGone("signal %d" % number)


def main():
    """Exit status 0: nothing is owed any more; 1: something is; 2: it could not start; 3: its host is gone."""
    arguments = parse_arguments()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    try:
        if arguments.worker:
            return work(arguments)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, _stop)
        if arguments.probe:
            return print(json.dumps(probe(arguments.threads), indent=2, sort_keys=True))
        return measure(arguments)
    except Refused as reason:
        print("agent: %s" % reason, file=sys.stderr)
        return 2
    except HostGone as reason:
        print("agent: stopping, its host is gone: %s" % reason, file=sys.stderr)
        return HOST_GONE
