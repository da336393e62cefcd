"""Processes that are forked, and wait for a job. Each test runs a program, which has one thread, whatever runs the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.processes.running import is_alive, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, nothing is forked")

PRELUDE = """
import json, os, signal, socket, sys, threading, time
from skyferry.processes.spares import fork_spares

def children():
    return [int(pid) for pid in open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split()]

def do(descriptor):
    end = socket.socket(fileno=descriptor)
    job = end.recv(100).decode()
    if job == "describe":
        held = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
        more = [number for number in held if number > 2 and number != descriptor]
        end.send(json.dumps([more, os.readlink("/proc/self/fd/0")]).encode())
    elif job == "crash":
        signal.raise_signal(signal.SIGSEGV)
    elif job == "raise":
        raise ValueError("a bug")
    return 3

def give(spares, job):
    process, end = spares.take()
    end.send(job.encode())
    return process, end
"""


@contextmanager
def start_program(body: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PRELUDE + body]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def run_program(body: str) -> str:
    with start_program(body) as program:
        output, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    return output + errors


def test_a_spare_has_no_descriptor_but_its_socket_and_the_standard_streams() -> None:
    """Neither a lock of its parent, nor the sockets of others; and nothing is on its standard input."""
    output = run_program(
        "held = open('/proc/self/status'), socket.socketpair(), os.dup(0)\n"
        "with fork_spares(2, do) as spares:\n"
        "    for process, end in (give(spares, 'describe'), give(spares, 'describe')):\n"
        "        print(end.recv(1000).decode())\n"
        "        process.wait()\n"
    )
    assert [json.loads(line) for line in output.splitlines()] == [[[], "/dev/null"]] * 2


def test_its_end_is_that_of_any_process() -> None:
    output = run_program(
        "with fork_spares(4, do) as spares:\n"
        "    ends = [give(spares, job)[0].wait() for job in ('end', 'crash', 'raise')]\n"
        "    process, _ = spares.take()\n"
        "    assert process.poll() is None\n"
        "    waiting = threading.Thread(target=process.wait)\n"
        "    waiting.start()\n"
        "    process.kill()\n"
        "    waiting.join()\n"
        "    process.kill()\n"
        "    print(ends, process.wait(), process.poll(), children())\n"
    )
    assert output.startswith(f"[3, {-signal.SIGSEGV}, 1] {-signal.SIGKILL} {-signal.SIGKILL} []")
    assert "ValueError: a bug" in output


def test_signals_of_the_terminal_pass_by_and_one_that_has_ended_is_not_taken() -> None:
    output = run_program(
        "with fork_spares(3, do) as spares:\n"
        "    first, second, third = children()\n"
        "    os.kill(first, signal.SIGTERM)\n"
        "    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)\n"
        "    for number in (signal.SIGINT, signal.SIGHUP):\n"
        "        os.kill(second, number)\n"
        "    process, end = give(spares, 'end')\n"
        "    assert process.pid == second\n"
        "    print(process.wait(), signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
    )
    assert output == "3 set()\n"


def test_those_that_are_left_end_with_the_command() -> None:
    assert run_program("with fork_spares(3, do): assert len(children()) == 3\nprint(children())") == "[]\n"
    with start_program("with fork_spares(3, do):\n    print(children(), flush=True)\n    time.sleep(600)") as program:
        assert program.stdout is not None
        pids = json.loads(program.stdout.readline())
        os.kill(pids[0], signal.SIGSTOP)  # nothing waits for it
        program.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in pids[1:]))
        os.kill(pids[0], signal.SIGCONT)
        wait_until(lambda: not is_alive(pids[0]))


def test_a_process_with_threads_forks_nothing() -> None:
    """Another thread may have a lock, which nothing would release in the new process."""
    output = run_program(
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "with fork_spares(2, do) as spares:\n"
        "    print(spares.take(), children(), flush=True)\n"
        "os._exit(0)\n"
    )
    assert output == "None []\n"
