"""Runs the tutorial as it is written: every command of its console blocks, in order, in one bash, on a software TPM.

A command that fails where the page does not say so, or that prints other words than the page shows, ends it. Only what is
of a machine or a moment differs: the folder, the ports, digests, times, the attempt's name. Judges no prose.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT, BIN = sys.argv[1:3]
PAGE = os.path.join(ROOT, "docs/tutorial-policy.md")
# How long a thing that the page starts may take to show.
PATIENCE = 60.0
DONE = "--holdfast-tutorial-done--"
# Commands of which the page's words are there once something in the background has happened.
ASKING = ("holdfast-server node list", "holdfast-server attempt list")
# Commands that say no by their exit code, as the page shows.
SAYS_NO = ("holdfast-policy diff",)


def steps(page):
    """Commands with what the page shows of their output, in order."""
    found, inside, here = [], False, None
    for line in page.splitlines():
        if line.startswith("```"):
            inside, here = line == "```console", None
        elif not inside:
            continue
        elif here is not None:
            found[-1][0] += "\n" + line
            here = None if line == here else here
        elif line.startswith("$ "):
            found.append([line[2:], []])
            document = re.search(r"<<'(\w+)'", line)
            here = document and document.group(1)
        elif line.strip():
            found[-1][1].append(line)
    return found


def pattern(line):
    """What a shown line demands: its words, whatever stands for digests, numbers and times."""
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "@", line.strip())
    line = re.sub(r"\b[0-9a-f]{8,}\b(…)?", "@", line)
    line = re.sub(r"\d+ ms|number \d+|port=\d+|\([0-9a-f]+\)", "@", line)
    words = [re.escape(word) for word in re.split(r"[\s@…]+", line) if word]
    return re.compile(r".*?".join(words))


class Shell:
    """One bash, as a reader's terminal."""

    def __init__(self, folder):
        environment = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}", HOME=folder)
        self.bash = subprocess.Popen(["bash", "--noprofile", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, env=environment, text=True, start_new_session=True)
        self.run("set -m")

    def run(self, command):
        """What the command prints, and its exit code."""
        self.bash.stdin.write(f"{command}\necho \"{DONE}$?\"\n")
        self.bash.stdin.flush()
        lines = []
        for line in self.bash.stdout:
            if DONE in line:
                before, _, code = line.partition(DONE)
                return "".join(lines) + before, int(code)
            lines.append(line)
        raise SystemExit("the shell has ended:\n" + "".join(lines))

    def close(self):
        """Ends what the page started, each by its number."""
        self.bash.stdin.write("kill $(jobs -p) 2>/dev/null; wait; exit\n")
        self.bash.stdin.flush()
        try:
            self.bash.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.bash.pid, signal.SIGKILL)


def missing(expected, output):
    """The first shown line that was not printed, in the order of the page."""
    at = 0
    flat = output.splitlines()
    for line in expected:
        wanted = pattern(line)
        found = next((n for n in range(at, len(flat)) if wanted.search(flat[n])), None)
        if found is None:
            return line
        at = found + 1
    return None


def until_shown(shell, command, expected):
    """Asks again until the page's lines are there."""
    ends = time.monotonic() + PATIENCE
    while True:
        output, code = shell.run(command)
        lacks = missing(expected, output)
        if (code == 0 and lacks is None) or time.monotonic() > ends:
            return output, code
        time.sleep(0.3)


def main():
    with open(PAGE, encoding="utf-8") as page:
        todo = steps(page.read())
    if len(todo) < 20:
        raise SystemExit(f"{PAGE}: {len(todo)} commands were found: the page has another form than this reads")
    folder = tempfile.mkdtemp(prefix="holdfast-tutorial-")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = [("mkdir /tmp/tut", f"mkdir {folder}/tut"), ("/tmp/tut", f"{folder}/tut"), ("18441", port), ("HOLDFAST/", f"{ROOT}/")]
    # The page's first terminal, and its other one.
    machine, shell = Shell(folder), Shell(folder)
    began, machine_is_up = time.monotonic(), False
    try:
        for command, expected in todo:
            for shown, real in here:
                command = command.replace(shown, real)
            print("$ " + command.splitlines()[0], flush=True)
            if command.startswith("holdfast-tpm-sim run"):
                machine.run(f"{command} > simulator.log 2>&1 &")
                output, code = until_shown(machine, "cat simulator.log", expected)
                machine_is_up = True
                here.append((re.search(r"port=(\d+)", "\n".join(expected)).group(0), re.search(r"port=\d+", output).group(0)))
            elif command.endswith("&"):
                output, code = shell.run(command[:-1] + ">> background.log 2>&1 &")
                if command.startswith("holdfast-server run"):
                    until_shown(shell, "holdfast-server bundle show > /dev/null", [])
            elif command.startswith(ASKING):
                output, code = until_shown(shell, command, expected)
            else:
                output, code = (shell if machine_is_up else machine).run(command)
            lacks = missing(expected, output)
            if lacks is not None or (code != 0 and not command.startswith(SAYS_NO)):
                background, _ = shell.run("tail -n 20 background.log")
                raise SystemExit(f"{PAGE}: exit code {code}, not shown: {lacks!r}\n$ {command}\n{output}\n{background}")
            if "attempt list" in command:
                # The page's attempt is the newest refusal; its name stands in the list's first column or is asked for.
                name = newest_refusal(shell)
                old = next(re.search(r"\b[0-9a-f]{32}\b", text).group(0) for text, _ in todo if "attempt show" in text)
                here.append((old, name))
        print(f"{len(todo)} commands of the tutorial in {time.monotonic() - began:.0f} s")
    finally:
        shell.close()
        machine.close()
        shutil.rmtree(folder, ignore_errors=True)


def newest_refusal(shell):
    """The name of the newest refused attempt."""
    output, _ = shell.run("holdfast-server attempt list --output json")
    attempts = json.loads(output)
    attempts = attempts["attempts"] if isinstance(attempts, dict) else attempts
    return next(one.get("attempt") or one["id"] for one in attempts if one.get("verdict", one.get("outcome")) == "refused")


main()
