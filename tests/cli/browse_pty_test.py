#!/usr/bin/env python3
"""`sluice browse` in a terminal: a number picks a model.

Usage: browse_pty_test.py SLUICE
"""
import os
import pathlib
import pty
import re
import select
import sys
import tempfile
import time

PATIENCE = 120  # seconds, of which measuring takes some


class Terminal:
    def __init__(self, sluice, home, *arguments):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"),
                   "HF_HUB_CACHE": str(home / "hub"), "TERM": "xterm", "COLUMNS": "200"}
            try:
                os.execve(sluice, [sluice, "browse", *arguments], env)
            finally:
                os._exit(127)

    def wait_for(self, pattern):
        """The match, and forgets what came before its end."""
        end = time.monotonic() + PATIENCE
        while True:
            match = re.search(pattern, self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            assert time.monotonic() < end, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    assert re.search(pattern, self.seen), f"ended without {pattern!r}: {self.seen!r}"

    def send(self, text):
        os.write(self.fd, text.encode())

    def exit_code(self):
        while select.select([self.fd], [], [], PATIENCE)[0]:
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


ASKED = r"number of a model to run \(Enter to leave\): "


def leaves_on_enter(sluice, home):
    terminal = Terminal(sluice, home, "--ram", "2G")
    terminal.wait_for(ASKED)
    terminal.send("\n")
    assert terminal.exit_code() == 0


def tells_how_to_fetch(sluice, home):
    terminal = Terminal(sluice, home, "--ram", "2G")
    number = terminal.wait_for(r"(\d+) Llama 3\.2 1B Instruct").group(1)
    terminal.wait_for(ASKED)
    terminal.send("0\n")
    terminal.wait_for("0 is none of 1 to ")
    terminal.wait_for(ASKED)
    terminal.send(number + "\n")
    terminal.wait_for(r"hf download bartowski/Llama-3\.2-1B-Instruct-GGUF --include '\*Q4_K_M\*'")
    terminal.wait_for("sluice chat bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M")
    assert terminal.exit_code() == 0


def runs_what_is_in_the_cache(sluice, home):
    """A file that is no model shows that `chat` was reached with it."""
    snapshot = home / "hub/models--bartowski--Llama-3.2-1B-Instruct-GGUF/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "Llama-3.2-1B-Instruct-Q4_K_M.gguf").write_text("not a model")
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    terminal = Terminal(sluice, home, "--ram", "2G")
    number = terminal.wait_for(r"(\d+) Llama 3\.2 1B Instruct[^\n]*\* fits").group(1)
    terminal.wait_for(ASKED)
    terminal.send(number + "\n")
    terminal.wait_for(r"sluice chat bartowski/Llama-3\.2-1B-Instruct-GGUF:Q4_K_M")
    terminal.wait_for(r"sluice: .*Llama-3\.2-1B-Instruct-Q4_K_M\.gguf")
    assert terminal.exit_code() == 1


def main():
    sluice = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as home:
        for check in (leaves_on_enter, tells_how_to_fetch, runs_what_is_in_the_cache):
            check(sluice, pathlib.Path(home))
            print(f"{check.__name__}: passed")


if __name__ == "__main__":
    main()
